import pytest

from manyheads.config.spec.data import DataSpec
from manyheads.data.read import read_rows
from manyheads.errors import DataError, RecipeError

FILES = {
    "seq.in": "play a song\nadd the 50 clásicos \n\nfrom oslo\n",
    "seq.out": "O O B-item\nO O B-playlist  I-playlist \n \nO B-city\n",
    "label": "Play\nAdd\n\natis_flight#atis_airfare\n",
}


@pytest.fixture
def slots(tmp_path):
    """`slots(**spec)`: the rows of the folder, after `slots.change(name, text)`; None takes a file away."""
    (tmp_path / "train").mkdir()
    for name, text in FILES.items():
        (tmp_path / "train" / name).write_text(text, encoding="utf-8")

    class Folder:
        def change(self, name, text):
            path = tmp_path / "train" / name
            path.unlink() if text is None else path.write_text(text, encoding="utf-8")

        def __call__(self, **spec):
            return read_rows(DataSpec.model_validate({"format": "slots", "train": "train", **spec}), "train", tmp_path)

    return Folder()


def test_a_row_a_line_of_the_three_files(slots):
    found = slots()
    assert [dict(row.values) for row in found.rows] == [
        {"words": ["play", "a", "song"], "tags": ["O", "O", "B-item"], "label": "Play"},
        {"words": ["add", "the", "50", "clásicos"], "tags": ["O", "O", "B-playlist", "I-playlist"], "label": "Add"},
        {"words": ["from", "oslo"], "tags": ["O", "B-city"], "label": "atis_flight#atis_airfare"},
    ]
    assert [str(row.place) for row in found.rows] == ["train/seq.in:1", "train/seq.in:2", "train/seq.in:4"]
    assert [fact.path for fact in found.files] == ["train/seq.in", "train/seq.out", "train/label"]


@pytest.mark.parametrize(
    ("words", "tags", "rule"),
    [
        ("play a song", "O O", "the line has 3 words here and 2 tags in seq.out"),
        ("play", "O O", "the line has 1 words here and 2 tags in seq.out"),
        ("", "", "the line has 0 words here and 0 tags in seq.out"),
        ("a\u00a0b", "O O", "the line has 1 words here"),
    ],
)
def test_a_line_with_another_number_of_tags_is_a_bad_row(slots, words, tags, rule):
    for name, text in {"seq.in": f"{words}\ngo\n", "seq.out": f"{tags}\nO\n", "label": "a\nb\n"}.items():
        slots.change(name, text)
    with pytest.raises(DataError, match=f"train/seq.in:1: as many tags as words are expected; {rule}"):
        slots()
    found = slots(bad_rows="skip")
    assert ([row.values["label"] for row in found.rows], found.bad[0].sample) == (["b"], words)


def test_files_of_different_length_are_refused(slots):
    slots.change("label", "Play\n")
    with pytest.raises(DataError, match=r"train: the files of a folder .* seq.in has 4, seq.out has 4, label has 1"):
        slots(bad_rows="skip")


def test_all_three_files_are_needed(slots):
    slots.change("seq.out", None)
    with pytest.raises(DataError, match=r"train/seq\.out: there is no such file"):
        slots()


def test_a_folder_is_needed(slots):
    with pytest.raises(DataError, match="a folder is needed; this is a file"):
        slots(train="train/label")


def test_columns_are_the_formats_own(slots):
    with pytest.raises(RecipeError, match="names its own columns"):
        slots(columns=["x"])


@pytest.mark.data
@pytest.mark.parametrize(("split", "count"), [("train", 13_084), ("dev", 700), ("test", 700)])
def test_snips_has_the_published_numbers(public_data, split, count):
    found = read_rows(DataSpec(format="slots", train=f"snips/{split}"), "train", public_data)
    assert (len(found.rows), found.bad) == (count, ())
    assert len({row.values["label"] for row in found.rows}) == 7
    assert all(len(row.values["words"]) == len(row.values["tags"]) for row in found.rows)
