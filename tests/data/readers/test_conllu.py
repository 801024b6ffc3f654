import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.spec.data import DataSpec
from manyheads.data.read import read_rows
from manyheads.errors import DataError, RecipeError

COLUMNS = ["form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"]
TREES = """\
# newdoc id = one
# sent_id = s-1
# text = vámonos al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\t_\tMood=Imp\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_
5\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\tSpaceAfter=No

#text=# is a sign
1\t#\t#\tSYM\t_\t_\t0\troot\t_\t_
1.1\tis\tbe\t_\t_\t_\t_\t_\t0:exroot\t_
2\tNew York\t_\tPROPN\t_\t_\t1\tdep\t_\t_
"""


def test_a_row_a_sentence_with_its_words_alone(read):
    found = read("a.conllu", TREES)
    one, two = (dict(row.values) for row in found.rows)
    assert list(one) == ["sent_id", "text", *COLUMNS]
    assert (one["sent_id"], one["text"]) == ("s-1", "vámonos al mar")
    assert one["form"] == ["vamos", "nos", "a", "el", "mar"]
    assert one["upos"] == ["VERB", "PRON", "ADP", "DET", "NOUN"]
    assert one["head"] == ["0", "1", "5", "5", "1"]
    assert one["misc"] == ["_", "_", "_", "_", "SpaceAfter=No"]
    assert (two["sent_id"], two["text"], two["form"]) == (None, "# is a sign", ["#", "New York"])
    assert [row.place.line for row in found.rows] == [4, 13]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_the_final_blank_line_do_not_matter(read, end):
    plain = [dict(row.values) for row in read("a.conllu", TREES).rows]
    for text in (TREES, TREES + "\n", TREES.rstrip("\n"), "\n\n# only a comment\n\n" + TREES):
        assert [dict(row.values) for row in read("a.conllu", text.replace("\n", end)).rows] == plain


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("2\ttwo\t_\tNUM", "a line of CoNLL-U has 10 columns parted by tabs, this one has 4"),
        ("2 two _ NUM _ _ _ _ _ _", "this one has 1"),
        ("2\t\t_\tNUM\t_\t_\t_\t_\t_\t_", "column 2 is empty"),
        ("3\ttwo\t_\tNUM\t_\t_\t_\t_\t_\t_", "the first column does not number the words 1, 2, 3"),
        ("x\ttwo\t_\tNUM\t_\t_\t_\t_\t_\t_", "the first column does not number the words 1, 2, 3"),
    ],
)
def test_a_broken_sentence_is_one_bad_row(read, line, rule):
    sentence = f"# text = x\n1\tone\t_\tNUM\t_\t_\t_\t_\t_\t_\n{line}\n"
    with pytest.raises(DataError) as caught:
        read("a.conllu", f"{sentence}\n{TREES}")
    (problem,) = caught.value.problems
    assert (problem.place, problem.rule) == (f"a.conllu:{2 if 'number' in rule else 3}", problem.rule)
    assert rule in problem.rule
    found = read("a.conllu", f"{sentence}\n{TREES}", bad_rows="skip")
    assert len(found.rows) == 2
    assert found.bad[0].sample == sentence.partition("\n")[2].rstrip("\n")


def test_a_sentence_without_a_word_is_a_bad_row(read):
    found = read("a.conllu", f"1.1\tis\tbe\t_\t_\t_\t_\t_\t_\t_\n\n{TREES}", bad_rows="skip")
    assert (len(found.rows), len(found.bad)) == (2, 1)


def test_columns_are_the_formats_own(read):
    with pytest.raises(RecipeError, match="CoNLL-U names its own columns"):
        read("a.conllu", TREES, columns=["id", "form"])


cell = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"), blacklist_characters="\ufeff"), min_size=1, max_size=4
)


@given(st.lists(st.lists(st.lists(cell, min_size=9, max_size=9), min_size=1, max_size=3), min_size=1, max_size=3))
def test_every_tree_comes_back(read, trees):
    text = "\n\n".join("\n".join(f"{i}\t" + "\t".join(cells) for i, cells in enumerate(tree, 1)) for tree in trees)
    found = read("a.conllu", text)
    assert [[list(word) for word in zip(*(row.values[c] for c in COLUMNS), strict=True)] for row in found.rows] == trees


@pytest.mark.data
@pytest.mark.parametrize(
    ("split", "count", "words"), [("train", 12_544, 204_577), ("dev", 2_001, 25_147), ("test", 2_077, 25_094)]
)
def test_english_ewt_has_the_published_numbers(public_data, split, count, words):
    """254,818 words in 16,622 sentences, as its own page says."""
    found = read_rows(DataSpec(train=f"ud_english_ewt/en_ewt-ud-{split}.conllu"), "train", public_data)
    assert (len(found.rows), found.bad) == (count, ())
    assert sum(len(row.values["form"]) for row in found.rows) == words
    assert all(row.values["text"] and row.values["sent_id"] for row in found.rows)
