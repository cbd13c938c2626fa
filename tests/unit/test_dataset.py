import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.conftest import write_image
from tlfeatures import extract, load_dataset
from tlfeatures.dataset import from_folders
from tlfeatures.errors import DatasetError, ParameterError


@pytest.fixture
def file(photos, tmp_path):
    extract(photos, tmp_path / "photos.h5", backbone="pixels", size=16, pools=["avg", "flatten"])
    return tmp_path / "photos.h5"


def test_labels_come_from_the_folders(file):
    data = load_dataset(file, "grid8.avg")
    assert data.X.shape == (24, 3)
    assert data.X.dtype == np.float32
    assert data.classes == ["blue", "red"]
    assert all(id_.startswith(label) for id_, label in zip(data.ids, data.y, strict=True))
    assert data.groups is None
    assert data.split is None


@pytest.mark.parametrize(
    ("ids", "labels", "splits"),
    [
        (["a/1", "b/2"], ["a", "b"], [None, None]),
        (["a/site/1", "1"], ["a", None], [None, None]),
        (["train/a/1", "val/b/2"], ["a", "b"], ["train", "val"]),
        (["train/a/x/1", "validation/b/2", "test/b/3"], ["a", "b", "b"], ["train", "val", "test"]),
        (["train/1", "plane/2"], ["train", "plane"], [None, None]),  # classes of vehicles
        (["train/1", "test/2"], ["train", "test"], [None, None]),
        (["val/a/1", "test/b/2"], ["val", "test"], [None, None]),  # without train no split
        (["Train/a/1", "VAL/b/2"], ["a", "b"], ["train", "val"]),
        (["Test/a/1", "Toast/b/2"], ["Test", "Toast"], [None, None]),
        (["train/a/1", "train/stray", "val/b/2"], ["a", None, "b"], ["train", None, "val"]),
        (["train/a/1", "val/b/2", "extra/3"], ["train", "val", "extra"], [None] * 3),
    ],
)
def test_folders_give_classes_and_splits(ids, labels, splits):
    rows = from_folders(ids)
    assert [row.label for row in rows] == labels
    assert [row.split for row in rows] == splits


def test_labels_from_csv_with_groups_and_splits(file, tmp_path, caplog):
    ids = load_dataset(file, "grid8.avg").ids.tolist()
    table = tmp_path / "labels.csv"
    lines = [
        f'"{id_}",{"xy"[i % 2]},g{i // 4},{"train" if i < 12 else "test"}'
        for i, id_ in enumerate(ids)
    ]
    table.write_text("id,label,group,split\n" + "\n".join([*lines[:-1], "gone.png,x,g0,train"]))
    with caplog.at_level(logging.WARNING):
        data = load_dataset(file, "grid8.avg", table)
    assert "1 of 24 labels belong to no embedded image" in caplog.text
    assert "1 of 24 images have no label" in caplog.text
    assert data.ids.tolist() == ids[:-1]
    assert data.X.shape == (23, 3)
    assert data.classes == ["x", "y"]
    assert set(data.groups) == {f"g{i}" for i in range(6)}
    assert set(data.split) == {"train", "test"}


def test_labels_from_a_mapping(file):
    ids = load_dataset(file, "grid8.avg").ids
    data = load_dataset(
        file, "grid8.avg", {id_: "even" if i % 2 else "odd" for i, id_ in enumerate(ids)}
    )
    assert data.classes == ["even", "odd"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,class\na,b\n", "columns name, class; expected id and label"),
        ("id,label\nnowhere.png,x\n", "no id of the labels.*'blue/blue00.png'"),
        ("id,label,split\nred/red00.png,x,training\n", "train, val or test"),
        ("", r"columns \(none\)"),
        ("id,label,group\nred/red00.png,x,g\nred/red01.png,y,\n", "1 of 2 .* no group, 'red/red01"),
        ("id,label,split\nred/red00.png,x,val\nred/red01.png,y,\n", "1 of 2 .* no split"),
        ("id,label\nred/red00.png,x\nred/red00.png,y\n", "'red/red00.png' twice"),
    ],
)
def test_wrong_csv_says_what_is_expected(file, tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        load_dataset(file, "grid8.avg", tmp_path / "labels.csv")


def test_missing_csv_or_file(file, tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere.csv"):
        load_dataset(file, "grid8.avg", tmp_path / "nowhere.csv")
    with pytest.raises(ParameterError, match="tlfeatures extract"):
        load_dataset(tmp_path / "nowhere.h5")


def test_unknown_embedding_names_the_nearest_first(file):
    with pytest.raises(ParameterError, match=r"there are: grid8.flatten, grid8.avg"):
        load_dataset(file, "grid8.flaten")
    with pytest.raises(ParameterError, match=r"--embedding, of grid8.avg, grid8.flatten"):
        load_dataset(file)


def test_images_without_folders_need_a_csv(tmp_path):
    write_image(tmp_path / "flat" / "1.png", 1)
    extract(tmp_path / "flat", tmp_path / "flat.h5", backbone="pixels")
    with pytest.raises(DatasetError, match="--labels CSV"):
        load_dataset(tmp_path / "flat.h5")


def test_copies_are_kept_together_and_those_in_two_classes_said(photos, tmp_path, caplog):
    shutil.copy(photos / "red" / "red00.png", photos / "red" / "copy.png")
    shutil.copy(photos / "red" / "red01.png", photos / "blue" / "copy.png")
    extract(photos, tmp_path / "x.h5", backbone="pixels", size=16)
    data = load_dataset(tmp_path / "x.h5")
    pairs = {tuple(data.ids[pair].tolist()) for pair in data.copies}
    assert pairs == {("blue/copy.png", "red/red01.png"), ("red/copy.png", "red/red00.png")}
    assert "1 pairs of the same or nearly the same image lie in two classes" in caplog.text
    assert len(np.unique(data.together)) == len(data.ids) - 2


def test_near_duplicates_are_copies_unless_switched_off(photos, tmp_path):
    dark = Image.open(photos / "red" / "red00.png").point(lambda value: value * 0.97)
    dark.save(photos / "red" / "dark.png")
    extract(photos, tmp_path / "x.h5", backbone="pixels", size=16, pools=["flatten"])
    data = load_dataset(tmp_path / "x.h5")
    pairs = {tuple(data.ids[pair].tolist()) for pair in data.copies}
    assert ("red/dark.png", "red/red00.png") in pairs
    assert not len(load_dataset(tmp_path / "x.h5", near_duplicates=None).copies)
    with pytest.raises(ParameterError, match="near_duplicates is 2; expected a similarity"):
        load_dataset(tmp_path / "x.h5", near_duplicates=2)


def test_groups_by_expression(file):
    data = load_dataset(file, "grid8.avg", groups=r"(\d)\.png$")
    assert data.groups.tolist() == [id_[-5] for id_ in data.ids]
    whole = load_dataset(file, "grid8.avg", groups="^[a-z]+")
    assert set(whole.groups.tolist()) == {"blue", "red"}
    with pytest.raises(
        DatasetError, match=r"matches nothing for 12 of 24 images, 'blue/blue00.png'"
    ):
        load_dataset(file, "grid8.avg", groups="red")
    with pytest.raises(ParameterError, match="no regular expression"):
        load_dataset(file, "grid8.avg", groups="(")


def test_groups_by_csv(file, tmp_path):
    ids = load_dataset(file, "grid8.avg").ids
    path = tmp_path / "groups.csv"
    path.write_text("id,group\n" + "".join(f"{id_},g{i // 6}\n" for i, id_ in enumerate(ids)))
    assert load_dataset(file, "grid8.avg", groups=path).groups.tolist() == [
        f"g{i // 6}" for i in range(24)
    ]
    path.write_text(f"id,group\n{ids[0]},a\n")
    with pytest.raises(DatasetError, match="has no group for 23 of 24 images"):
        load_dataset(file, "grid8.avg", groups=path)
    path.write_text("id,site\n")
    with pytest.raises(DatasetError, match="expected id and group"):
        load_dataset(file, "grid8.avg", groups=str(path))
    with pytest.raises(DatasetError, match="can't be read"):
        load_dataset(file, "grid8.avg", groups=tmp_path / "nowhere.csv")


def test_headers_of_a_csv_may_be_capitalised(file, tmp_path):
    (tmp_path / "labels.csv").write_text("ID, Label\nred/red00.png,x\n")
    assert load_dataset(file, "grid8.avg", tmp_path / "labels.csv").y.tolist() == ["x"]
