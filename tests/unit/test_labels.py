"""Labels and groups of ids: whichever way a name is written, and named where none matches."""

import logging
import re
import unicodedata

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import write_image
from tlfeatures import extract, load_dataset
from tlfeatures.cli import main
from tlfeatures.dataset.labelled import label_images
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.sources.folder_labels import LabelRow
from tlfeatures.features.sources.spelling import describe_similar_names, normalize_name

COMPOSED = unicodedata.normalize("NFC", "été/zoë.png")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
FORMS = [COMPOSED, DECOMPOSED]


def write(path, text):
    path.write_text(text, "utf-8")
    return path


def labelled(ids, labels=None, groups=None, **options):
    return label_images(ids, "x.h5", labels, groups, **options)


# ---- one form of a name


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=12))
def test_clean_gives_one_form_and_keeps_it(text):
    once = normalize_name(text)
    assert normalize_name(once) == once
    assert normalize_name(f" \u200b{text}\u00a0\0") == once
    assert once == once.strip()
    assert str(np.array([once])[0]) == once  # NumPy drops what it takes for padding
    for form in ("NFC", "NFD"):
        assert normalize_name(unicodedata.normalize(form, text)) == once


@pytest.mark.parametrize(
    "text",
    [
        "a b",
        "a\u00a0b",
        "\u0644\u0627",
        "👨‍👩‍👧",
        "🏴\U000e0067\U000e0062\U000e0065\U000e007f",
        "日本",
        "a\u0600",
    ],
)
def test_clean_keeps_what_is_inside_a_name(text):
    assert normalize_name(f" {text}\n") == text


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "A", "b", "1", "1.0", "é", "e\u0301"]), st.integers(1, 9))
)
def test_names_are_asked_about_if_they_look_alike(counts):
    said = "\n".join(describe_similar_names("classes", counts))
    for one, other in (("a", "A"), ("1", "1.0"), ("é", "e\u0301")):
        asked = (
            f"{one!r} ({counts.get(one)})" in said and f"{other!r} ({counts.get(other)})" in said
        )
        assert asked == (one in counts and other in counts)
    assert "'b'" not in said


def test_many_names_that_look_alike_are_counted():
    counts = {name: 1 for n in range(9) for name in (f"c{n}", f"C{n}")}
    said = describe_similar_names("classes", counts)
    assert len(said) == 6
    assert said[-1] == "4 more sets of classes look alike in the same way"


# ---- ids in another form


@pytest.mark.parametrize("on_disk", FORMS)
@pytest.mark.parametrize("written", FORMS)
def test_an_id_is_found_in_either_form_and_stays_as_it_is(tmp_path, on_disk, written):
    write_image(tmp_path / "photos" / on_disk, 1)
    write_image(tmp_path / "photos" / "b" / "2.png", 2)
    extract(tmp_path / "photos", tmp_path / "x.h5", backbone="pixels")
    text = f"id,label,group\n{written},ü,ö\nb/2.png,u\u0308,o\u0308\n"
    table = write(tmp_path / "labels.csv", text)
    for labels in (table, {written: "ü", "b/2.png": "u\u0308"}):
        data = load_dataset(tmp_path / "x.h5", labels=labels)
        assert on_disk in data.ids
        assert data.y.tolist() == ["ü", "ü"]
    assert load_dataset(tmp_path / "x.h5", labels=table).groups.tolist() == ["ö", "ö"]
    groups = write(tmp_path / "groups.csv", f"id,group\n{written},ö\nb/2.png,o\u0308\n")
    assert load_dataset(tmp_path / "x.h5", groups=groups).groups.tolist() == ["ö", "ö"]
    by_id = load_dataset(tmp_path / "x.h5", groups="^([^/]+)/").groups.tolist()
    assert sorted(by_id) == ["b", "été"]


@pytest.mark.parametrize(
    "expression", [unicodedata.normalize(form, "(zoë|b)") for form in ("NFC", "NFD")]
)
@pytest.mark.parametrize("id_", FORMS)
def test_an_expression_matches_either_form(expression, id_):
    assert labelled([id_, "b/2.png"], groups=expression).groups.tolist() == ["zoë", "b"]


def test_two_ids_of_one_form_are_told_apart_exactly_or_not_at_all(tmp_path):
    ids = [*FORMS, "b/1.png"]
    exact = {COMPOSED: "one", DECOMPOSED: "two", "b/1.png": "three"}
    assert labelled(ids, exact).y.tolist() == ["one", "two", "three"]
    only = labelled(ids, {DECOMPOSED: "two", "b/1.png": "three"})
    assert only.ids.tolist() == [DECOMPOSED, "b/1.png"]
    half = unicodedata.normalize("NFD", "été") + "/zoë.png"  # neither of the two
    with pytest.raises(
        DatasetError, match="matches 2 images, which differ only in blanks or Unicode form"
    ):
        labelled(ids, {half: "x"})
    table = write(tmp_path / "t.csv", f"id,label\n{DECOMPOSED},a\n{COMPOSED},b\n")
    assert labelled(ids, table).y.tolist() == ["b", "a"]
    with pytest.raises(DatasetError, match=r"twice \(lines 2 and 3\) with different values"):
        labelled([COMPOSED, "b/1.png"], table)


@pytest.mark.parametrize("id_", [" a/1.png", "a/ 1.png", "a/1 .png", "a/1.png "])
def test_blanks_that_belong_to_an_id_are_found(id_, tmp_path):
    ids = [id_, "b/2.png"]
    table = write(tmp_path / "t.csv", f"id,label\n{id_},x\nb/2.png,y\n")
    assert labelled(ids, table).y.tolist() == ["x", "y"]
    both = [id_, id_.strip(), "b/2.png"] if id_ != id_.strip() else [id_, "b/2.png"]
    data = labelled(both, {each: str(number) for number, each in enumerate(both)})
    assert data.y.tolist() == [str(number) for number in range(len(both))]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text("ab é\u0301/.", min_size=1, max_size=6), min_size=1, max_size=8, unique=True)
)
def test_a_mapping_of_the_very_ids_labels_each(ids):
    labels = {id_: f"c{number % 3}" for number, id_ in enumerate(ids)}
    data = labelled(ids, labels)
    assert data.ids.tolist() == ids
    assert data.y.tolist() == list(labels.values())


# ---- values of a mapping


@pytest.mark.parametrize("value", [None, "", "  ", "\u200b", float("nan"), np.float64("nan"), "\0"])
def test_a_value_of_nothing_is_no_label(value, caplog):
    data = labelled(["a/1.png", "b/2.png"], {"a/1.png": value, "b/2.png": "x"})
    assert data.ids.tolist() == ["b/2.png"]
    assert "1 of 2 images have no label and are left out: 'a/1.png'" in caplog.text


@pytest.mark.parametrize(
    ("value", "label"),
    [(1, "1"), (np.int64(1), "1"), (1.0, "1"), (np.float32(2), "2"), (True, "True"),
     (np.str_("x "), "x"), (b"x", "x"), ("x\0", "x"), ("e\u0301", "é")],
)  # fmt: skip
def test_a_value_is_a_name_in_one_form(value, label):
    assert labelled(["a/1.png"], {"a/1.png": value}).y.tolist() == [label]


def test_true_is_not_the_name_of_one_and_a_text_stays_as_it_is():
    ids, values = ["a/1", "a/2", "a/3", "a/4"], [1, "1.0", True, "1"]
    data = labelled(ids, dict(zip(ids, values, strict=True)))
    assert data.y.tolist() == ["1", "1.0", "True", "1"]


def test_rows_of_a_mapping_are_brought_to_the_same_form():
    rows = {"a/1": LabelRow("x ", "p\u00a0", "train"), "b/2": LabelRow("x", "p", "test")}
    data = labelled(["a/1", "b/2"], rows)
    assert (data.y.tolist(), data.groups.tolist()) == (["x", "x"], ["p", "p"])
    with pytest.raises(DatasetError, match=r"labels has .a/1 . twice with different values"):
        labelled(["a/1", "b/2"], {"a/1": "x", "a/1 ": "y"})


@pytest.mark.parametrize("cell", ["Training", "TRAIN", " train", "trn"])
def test_a_split_is_written_in_any_of_its_ways(cell, tmp_path):
    table = write(tmp_path / "t.csv", f"id,label,split\na/1,x,{cell}\nb/2,y,hold-out\n")
    assert labelled(["a/1", "b/2"], table).split.tolist() == ["train", "test"]


# ---- ids that match nothing


def test_labels_of_no_image_are_named_with_their_lines(tmp_path, caplog):
    lines = [f"photos/cat/{number}.png,x" for number in range(5)]
    table = write(tmp_path / "t.csv", "\n".join(["id,label", "a/1.png,x", *lines]))
    labelled(["a/1.png", "b/2.png"], table)
    assert (
        "5 of 6 labels match no embedded image: 'photos/cat/0.png' (line 3), "
        "'photos/cat/1.png' (line 4), 'photos/cat/2.png' (line 5) and 2 more; an id is the path of "
        "an image relative to the extracted folder, for example 'a/1.png'"
    ) in caplog.text
    caplog.clear()
    labelled(["a/1.png", "b/2.png"], {"a/1.png": "x", "gone.png": "y"})
    assert "1 of 2 labels match no embedded image: 'gone.png'; an id is" in caplog.text


@pytest.mark.parametrize("ids", [["/data/photos/a/1.png"], ["1.png"], ["1", "2", "3", "4"], [""]])
def test_labels_of_no_image_at_all_are_an_error_that_says_what_an_id_is(ids, tmp_path):
    table = write(tmp_path / "t.csv", "".join(["id,label\n", *(f"{id_},x\n" for id_ in ids)]))
    with pytest.raises(DatasetError, match="no id of the labels matches an image") as refused:
        labelled(["a/1.png", "b/2.png"], table)
    assert f"{ids[0]!r} (line 2)" in str(refused.value)
    assert (
        "an id is the path of an image relative to the extracted folder, for example 'a/1.png'"
        in str(refused.value)
    )


def test_a_path_may_be_written_as_windows_writes_it(tmp_path):
    table = write(tmp_path / "l.csv", "id,label\na\\b\\1.png,cat\na/2.png,dog\n")
    found = labelled(["a/b/1.png", "a/2.png", "a\\b"], table)
    assert found.y.tolist() == ["cat", "dog"]
    exact = {"a\\b": "x", "a/b": "y"}
    assert labelled(["a/b", "a\\b"], exact).y.tolist() == ["y", "x"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("photos/a/1.png", "remove 'photos/' at the beginning of the ids"),
        ("C:\\photos\\a\\1.png", "remove 'C:/photos/' at the beginning of the ids"),
        ("a/1.PNG", "the ids of the labels differ in upper and lower case"),
        ("a/1", "the ids of the labels lack the file ending"),
        ("1.png", "the ids of the labels lack the folder"),
        ("other", "--columns id=NAME names another column"),
    ],
)
def test_what_keeps_an_id_from_being_found_is_said(written, said, tmp_path):
    table = write(tmp_path / "l.csv", f"id,label\n{written},cat\n")
    with pytest.raises(DatasetError, match=re.escape(f"; {said}")):
        labelled(["a/1.png", "b/2.png"], table)


def test_ids_of_no_image_that_are_there_twice_are_counted_once(tmp_path, caplog):
    boxes = [f"/disk/{number // 3}.png,cat" for number in range(12)]  # several boxes an image
    table = write(tmp_path / "boxes.csv", "\n".join(["id,label", *boxes]))
    with pytest.raises(DatasetError, match="no id of the labels matches an image; the ids are '/d"):
        labelled(["a/0.png", "a/1.png"], table)
    table = write(tmp_path / "boxes.csv", "\n".join(["id,label", "a/0.png,dog", *boxes]))
    labelled(["a/0.png"], table)
    assert "4 of 5 labels match no embedded image" in caplog.text


def test_groups_of_no_image_are_named_where_one_lacks_its_group(tmp_path):
    table = write(tmp_path / "g.csv", "id,group\na/1.png,x\nc/2.png,y\n")
    with pytest.raises(
        DatasetError, match=r"has no group for 1 of 2 images, such as 'b/2.png'"
    ) as refused:
        labelled(["a/1.png", "b/2.png"], groups=table)
    assert "rows that match no image: 'c/2.png' (line 3)" in str(refused.value)


# ---- expressions


@pytest.mark.parametrize("length", [250, 300, 5000])
def test_a_long_expression_is_no_path(length, photos, tmp_path):
    expression = f"({'|'.join(f'nothing{n}' for n in range(length // 9))}|red|blue)"
    data = labelled(["red/1.png", "blue/2.png"], groups=expression)
    assert data.groups.tolist() == ["red", "blue"]
    extract(photos, tmp_path / "x.h5", backbone="pixels", size=16)
    arguments = [str(tmp_path / "x.h5"), "--groups", f"({'x?' * length}[a-z]+[0-9]+)"]
    arguments += ["--head", "centroid", "--cv", "2"]
    for command in (["fit"], ["audit", "-o", str(tmp_path / "f.csv")]):
        result = CliRunner().invoke(main, [*command, *arguments])
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("expression", ["(", "a{99999999999}", "[z-a]", "*"])
def test_what_is_no_expression_is_wrong_usage(expression):
    with pytest.raises(ParameterError, match="neither an existing CSV file nor a regular"):
        labelled(["red/1.png"], groups=expression)


@pytest.mark.parametrize("name", ["gone.csv", "gone.CSV", "gone.tsv"])
def test_a_file_of_groups_that_is_not_there_is_no_expression(name, tmp_path):
    with pytest.raises(DatasetError, match="does not exist; expected a CSV file"):
        labelled(["red/1.png"], groups=str(tmp_path / name))


def test_nothing_is_said_where_there_is_nothing_to_say(caplog):
    with caplog.at_level(logging.WARNING):
        labelled(["a/1", "b/2"])
        labelled(["a/1", "b/2"], {"a/1": "x", "b/2": "y"}, groups="a|b")
    assert not caplog.text
