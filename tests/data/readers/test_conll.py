import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.spec.data import DataSpec
from manyheads.data.read import read_rows
from manyheads.errors import DataError
from manyheads.text.tags import Span, spans

word = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), blacklist_characters="\ufeff"), min_size=1, max_size=6
).filter(lambda w: w not in ("-DOCSTART-", "#"))
sentence = st.lists(st.tuples(word, st.sampled_from(["O", "B-x", "I-x"])), min_size=1, max_size=5)


def sentences(rows):
    return [list(zip(r.values["words"], r.values["tags"], strict=True)) for r in rows.rows]


@given(
    st.lists(sentence, min_size=1, max_size=4),
    st.sampled_from(["\t", " ", "   "]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["", " ", "\t", " \t "]),
    st.booleans(),
)
def test_every_spelling_of_the_same_sentences_gives_them_back(read, given_sentences, separator, end, blanks, blank, final):
    blocks = [end.join(separator.join(pair) for pair in s) for s in given_sentences]
    text = (end + (blank + end) * blanks).join(blocks) + end * final
    assert sentences(read("a.conll", text)) == given_sentences


def test_places_are_the_lines_of_first_words(read):
    found = read("a.conll", "\n\none O\ntwo O\n\n\nthree O")
    assert [r.place.line for r in found.rows] == [3, 7]


def test_words_are_the_first_and_tags_the_last_column(read):
    found = read("a.conll", "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n")
    assert dict(found.rows[0].values) == {"words": ["EU", "rejects"], "tags": ["B-ORG", "O"]}


def test_one_column_has_words_alone(read):
    assert dict(read("a.conll", "one\ntwo\n").rows[0].values) == {"words": ["one", "two"]}


def test_columns_are_named_from_the_left(read):
    found = read("a.conll", "EU NNP B-NP B-ORG\n", columns=["words", "pos"])
    assert dict(found.rows[0].values) == {"words": ["EU"], "pos": ["NNP"]}


def test_more_names_than_columns_are_refused(read):
    with pytest.raises(DataError, match=r"a\.conll:1: `columns` names 3 columns, the file has 2"):
        read("a.conll", "EU O\n", columns=["a", "b", "c"])


@pytest.mark.parametrize(
    "text",
    [
        "-DOCSTART- -X- -X- O\n\none O\n\ntwo O\n",
        "-DOCSTART-\n\none O\n\ntwo O\n",
        "one O\n\n-DOCSTART- O\n\ntwo O\n\n-DOCSTART- O\n",
        "-DOCSTART-\tO\none O\n-DOCSTART-\tO\ntwo O",
    ],
)
def test_document_lines_are_no_words_and_end_a_sentence(read, text):
    assert sentences(read("a.conll", text)) == [[("one", "O")], [("two", "O")]]


def test_a_word_that_begins_like_a_document_line_is_a_word(read):
    assert sentences(read("a.conll", "-DOCSTART-s O\n")) == [[("-DOCSTART-s", "O")]]


def test_tabs_part_a_line_where_it_has_them_and_spaces_do_elsewhere(read):
    found = read("a.conll", "New York\tB-x\nis  O\nbig\tO\n")
    assert sentences(found) == [[("New York", "B-x"), ("is", "O"), ("big", "O")]]


@pytest.mark.parametrize("space", ["\u00a0", "\u2009", "\u3000", "\u200b"])
def test_other_spaces_are_part_of_a_word(read, space):
    assert sentences(read("a.conll", f"a{space}b O\n{space} O\n")) == [[(f"a{space}b", "O"), (space, "O")]]


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("one O\ntwo\n\nfour O\n", 2, "a line of 2 columns is expected, this one has 1"),
        ("one O\ntwo O\nthree x O\n\nfour O\n", 3, "this one has 3"),
        ("one\tO\ntwo\t\n\nfour\tO\n", 2, "column 2 is empty"),
        ("one\tO\n\tO\n\nfour\tO\n", 2, "column 1 is empty"),
        ("one\tO\ntwo\tO\t\n\nfour\tO\n", 2, "this one has 3"),
        ("one O\ntwo\u00a0O\n\nfour O\n", 2, "this one has 1"),
        ("one O\n# said O two\n\nfour O\n", 2, "this one has 4"),
        ("one O\nt\0o O\n\nfour O\n", 1, "column 'words' holds NUL"),
    ],
)
def test_a_broken_sentence_is_one_bad_row_at_its_broken_line(read, text, line, rule):
    with pytest.raises(DataError) as caught:
        read("a.conll", text)
    (problem,) = caught.value.problems
    assert problem.place == f"a.conll:{line}"
    assert rule in problem.rule
    found = read("a.conll", text, bad_rows="quarantine")
    assert sentences(found) == [[("four", "O")]]
    assert len(found.bad) == 1
    if "\0" not in text:
        assert found.bad[0].sample == text.split("\n\n")[0]


def test_comments_stand_before_a_sentence_and_look_unlike_a_word(read):
    text = "# global = yes\n# a much longer comment of ten parts in all here\n\n# id = 1\none O\n# O\n\n# O\ntwo O\n"
    assert sentences(read("a.conll", text)) == [[("one", "O"), ("#", "O")], [("#", "O"), ("two", "O")]]


def test_a_comment_of_as_many_parts_as_the_file_has_columns_has_no_tab(read):
    assert sentences(read("a.conll", "# newdoc\none\tO\n\n# newdoc\n#\tO\n")) == [[("one", "O")], [("#", "O")]]


@pytest.mark.parametrize("text", ["", "\n \n\t\n", "-DOCSTART- O\n\n", "# only\n# comments\n"])
def test_no_rows(read, text):
    with pytest.raises(DataError, match=r"a\.conll: no rows"):
        read("a.conll", text)


CONLLU = """\
# sent_id = 1
# text = vámonos al mar
1-2\tvámonos\t_
1\tvamos\tVERB
2\tnos\tPRON
3-4\tal\t_
3\ta\tADP
4\tel\tDET
5\tmar\tNOUN

# sent_id = 2
# text = Sue likes coffee and Bill tea
1\tSue\tPROPN
2\tlikes\tVERB
2.1\tlikes\tVERB
3\ttea\tNOUN
"""


def test_ranges_and_empty_nodes_of_numbered_words_are_left_out(read):
    found = read("a.conll", CONLLU, columns=["id", "form", "upos"])
    assert [r.values["form"] for r in found.rows] == [["vamos", "nos", "a", "el", "mar"], ["Sue", "likes", "tea"]]
    assert found.rows[1].values["upos"] == ["PROPN", "VERB", "NOUN"]
    assert [r.place.line for r in found.rows] == [3, 13]


def test_numbered_words_need_names_for_their_columns(read):
    with pytest.raises(DataError, match=r"a\.conll:3: the first column numbers the words") as caught:
        read("a.conll", CONLLU)
    assert "format: conllu" in caught.value.problems[0].remedy


def test_a_sentence_that_counts_otherwise_is_a_bad_row(read):
    text = CONLLU + "\n1\tA\tDET\n3\tbird\tNOUN\n"
    found = read("a.conll", text, columns=["id", "form", "upos"], bad_rows="skip")
    assert (len(found.rows), found.bad[0].place.line) == (2, 18)
    assert "does not number the words" in found.bad[0].rule


def test_numbers_that_are_words_stay_words(read):
    found = read("a.conll", "1-2 CD O\n\nwon CD O\n1.5 CD O\n\n1 CD O\n")
    assert [r.values["words"] for r in found.rows] == [["1-2"], ["won", "1.5"], ["1"]]


def test_a_sentence_of_ten_thousand_words(read):
    found = read("a.conll", "word O\n" * 10_000)
    assert (len(found.rows), len(found.rows[0].values["words"])) == (1, 10_000)


CONLL_2003 = """\
-DOCSTART- -X- -X- O

Anna NNP B-NP I-PER
Berg NNP I-NP I-PER
met VBD B-VP O
Oslo NNP B-NP I-LOC
Rome NNP I-NP B-LOC
. . O O

-DOCSTART- -X- O O

LONDON NNP B-NP I-LOC
1996-08-30 CD I-NP O

"""


def test_conll_2003_as_it_is_passed_on(read):
    found = read("eng.testa", CONLL_2003, format="conll")
    assert [(row.place.line, len(row.values["words"])) for row in found.rows] == [(3, 6), (12, 2)]
    assert found.rows[0].values["tags"] == ["I-PER", "I-PER", "O", "I-LOC", "B-LOC", "O"]
    named = read("eng.testa", CONLL_2003, format="conll", columns=["words", "pos", "chunk", "ner"])
    assert named.rows[1].values["chunk"] == ["B-NP", "I-NP"]


@pytest.mark.parametrize(
    ("scheme", "spell"),
    [
        ("IOB1", {}),
        ("BIO", {"I-PER": ["B-PER", "I-PER"], "I-LOC": ["B-LOC", "B-LOC"]}),
        ("BIOUL", {"I-PER": ["B-PER", "L-PER"], "I-LOC": ["U-LOC", "U-LOC"], "B-LOC": ["U-LOC"]}),
    ],
)
def test_conll_2003_has_the_same_spans_in_every_scheme(read, scheme, spell):
    lines = CONLL_2003.splitlines()
    for tag, others in spell.items():
        at = [i for i, line in enumerate(lines) if line.endswith(f" {tag}")]
        for i, other in zip(at, others, strict=True):
            lines[i] = lines[i].removesuffix(tag) + other
    found = read("eng.testa", "\n".join(lines), format="conll")
    first, second = (spans(row.values["tags"], scheme) for row in found.rows)
    assert first == [Span("PER", 0, 2), Span("LOC", 3, 4), Span("LOC", 4, 5)]
    assert second == [Span("LOC", 0, 1)]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "columns", "count", "words"),
    [
        ("wnut17/wnut17train.conll", None, 3_394, 62_730),
        ("wnut17/emerging.dev.conll", None, 1_009, 15_733),
        ("wnut17/emerging.test.annotated", None, 1_287, 23_394),
        ("ud_english_ewt/en_ewt-ud-dev.conllu", ["id", "words", "lemma", "upos"], 2_001, 25_147),
    ],
)
def test_public_sets_have_the_published_numbers(public_data, name, columns, count, words):
    found = read_rows(DataSpec(format="conll", train=name, columns=columns), "train", public_data)
    assert (len(found.rows), found.bad) == (count, ())
    assert sum(len(r.values["words"]) for r in found.rows) == words
