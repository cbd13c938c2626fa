"""Labels and groups as paths, mappings, Series and arrays: each form gives the same dataset."""

import numpy as np
import pandas
import pytest

from tests.fakes import write_image
from tests.unit.data import extract_pixels
from tlfeatures import load_dataset
from tlfeatures.dataset.labelled import label_images
from tlfeatures.dataset.load import embedded_ids
from tlfeatures.errors import DatasetError, ParameterError

LABELS = ["x", "y", "x", "y", "x", "y"]
GROUPS = ["g1", "g2", "g3", "g1", "g2", "g3"]


class Column:
    """The part of a Series that is used, as another library may have it."""

    def __init__(self, values, index):
        self.values, self.index = values, index

    def items(self):
        return zip(self.index, self.values, strict=True)


def write_csv(column, ids, values, folder):
    path = folder / f"{column}.csv"
    rows = [f"{id_},{value}" for id_, value in zip(ids, values, strict=True)]
    path.write_text("\n".join([f"id,{column}", *reversed(rows)]))
    return path


def values_of(data, argument):
    """Give the labels or the groups of a dataset, by the argument that sets them."""
    return (data.y if argument == "labels" else data.groups).tolist()


def shuffled_series(ids, values):
    return pandas.Series(values, index=ids).sample(frac=1, random_state=1)


FORMS = {
    "mapping": lambda ids, values: dict(zip(reversed(ids), reversed(values), strict=True)),
    "series": shuffled_series,
    "categories": lambda *given: shuffled_series(*given).astype("category"),
    "column": lambda ids, values: Column(values[::-1], ids[::-1]),
    "array": lambda ids, values: np.array(values),
    "array of objects": lambda ids, values: np.array(values, object),
    "list": lambda ids, values: list(values),
    "tuple": lambda ids, values: tuple(values),
    "index": lambda ids, values: pandas.Index(values),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    for number in range(6):
        write_image(folder / "photos" / "ab"[number % 2] / f"{number}.png", number)
    (folder / "photos" / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    extract_pixels(folder / "photos", folder / "x.h5")
    return folder / "x.h5"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("argument", "values"), [("labels", LABELS), ("groups", GROUPS)])
def test_each_form_gives_the_same_dataset(file, argument, values, form, tmp_path):
    ids = embedded_ids(file)
    table = write_csv(argument.removesuffix("s"), ids, values, tmp_path)
    expected = load_dataset(file, **{argument: table})
    assert values_of(expected, argument) == values
    assert load_dataset(file, **{argument: FORMS[form](ids, values)}) == expected


@pytest.mark.parametrize("form", FORMS)
def test_an_image_without_a_label_is_left_out_with_its_group(file, form):
    ids = embedded_ids(file)
    values = [None, float("nan"), "", *LABELS[3:]]
    labels, groups = FORMS[form](ids, values), FORMS[form](ids, GROUPS)
    data = load_dataset(file, labels=labels, groups=groups)
    assert data.ids.tolist() == ids[3:]
    assert data.y.tolist() == LABELS[3:]
    assert data.groups.tolist() == GROUPS[3:]


def test_the_ids_of_embedded_images_are_in_the_order_of_a_dataset(file):
    data = load_dataset(file)
    assert embedded_ids(file) == data.ids.tolist()
    assert [image.id for image in data.unreadable] == ["a/broken.png"]


def labelled(labels=None, groups=None):
    return label_images(["a/1", "a/2", "b/3"], "x.h5", labels, groups)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1, 2, 1], ["1", "2", "1"]),
        (np.array([1, 2, 1], np.uint8), ["1", "2", "1"]),
        (np.array([1.0, 2.0, 1.0]), ["1", "2", "1"]),
        ([True, False, np.True_], ["True", "False", "True"]),
        (np.array([b"x", b"y", b"x"]), ["x", "y", "x"]),
        (np.array(["2020-01-01", "2020-01-02", "2020-01-01"], "datetime64[D]"),
         ["2020-01-01", "2020-01-02", "2020-01-01"]),
    ],
)  # fmt: skip
def test_values_become_text(values, names):
    assert labelled(values).y.tolist() == names
    assert labelled(groups=values).groups.tolist() == names
    assert labelled(dict(zip(["a/1", "a/2", "b/3"], values, strict=True))).y.tolist() == names


def test_whole_numbers_that_pandas_stores_as_floats_are_whole_numbers():
    ids = ["a/1", "a/2", "b/3"]
    for dtype in (None, "Int64"):
        column = pandas.Series([1, None, 2], index=ids, dtype=dtype)
        assert labelled(column).y.tolist() == ["1", "2"]


@pytest.mark.parametrize("value", [0.5, np.float32(1.5), float("inf")])
def test_measurements_are_no_labels(value):
    for options in ({"labels": [value] * 3}, {"groups": {"a/1": value, "a/2": 1, "b/3": 2}}):
        with pytest.raises(
            DatasetError, match=r"has the value .*; expected names or whole numbers"
        ):
            labelled(**options)


@pytest.mark.parametrize("value", [["x"], ("x", "y"), {"label": "x"}, np.array(["x"])])
def test_a_list_is_no_label(value):
    with pytest.raises(DatasetError, match="expected one name for each image"):
        labelled({"a/1": value})


@pytest.mark.parametrize("values", [["x"], list("xyzx"), np.array(["x", "y"])])
@pytest.mark.parametrize("argument", ["labels", "groups"])
def test_another_number_of_values_is_refused_with_both_numbers(values, argument):
    with pytest.raises(ParameterError) as refused:
        labelled(**{argument: values})
    assert str(refused.value).startswith(
        f"{argument} has {len(values)} values for 3 images of x.h5; expected one for each image in "
        "the order of their ids, from 'a/1' to 'b/3' (`tlfeatures.embedded_ids`"
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"x", "y", "z"},
            "is of type set; expected the path of a CSV file, a mapping of id to value",
        ),
        (b"xyz", "is of type bytes; expected"),
        (3, "is of type int; expected"),
        (iter(["x", "y", "z"]), "is of type list_iterator; expected"),
        (np.array("x"), r"is of type ndarray and shape \(\); expected one column"),
        (np.eye(3), r"is of type ndarray and shape \(3, 3\); expected one column"),
        (pandas.DataFrame({"label": ["x", "y", "z"]}), r"is of type DataFrame and shape \(3, 1\)"),
    ],
)
@pytest.mark.parametrize("argument", ["labels", "groups"])
def test_what_is_no_column_of_values_is_refused(values, said, argument):
    with pytest.raises(ParameterError, match=f"{argument} {said}") as refused:
        labelled(**{argument: values})
    assert "\n" not in str(refused.value)


def test_ids_of_a_series_are_checked_like_those_of_a_file(caplog):
    series = pandas.Series(["x", "y", "z"], index=["a/1", "a/2", "gone"])
    assert labelled(series).y.tolist() == ["x", "y"]
    assert "1 of 3 labels match no embedded image: 'gone'" in caplog.text
    with pytest.raises(DatasetError, match="no id of the labels matches an image; the ids are '5'"):
        labelled(pandas.Series(["x", "y", "z"], index=[5, 6, 7]))
    with pytest.raises(DatasetError, match="labels has 'a/1' twice with different values"):
        labelled(pandas.Series(["x", "y"], index=["a/1", "a/1"]))
    with pytest.raises(DatasetError, match=r"groups has no group for 1 of 3 images, such as 'b/3'"):
        labelled(groups=series)


def test_names_of_columns_are_refused_without_a_file(file):
    for options in ({"labels": LABELS}, {"groups": np.array(GROUPS)}):
        with pytest.raises(ParameterError, match="no CSV file is given"):
            load_dataset(file, **options, columns={"id": "name"})
    with pytest.raises(ParameterError, match="omit one"):
        load_dataset(file, labels=LABELS, label_level=1)


@pytest.mark.parametrize("argument", ["labels", "groups"])
def test_a_series_without_ids_is_refused_with_the_remedy(argument):
    """The rows of a table may be in another order than the images of the file."""
    with pytest.raises(ParameterError, match=r"counts rows.*set_index\("):
        labelled(**{argument: pandas.Series(["x", "y", "z"])})
    table = pandas.DataFrame({"id": ["b/3", "a/1", "a/2"], "label": ["z", "x", "y"]})
    data = labelled(**{argument: table.set_index("id")["label"]})
    assert values_of(data, argument) == ["x", "y", "z"]
    with pytest.raises(ParameterError, match=r"expected one column.*set_index\("):
        labelled(**{argument: table})
