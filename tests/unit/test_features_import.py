"""Features of other programs become an embeddings file, whichever file they come in.

Promise: rows keep their ids and their values; labels of the features file are used; what doesn't
fit is one clear line, and nothing is written then; no object is ever unpickled.
"""

import hashlib
import pickle

import h5py
import numpy as np
import pandas
import pyarrow.parquet
import pytest

from tests.unit.features_files import IDS, LABELS, read_rows, values, write_table
from tlfeatures import (
    cross_validate,
    describe,
    export_features,
    extract,
    import_features,
    load_dataset,
    verify,
)
from tlfeatures.errors import (
    DatasetError,
    ParameterError,
    SourceError,
    SpecError,
    TlfeaturesError,
)
from tlfeatures.features.file.reader import read_header

X = values()


def save_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def npz(folder):
    return save_npz(folder / "a.npz", X=X, y=np.array(LABELS), ids=np.array(IDS))


def packed_npz(folder):
    arrays = {"features": X, "labels": np.array(LABELS), "filenames": np.array(IDS).astype("S")}
    np.savez_compressed(folder / "a.npz", **arrays)
    return folder / "a.npz"


def by_columns_npz(folder):
    return save_npz(
        folder / "a.npz", embeddings=np.asfortranarray(X), paths=np.array(IDS), y=np.array(LABELS)
    )


def numbered_csv(folder):
    rows = [[id_, y, *row] for id_, y, row in zip(IDS, LABELS, X.tolist(), strict=True)]
    return write_table(folder / "a.csv", ["id", "label", *(f"f{i}" for i in range(6))], rows)


def csv_with_labels_last(folder):
    rows = [[*row, y, id_] for id_, y, row in zip(IDS, LABELS, X.tolist(), strict=True)]
    header = ["width", "height", "c", "d", "e", "f", "label", "filename"]
    return write_table(folder / "a.csv", header, rows, ";")


def parquet(folder):
    columns = {"id": IDS, "label": LABELS} | {f"feature_{i}": X[:, i] for i in range(6)}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "a.parquet")
    return folder / "a.parquet"


def parquet_of_lists(folder):
    columns = {"id": IDS, "label": LABELS, "vector": X.tolist(), "size": [1] * 20}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "a.parquet")
    return folder / "a.parquet"


def hdf5(folder):
    with h5py.File(folder / "a.hdf5", "w") as file:
        file["features"], file["ids"] = X, IDS
        file["labels"] = [int(label == "dog") for label in LABELS]
        file["label_names"] = ["cat", "dog"]
    return folder / "a.hdf5"


KINDS = [
    npz,
    packed_npz,
    by_columns_npz,
    numbered_csv,
    csv_with_labels_last,
    parquet,
    parquet_of_lists,
    hdf5,
]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_labels_of_each_kind_of_file(kind, tmp_path):
    source, file = kind(tmp_path), tmp_path / "a.h5"
    result = import_features(source, file)
    assert result.images == 20
    assert result.embeddings == {"features": 6}
    assert result.classes == {"cat": 10, "dog": 10}
    assert not result.numbered
    ids, rows = read_rows(file)
    assert ids == IDS
    np.testing.assert_array_equal(rows, X)
    data = load_dataset(file, near_duplicates=None)
    assert data.y.tolist() == LABELS
    assert verify(file).ok
    assert cross_validate("centroid", data).scores["accuracy"]["score"] > 0.8


def test_rows_are_sorted_by_their_ids(tmp_path):
    order = np.random.default_rng(0).permutation(20)
    source = save_npz(tmp_path / "a.npz", X=X[order], ids=np.array(IDS)[order])
    import_features(source, tmp_path / "a.h5")
    ids, rows = read_rows(tmp_path / "a.h5")
    assert ids == IDS
    np.testing.assert_array_equal(rows, X)


def test_the_file_says_what_is_known_and_nothing_else(tmp_path):
    source = npz(tmp_path)
    import_features(source, tmp_path / "a.h5", backbone_name="CLIP ViT-B/32", note="from Ann")
    facts = describe(tmp_path / "a.h5")
    assert facts["spec"]["backbone"] == "imported"
    known = facts["spec"]["imported"]
    assert known.pop("sha256") == hashlib.sha256(source.read_bytes()).hexdigest()
    assert known == {
        "file": "a.npz",
        "backbone": "CLIP ViT-B/32",
        "note": "from Ann",
        "digests": "values",
    }
    assert not {"size", "weights", "preprocessing", "precision"} & set(facts["spec"])


def test_values_without_ids_are_numbered_in_their_order(tmp_path):
    np.save(tmp_path / "a.npy", X)
    result = import_features(tmp_path / "a.npy", tmp_path / "a.h5")
    assert result.numbered
    ids, rows = read_rows(tmp_path / "a.h5")
    assert ids == [f"{row:02d}" for row in range(20)]
    np.testing.assert_array_equal(rows, X)


@pytest.mark.parametrize("ending", ["txt", "csv", "npy"])
def test_ids_may_be_in_a_file_of_their_own(ending, tmp_path):
    np.save(tmp_path / "a.npy", X)
    ids = tmp_path / f"ids.{ending}"
    if ending == "txt":
        ids.write_text("\n".join(IDS) + "\n")
    elif ending == "csv":
        write_table(ids, ["filename", "label"], zip(IDS, LABELS, strict=True))
    else:
        np.save(ids, np.array(IDS))
    import_features(tmp_path / "a.npy", tmp_path / "a.h5", ids=ids)
    assert read_rows(tmp_path / "a.h5")[0] == IDS
    assert load_dataset(tmp_path / "a.h5").y.tolist() == LABELS


def test_other_names_of_columns(tmp_path):
    rows = [[id_, y, *row] for id_, y, row in zip(IDS, LABELS, X.tolist(), strict=True)]
    header = ["specimen", "species", *(f"emb_{i}" for i in range(6))]
    source = write_table(tmp_path / "a.csv", header, rows)
    columns = {"id": "specimen", "label": "species", "features": "emb"}
    import_features(source, tmp_path / "a.h5", columns=columns)
    assert read_rows(tmp_path / "a.h5")[0] == IDS
    assert load_dataset(tmp_path / "a.h5").y.tolist() == LABELS


def test_a_table_of_measurements(tmp_path):
    """Columns without numbers in their names are values, as in the iris data of scikit-learn."""
    header = ["sepal length", "sepal width", "variety"]
    source = write_table(tmp_path / "a.csv", header, [[5.1, 3.5, "setosa"], [6.2, 2.2, "other"]])
    with pytest.raises(DatasetError, match=r"'setosa' in the column 'variety'.*--columns"):
        import_features(source, tmp_path / "a.h5")
    import_features(source, tmp_path / "a.h5", columns={"label": "variety"})
    np.testing.assert_array_equal(
        read_rows(tmp_path / "a.h5")[1], np.array([[5.1, 3.5], [6.2, 2.2]], "f4")
    )


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_names_are_understood_as_in_a_table_of_images(kind, tmp_path):
    """Numbers in a column id count the rows where another column has the names of the images."""
    sites = [f"site {number % 4}" for number in range(20)]
    names = {"id": np.arange(20), "File Name": IDS, "species": LABELS, "site": sites}
    frame = pandas.DataFrame(names | {f"f{number}": X[:, number] for number in range(6)})
    path = tmp_path / f"a.{kind}"
    if kind == "npz":
        save_npz(path, X=X, **{name: np.asarray(values) for name, values in names.items()})
    else:
        frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    assert import_features(path, tmp_path / "a.h5").unused == ["id"]
    data = load_dataset(tmp_path / "a.h5")
    assert (data.ids.tolist(), data.y.tolist()) == (IDS, LABELS)
    assert data.groups.tolist() == sites


def test_two_columns_that_may_be_the_label_are_refused(tmp_path):
    frame = pandas.DataFrame({"id": IDS, "species": LABELS, "class": LABELS[::-1]})
    frame = frame.assign(**{f"f{number}": X[:, number] for number in range(6)})
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DatasetError, match=r"'species' and 'class', and each may be the label"):
        import_features(tmp_path / "a.csv", tmp_path / "a.h5")
    import_features(tmp_path / "a.csv", tmp_path / "a.h5", columns={"label": "species"})
    assert load_dataset(tmp_path / "a.h5").y.tolist() == LABELS
    none = import_features(tmp_path / "a.csv", tmp_path / "a.h5", columns={"label": ""})
    assert not none.classes


def test_a_table_of_excel(tmp_path):
    """Semicolons and Windows-1252, and the line by which Excel states its separator."""
    text = "sep=;\nfilename;label;f1;f2\nkäfer.jpg;Käfer;1;2\nameise.jpg;Ameise;3;4\n"
    (tmp_path / "a.csv").write_bytes(text.encode("cp1252"))
    import_features(tmp_path / "a.csv", tmp_path / "a.h5")
    ids, rows = read_rows(tmp_path / "a.h5")
    assert ids == ["ameise.jpg", "käfer.jpg"]
    assert rows.tolist() == [[3, 4], [1, 2]]
    assert load_dataset(tmp_path / "a.h5").classes == ["Ameise", "Käfer"]


def test_what_was_not_used_is_named(tmp_path):
    header = ["id", "age", "f0", "f1", "camera"]
    source = write_table(tmp_path / "a.csv", header, [["a", 3, 1, 2, "x"]])
    assert import_features(source, tmp_path / "a.h5").unused == ["age", "camera"]
    source = save_npz(tmp_path / "a.npz", X=X, ids=np.array(IDS), scores=X[:, 0])
    assert import_features(source, tmp_path / "a.h5").unused == ["scores"]
    assert import_features(hdf5(tmp_path), tmp_path / "a.h5").unused == []


def test_one_hot_labels(tmp_path):
    y = np.eye(2)[[int(label == "dog") for label in LABELS]]
    source = save_npz(
        tmp_path / "a.npz", X=X, ids=np.array(IDS), y=y, class_names=np.array(["Cat", "Dog"])
    )
    assert import_features(source, tmp_path / "a.h5").classes == {"Cat": 10, "Dog": 10}


def test_groups_and_splits(tmp_path):
    groups, split = np.arange(20) // 2, np.array(["training", "test"] * 10)
    source = save_npz(
        tmp_path / "a.npz", X=X, ids=np.array(IDS), y=np.array(LABELS), groups=groups, split=split
    )
    result = import_features(source, tmp_path / "a.h5")
    assert (result.groups, result.splits) == (10, {"test": 10, "train": 10})
    data = load_dataset(tmp_path / "a.h5", near_duplicates=None)
    assert data.groups.tolist() == [str(group) for group in groups]
    assert data.split.tolist() == ["train", "test"] * 10


def test_groups_alone_leave_the_labels_to_the_folders(tmp_path):
    source = save_npz(tmp_path / "a.npz", X=X, ids=np.array(IDS), groups=np.arange(20) // 2)
    import_features(source, tmp_path / "a.h5")
    data = load_dataset(tmp_path / "a.h5", near_duplicates=None)
    assert data.y.tolist() == LABELS
    assert len(set(data.groups)) == 10


def test_equal_rows_are_copies_unless_the_files_are_known(tmp_path):
    twice = np.concatenate([X, X[:1]])
    ids = np.array([*IDS, "dog/copy.jpg"])
    import_features(save_npz(tmp_path / "a.npz", X=twice, ids=ids), tmp_path / "a.h5")
    data = load_dataset(tmp_path / "a.h5")
    assert data.ids[data.copies].tolist() == [["cat/0.jpg", "dog/copy.jpg"]]
    digests = np.array([f"{row:064x}" for row in range(21)])
    source = save_npz(tmp_path / "b.npz", X=twice, ids=ids, sha256=digests)
    result = import_features(source, tmp_path / "b.h5")
    assert result.digests == "stated"
    assert not len(load_dataset(tmp_path / "b.h5").copies)
    assert read_header(tmp_path / "b.h5").digests[0] == bytes(32)


def test_float16_stays_and_float64_is_rounded(tmp_path):
    for dtype, stored in (("float16", "float16"), ("float64", "float32"), ("uint8", "float32")):
        source = save_npz(tmp_path / "a.npz", X=(X * 9).astype(dtype), ids=np.array(IDS))
        result = import_features(source, tmp_path / f"{dtype}.h5")
        assert result.dtype == stored
        rows = read_rows(tmp_path / f"{dtype}.h5")[1]
        np.testing.assert_array_equal(rows, (X * 9).astype(dtype).astype(stored))


# ---- TRIDENT


def slide(path, rows, size=512):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["features"] = rows
        coords = [[column * 512, 0] for column in range(len(rows))]
        file.create_dataset("coords", data=np.array(coords, np.int64))
        if size:
            file["coords"].attrs["patch_size_level0"] = size
    return path


def test_a_slide_of_trident_has_a_row_for_each_patch(tmp_path):
    source = slide(tmp_path / "slide7.h5", X[:3])
    import_features(source, tmp_path / "a.h5")
    ids, rows = read_rows(tmp_path / "a.h5")
    assert ids == [f"slide7#box={x},0,512,512" for x in (0, 1024, 512)]
    np.testing.assert_array_equal(rows, X[[0, 2, 1]])


def test_slides_of_a_folder_are_groups(tmp_path):
    for number in range(4):
        label = "tumour" if number % 2 else "normal"
        slide(tmp_path / "slides" / label / f"s{number}.h5", X[number * 5 :][:5], size=0)
    result = import_features(tmp_path / "slides", tmp_path / "a.h5")
    assert (result.images, result.groups) == (20, 4)
    data = load_dataset(tmp_path / "a.h5", near_duplicates=None)
    assert data.ids[0] == "normal/s0#x=0,y=0"
    assert sorted(set(data.groups)) == ["normal/s0", "normal/s2", "tumour/s1", "tumour/s3"]
    assert sorted(set(data.y)) == ["normal", "tumour"]


def test_features_of_whole_slides(tmp_path):
    for number in range(3):
        path = tmp_path / "slides" / f"s{number}.h5"
        path.parent.mkdir(exist_ok=True)
        with h5py.File(path, "w") as file:
            file["features"] = X[number]
    import_features(tmp_path / "slides", tmp_path / "a.h5")
    ids, rows = read_rows(tmp_path / "a.h5")
    assert ids == ["s0", "s1", "s2"]
    np.testing.assert_array_equal(rows, X[:3])


# ---- what doesn't fit


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a program in the file was run')",))


def changed(**arrays):
    def write(folder):
        given = {"X": X, "ids": np.array(IDS)} | arrays
        return save_npz(folder / "a.npz", **{k: v for k, v in given.items() if v is not None})

    return write


def with_value(value):
    other = X.copy()
    other[3, 2] = value
    return changed(X=other)


def a_pickle(folder):
    (folder / "a.pkl").write_bytes(pickle.dumps({"X": X, "y": Bomb()}))
    return folder / "a.pkl"


def text_csv(text):
    def write(folder):
        (folder / "a.csv").write_text(text)
        return folder / "a.csv"

    return write


def linked_hdf5(folder):
    with h5py.File(folder / "other.h5", "w") as file:
        file["features"] = X
    with h5py.File(folder / "a.h5", "w") as file:
        file["features"] = h5py.ExternalLink("other.h5", "features")
    return folder / "a.h5"


WRONG = {
    "NaN": (with_value(np.nan), r"features of 'cat/3.jpg' has the value nan, which is not finite"),
    "infinite": (with_value(np.inf), "has the value inf"),
    "length of ids": (changed(ids=np.array(IDS[:9])), "20 rows of values, but 9 values of id"),
    "length of labels": (changed(y=np.arange(3)), "20 rows of values, but 3 values of label"),
    "equal ids": (changed(ids=np.array(["a"] * 20)), "has 19 ids twice, such as 'a'"),
    "empty id": (changed(ids=np.array(["", *IDS[1:]])), "row 0 has the id ''"),
    "objects": (changed(y=np.array([Bomb()] * 20, object)), "y is an array of Python objects"),
    "object values": (changed(X=X.astype(object)), "X is of the type object; expected numbers"),
    "texts": (changed(X=X.astype(str)), "expected numbers"),
    "maps": (changed(X=X.reshape(20, 2, 3)), r"X has the shape \(20, 2, 3\); expected"),
    "no values": (changed(X=None), "expected an array features"),
    "fractions": (changed(y=np.linspace(0, 1, 20)), r"has the label 0\.05.*whole numbers"),
    "not one-hot": (changed(y=np.ones((20, 3))), r"y has the shape \(20, 3\), but is not one-hot"),
    "split": (changed(split=np.array(["x"] * 20)), "has the split 'x'; expected train, val or"),
    "sha256": (changed(sha256=np.array(["0a"] * 20)), "has the sha256 '0a'; expected 64"),
    "label names": (
        changed(labels=np.arange(20), label_names=np.array(["a", "b"])),
        "has the label 19, but 2 names of labels",
    ),
    "pickle": (a_pickle, "is a pickle, which could run a program"),
    "empty file": (text_csv(""), "expected one for each value"),
    "no number": (text_csv("id,f0,f1\na,1,2\nb,x,4\n"), "line 3 has 'x' in the column 'f0'"),
    "empty cell": (text_csv("id,f0,f1\na,,2\n"), "line 2 has '' in the column 'f0'.*fill the cell"),
    "decimal comma": (text_csv("id;f0;f1\na;0,5;2\n"), "line 2 has '0,5'.*with a decimal point"),
    "short line": (text_csv("id,f0,f1\na,1,2\nb,1\n"), "line 3 has 2 cells, expected 3"),
    "gap": (text_csv("id,f0,f2\na,1,2\n"), "have gaps"),
    "quote": (text_csv('id,f0,f1\n"a,1,2\n'), "a quotation mark on line 2"),
    "link": (linked_hdf5, "expected an array features"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_one_line_and_writes_nothing(what, tmp_path):
    write, message = WRONG[what]
    source, file = write(tmp_path), tmp_path / "new" / "b.h5"
    file.parent.mkdir()
    with pytest.raises(TlfeaturesError, match=message) as caught:
        import_features(source, file)
    assert "\n" not in str(caught.value)
    assert [path.name for path in file.parent.iterdir() if path.name != ".b.h5.lock"] == []


def test_a_damaged_file_is_one_line(tmp_path):
    for kind in (npz, packed_npz, hdf5, parquet):
        source = kind(tmp_path)
        source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
        with pytest.raises(TlfeaturesError) as caught:
            import_features(source, tmp_path / "b.h5")
        assert source.name in str(caught.value)
        assert not (tmp_path / "b.h5").exists()


def test_computed_embeddings_are_not_replaced(photos, tmp_path):
    extract(photos, tmp_path / "a.h5", backbone="pixels", size=16)
    with pytest.raises(ParameterError, match="`extract` has computed"):
        import_features(npz(tmp_path), tmp_path / "a.h5")
    import_features(npz(tmp_path), tmp_path / "b.h5")
    import_features(npz(tmp_path), tmp_path / "b.h5")
    with pytest.raises(DatasetError, match="is an embeddings file already"):
        import_features(tmp_path / "b.h5", tmp_path / "c.h5")


def test_images_are_refused_where_rows_were_imported(photos, tmp_path):
    import_features(npz(tmp_path), tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    with pytest.raises(SpecError, match="holds imported embeddings, to which no images"):
        extract(photos, tmp_path / "a.h5")
    with pytest.raises(SpecError, match="can't be compared with images; leave out --source"):
        verify(tmp_path / "a.h5", photos)
    assert (tmp_path / "a.h5").read_bytes() == before


def test_labels_whose_source_is_gone(tmp_path):
    source = npz(tmp_path)
    import_features(source, tmp_path / "a.h5")
    source.rename(tmp_path / "moved.npz")
    with pytest.raises(SourceError, match=r"a\.npz does not exist.*give --labels FILE"):
        load_dataset(tmp_path / "a.h5")
    assert load_dataset(tmp_path / "a.h5", labels=tmp_path / "moved.npz").y.tolist() == LABELS
    assert load_dataset(tmp_path / "a.h5", label_level=1).y.tolist() == LABELS


def test_numbered_rows_of_a_changed_file_get_no_labels(tmp_path):
    """Else a row that was put first would move all labels by one."""
    save_npz(tmp_path / "a.npz", X=X, y=np.array(LABELS))
    import_features(tmp_path / "a.npz", tmp_path / "a.h5")
    assert load_dataset(tmp_path / "a.h5").y.tolist() == LABELS
    save_npz(tmp_path / "a.npz", X=X[::-1], y=np.array(LABELS[::-1]))
    with pytest.raises(SourceError, match=r"has changed since.*import it again"):
        load_dataset(tmp_path / "a.h5")


@pytest.mark.parametrize("changed", ["ids", "features"])
def test_labels_are_not_matched_with_ids_in_another_order(changed, tmp_path):
    """The labels are in one file and the ids in another, so that only their order matches them."""

    def write(step, rows):
        if step in (None, "ids"):
            (tmp_path / "ids.txt").write_text("\n".join(IDS[::rows]))
        if step in (None, "features"):
            save_npz(tmp_path / "a.npz", X=X[::rows], y=np.array(LABELS[::rows]))

    write(None, 1)
    import_features(tmp_path / "a.npz", tmp_path / "a.h5", ids=tmp_path / "ids.txt")
    assert load_dataset(tmp_path / "a.h5").y.tolist() == LABELS
    write(changed, -1)
    with pytest.raises(SourceError, match=r"has changed since.*import it again"):
        load_dataset(tmp_path / "a.h5")


def test_labels_of_a_features_file_for_extracted_images(photos, tmp_path):
    extract(photos, tmp_path / "a.h5", backbone="pixels", size=16)
    export_features(tmp_path / "a.h5", tmp_path / "b.npz", labels=photo_labels(photos))
    data = load_dataset(tmp_path / "a.h5", labels=tmp_path / "b.npz")
    assert sorted(set(data.y)) == ["0", "1"]


def photo_labels(photos):
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    return {path: number % 2 for number, path in enumerate(paths)}
