"""Parquet files with the bytes of images, as Hugging Face's datasets have them."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from tlfeatures import extract, load_dataset
from tlfeatures.errors import ImageError, ParameterError, SourceError
from tlfeatures.features.sources.containers import parquet_rows
from tlfeatures.features.sources.folder_labels import LabelRow
from tlfeatures.features.sources.open_source import open_source

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet as pq  # noqa: E402, only where pyarrow is installed

PIXELS = {"backbone": "pixels", "size": 16}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CLASSES = {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}}


def image(seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 15, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def write(tmp_path):
    """Write a Parquet file of these columns."""

    def write(columns, types=None, features=None, name="data.parquet", **options):
        types = {"image": IMAGE, **(types or {})}
        table = pa.table({
            column: pa.array(values, types.get(column)) for column, values in columns.items()
        })  # fmt: skip
        if features:
            stored = json.dumps({"info": {"features": features}})
            table = table.replace_schema_metadata({"huggingface": stored})
        pq.write_table(table, tmp_path / name, **options)
        return tmp_path / name

    return write


def images(paths):
    return [{"bytes": image(n), "path": path} for n, path in enumerate(paths)]


def ids(path):
    return [record.id for record in open_source(path).images()]


def labels_of(path, **options):
    rows = open_source(path, **options).labels()
    return None if rows is None else [row.label for row in rows.values()]


# ---- ids


def test_ids_are_the_paths_in_the_rows_and_bytes_are_those_of_the_rows(write):
    paths = ["a/1.png", "a/2.png", "b/0.png"]
    path = write({"image": images(paths)}, row_group_size=2)
    records = list(open_source(path).images())
    assert [each.id for each in records] == [f"data.parquet/{name}" for name in paths]
    assert [each.location.read() for each in records] == [image(0), image(1), image(2)]


@pytest.mark.parametrize(
    "paths",
    [
        ["1.png", "1.png"],
        ["1.png", None],
        ["/tmp/1.png", "2.png"],
        ["../1.png", "2.png"],
        ["2.png", "1.png"],
    ],
)
def test_ids_are_numbers_of_rows_where_paths_are_repeated_missing_or_in_another_order(write, paths):
    assert ids(write({"image": images(paths)})) == ["data.parquet/000000", "data.parquet/000001"]


@pytest.mark.parametrize("name", ["image", "img", "whatever"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_column_of_plain_bytes_will_do(write, name, kind):
    path = write({name: [image(1), image(2)], "n": [1, 2]}, {name: kind})
    assert [each.location.read() for each in open_source(path).images()] == [image(1), image(2)]


def test_of_several_columns_of_bytes_the_usual_name_or_the_given_one_is_taken(write, tmp_path):
    columns = {"image": images(["1.png"]), "mask": [image(7)], "other": [image(8)]}
    path = write(columns)
    assert next(open_source(path).images()).location.read() == image(0)
    chosen = open_source(path, columns={"id": "mask"})
    assert next(chosen.images()).location.read() == image(7)
    del columns["image"]
    path = write(columns)
    with pytest.raises(SourceError, match="choose one, --columns id=mask"):
        extract(path, tmp_path / "a.h5", **PIXELS)
    extract(path, tmp_path / "a.h5", **PIXELS, columns={"id": "mask"})


# ---- labels


def test_numbers_of_classes_get_the_names_in_the_file(write, tmp_path):
    path = write({"image": images(["1.png", "2.png", "3.png"]), "label": [1, 0, -1]}, None, CLASSES)
    assert labels_of(path) == ["bee", "ant", None]
    result = extract(path, tmp_path / "a.h5", **PIXELS)
    assert result.classes == {"ant": 1, "bee": 1}
    assert load_dataset(tmp_path / "a.h5").y.tolist() == ["bee", "ant"]


def test_a_number_without_a_name_is_one_line(write):
    path = write({"image": images(["1.png"]), "label": [5]}, None, CLASSES)
    with pytest.raises(SourceError, match="has the class 5 in the column label, and names of 2"):
        labels_of(path)


@pytest.mark.parametrize(
    ("column", "values", "labels"),
    [
        ("label", ["ant", None, " bee "], ["ant", None, "bee"]),
        ("label", [1, 2, None], ["1", "2", None]),
        ("label", [1.0, float("nan"), 2.0], ["1", None, "2"]),
        ("species", ["ant", "", "bee"], ["ant", None, "bee"]),
    ],
)
def test_labels_are_texts_or_whole_numbers(write, column, values, labels):
    path = write({"image": images(["1.png", "2.png", "3.png"]), column: values})
    assert labels_of(path) == labels


@pytest.mark.parametrize("values", [[[1, 2]], [0.5], [{"a": 1}]])
def test_other_values_are_no_labels(write, values):
    path = write({"image": images(["1.png"]), "label": values})
    with pytest.raises(SourceError, match="expected texts or whole numbers; name another column"):
        labels_of(path)
    assert labels_of(path, columns={"label": ""}) is None


def test_the_only_column_of_classes_is_the_label_and_two_have_to_be_told_apart(write):
    names = {"names": ["x", "y"], "_type": "ClassLabel"}
    columns = {"image": images(["1.png"]), "coarse_label": [1]}
    assert labels_of(write(columns, None, {"coarse_label": names})) == ["y"]
    columns["fine_label"] = [0]
    path = write(columns, None, {"coarse_label": names, "fine_label": names})
    with pytest.raises(SourceError, match="--columns label=coarse_label"):
        labels_of(path)
    assert labels_of(path, columns={"label": "fine_label"}) == ["x"]


def test_without_a_label_column_the_folders_in_the_paths_are_the_labels(write, tmp_path):
    path = write({"image": images(["ant/1.png", "bee/1.png"])})
    assert labels_of(path) is None
    assert extract(path, tmp_path / "a.h5", **PIXELS).classes == {"ant": 1, "bee": 1}


def test_groups_and_splits_are_columns_too(write):
    columns = {"image": images(["1.png"]), "label": ["ant"], "split": ["validation"], "site": ["A"]}
    rows = open_source(write(columns)).labels()
    assert list(rows.values()) == [LabelRow("ant", "A", "val")]


def test_several_files_are_splits_by_their_names(write, tmp_path):
    names = {"train-00000-of-00002": 0, "train-00001-of-00002": 1, "test-00000-of-00001": 2}
    paths = [
        write(
            {"image": [{"bytes": image(10 * seed + n), "path": None} for n in (0, 1)],
             "label": [0, 1]},
            None, CLASSES, f"{name}.parquet",
        )
        for name, seed in names.items()
    ]  # fmt: skip
    result = extract(paths, tmp_path / "a.h5", **PIXELS)
    assert (result.classes, result.splits) == ({"ant": 3, "bee": 3}, {"train": 4, "test": 2})
    assert load_dataset(tmp_path / "a.h5").split.tolist() == ["test"] * 2 + ["train"] * 4


# ---- reading


def test_rows_are_read_in_any_order_with_few_of_them_kept(write, monkeypatch):
    monkeypatch.setattr(parquet_rows, "_BATCH", 3000)
    monkeypatch.setattr(parquet_rows, "_KEPT", 5000)
    path = write({"image": images([f"{n:03d}.png" for n in range(50)])}, row_group_size=20)
    records = list(open_source(path).images())
    for row in [*range(50), *np.random.default_rng(0).permutation(50).tolist()]:
        assert records[row].location.read() == image(row)


def test_rows_without_bytes_and_damaged_ones_fail_and_the_others_go_on(write, tmp_path):
    rows = images([f"{n}.png" for n in range(6)])
    rows[1]["bytes"], rows[2]["bytes"], rows[3] = None, b"", {"bytes": b"no image", "path": "3.png"}
    result = extract(write({"image": rows}), tmp_path / "a.h5", **PIXELS)
    assert result.computed == 3
    assert [each["id"][-5:] for each in result.failed] == ["1.png", "2.png", "3.png"]
    assert "no bytes of an image" in result.failed[0]["reason"]


def test_a_damaged_page_fails_its_images_and_the_others_go_on(write, tmp_path):
    options = {"row_group_size": 2, "write_page_checksum": True, "compression": "none"}
    path = write({"image": images([f"{n}.png" for n in range(6)])}, **options)
    data = bytearray(path.read_bytes())
    data[data.index(image(2)) + 60] ^= 1
    path.write_bytes(data)
    result = extract(path, tmp_path / "a.h5", **PIXELS)
    assert [each["id"][-5:] for each in result.failed] == ["2.png", "3.png"]
    assert "damaged" in result.failed[0]["reason"]


def test_a_file_that_is_written_again_is_noticed(write):
    one, other = open_source(write({"image": images(["0.png", "1.png"])})).images()
    assert other.location.read() == image(1)
    write({"image": [{"bytes": image(9), "path": "0.png"}]})
    assert one.location.read() == image(9)
    with pytest.raises(ImageError, match="no longer in the file"):
        other.location.read()


def test_what_is_no_parquet_file_or_cut_off_is_one_line(write, tmp_path):
    path = write({"image": images(["1.png"])})
    whole = path.read_bytes()
    for data in (b"", b"text" * 100, whole[:-100], whole[:50]):
        path.write_bytes(data)
        with pytest.raises(SourceError, match="can't be read as a Parquet file") as refused:
            extract(path, tmp_path / "a.h5", **PIXELS)
        assert "\n" not in str(refused.value)


def test_without_pyarrow_the_command_is_named(write, tmp_path, monkeypatch):
    path = write({"image": images(["1.png"])})
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ParameterError, match=r"pip install 'tlfeatures\[parquet\]'"):
        extract(path, tmp_path / "a.h5", **PIXELS)


def test_a_folder_of_images_has_no_meaning(write, tmp_path):
    path = write({"image": images(["1.png"])})
    with pytest.raises(ParameterError, match="has the bytes of its images"):
        open_source(path, images=tmp_path)
