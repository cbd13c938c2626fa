import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.fakes import write_image
from tlfeatures import audit, benchmark, extract, load_dataset
from tlfeatures.dataset.duplicates import find_near_duplicates
from tlfeatures.dataset.embedding_choice import embedding_for_copies
from tlfeatures.dataset.labelled import label_images
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.sources.folder_labels import labels_from_folders
from tlfeatures.model_selection.folds import make_folds


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
        (["train/a/1", "train/stray", "val/b/2"], ["a", None, "b"], ["train", "train", "val"]),
        (["train/a/1", "val/b/2", "extra/3"], ["train", "val", "extra"], [None] * 3),
    ],
)
def test_folders_give_classes_and_splits(ids, labels, splits):
    rows = labels_from_folders(ids)
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
    assert "1 of 24 labels match no embedded image" in caplog.text
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
        (
            "id,label,split\nred/red00.png,x,both\n",
            "line 2 has the split .both.; expected train, val or test",
        ),
        ("", r"columns \(none\)"),
        (
            "id,label,group\nred/red00.png,x,g\nred/red01.png,y,\n",
            "1 of 2 .* no group, such as 'red/red01",
        ),
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
    with pytest.raises(
        ParameterError, match=r"choose one of grid8.avg, grid8.flatten with --embedding"
    ):
        load_dataset(file)


def test_images_without_folders_need_a_csv(tmp_path):
    write_image(tmp_path / "flat" / "1.png", 1)
    extract(tmp_path / "flat", tmp_path / "flat.h5", backbone="pixels")
    with pytest.raises(DatasetError, match="--labels TABLE"):
        load_dataset(tmp_path / "flat.h5")


def test_copies_are_kept_together_and_those_in_two_classes_said(photos, tmp_path, caplog):
    shutil.copy(photos / "red" / "red00.png", photos / "red" / "copy.png")
    shutil.copy(photos / "red" / "red01.png", photos / "blue" / "copy.png")
    extract(photos, tmp_path / "x.h5", backbone="pixels", size=16)
    data = load_dataset(tmp_path / "x.h5")
    pairs = {tuple(data.ids[pair].tolist()) for pair in data.copies}
    assert pairs == {("blue/copy.png", "red/red01.png"), ("red/copy.png", "red/red00.png")}
    assert "1 pair of the same or nearly the same photograph is in two classes" in caplog.text
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


def test_by_default_the_limit_of_near_duplicates_is_that_of_the_file_s_backbone(
    photos, tmp_path, monkeypatch
):
    pale = Image.open(photos / "red" / "red00.png").point(lambda value: value * 0.97 + 5)
    pale.save(photos / "red" / "pale.png")
    extract(photos, tmp_path / "x.h5", backbone="pixels", size=16, pools=["flatten"])
    strict = replace(BACKBONES["pixels"], near_duplicate=1.0)
    monkeypatch.setitem(BACKBONES, "pixels", strict)
    assert not len(load_dataset(tmp_path / "x.h5").copies)
    assert len(load_dataset(tmp_path / "x.h5", near_duplicates=0.4).copies)
    result = benchmark(tmp_path / "x.h5", heads="dummy", cv=3)
    (file,) = result.to_dict()["files"].values()
    assert file["near_duplicates"] == 1.0
    monkeypatch.delitem(BACKBONES, "pixels")  # a file of a later version: no limit is known
    assert not len(load_dataset(tmp_path / "x.h5").copies)
    assert len(load_dataset(tmp_path / "x.h5", near_duplicates=0.4).copies)


def test_groups_by_expression(file):
    data = load_dataset(file, "grid8.avg", groups=r"(\d)\.png$")
    assert data.groups.tolist() == [id_[-5] for id_ in data.ids]
    whole = load_dataset(file, "grid8.avg", groups="^[a-z]+")
    assert set(whole.groups.tolist()) == {"blue", "red"}
    with pytest.raises(
        DatasetError, match=r"has no match for 12 of 24 images, such as 'blue/blue00.png'"
    ):
        load_dataset(file, "grid8.avg", groups="red")
    with pytest.raises(ParameterError, match="nor a regular expression"):
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
    path.write_text("id,shelf\n")
    with pytest.raises(DatasetError, match="expected id and group"):
        load_dataset(file, "grid8.avg", groups=str(path))
    with pytest.raises(DatasetError, match=r"nowhere\.csv does not exist"):
        load_dataset(file, "grid8.avg", groups=tmp_path / "nowhere.csv")


def test_headers_of_a_csv_may_be_capitalised(file, tmp_path):
    (tmp_path / "labels.csv").write_text("ID, Label\nred/red00.png,x\n")
    assert load_dataset(file, "grid8.avg", tmp_path / "labels.csv").y.tolist() == ["x"]


# ---- by which embedding near-duplicates are told


@pytest.mark.parametrize(
    ("widths", "telling"),
    [
        ({"block1_conv1.avg": 64, "block5_pool.avg": 512}, "block5_pool.avg"),
        ({"block5_pool.avg": 512, "block1_conv1.avg": 64}, "block5_pool.avg"),
        ({"block5_pool.flatten": 25088, "block5_pool.avg": 512}, "block5_pool.avg"),
        ({"block5_pool.max": 512, "block5_pool.flatten": 25088}, "block5_pool.flatten"),
        ({"block5_conv3.max": 512, "block4_pool.avg": 512}, "block5_conv3.max"),
        ({"block1_pool.avg": 64, "fc1.none": 4096, "predictions.none": 1000}, "block1_pool.avg"),
        ({"fc1.none": 4096, "fc2.none": 4096}, "fc2.none"),
        ({"block2_pool.avg": 128}, "block2_pool.avg"),
    ],
)
def test_the_deepest_feature_map_tells(file, widths, telling):
    header = read_header(file)
    spec = replace(header.spec, backbone="vgg16", size=(224, 224))
    assert embedding_for_copies(replace(header, spec=spec, embeddings=widths)) == telling


def test_too_few_columns_tell_nothing_where_others_do(file):
    header = read_header(file)
    for widths, telling in (
        ({"grid8.avg": 3, "grid4.flatten": 48, "grid8.flatten": 192}, "grid8.flatten"),
        ({"grid8.avg": 3, "mean.flatten": 3, "grid4.flatten": 100}, "grid4.flatten"),
        ({"mean.avg": 3, "grid8.avg": 3}, "grid8.avg"),
    ):
        assert embedding_for_copies(replace(header, embeddings=widths)) == telling


def test_a_backbone_that_is_not_known_has_an_embedding_that_tells(file):
    header = read_header(file)
    other = replace(header, spec=replace(header.spec, backbone="other"))
    widths = {"x.avg": 3, "y.flatten": 500, "z.avg": 100}
    assert embedding_for_copies(replace(other, embeddings=widths)) == "z.avg"


@pytest.fixture
def alike(photos, tmp_path):
    """A file where an image is there twice, the second time darker."""
    dark = Image.open(photos / "red" / "red00.png").point(lambda value: value * 0.97)
    dark.save(photos / "red" / "dark.png")
    shutil.copy(photos / "blue" / "blue03.png", photos / "blue" / "same.png")
    options = {"layers": ["grid4", "grid8"], "pools": ["avg", "flatten"]}
    extract(photos, tmp_path / "x.h5", backbone="pixels", size=16, **options)
    return tmp_path / "x.h5"


NAMES = ["grid4.avg", "grid8.avg", "grid4.flatten", "grid8.flatten", "grid8.avg+grid4.flatten"]


def test_copies_and_folds_do_not_depend_on_the_embedding(alike):
    sets = {name: load_dataset(alike, name) for name in NAMES}
    first = sets["grid8.flatten"]
    pairs = {tuple(first.ids[pair].tolist()) for pair in first.copies}
    assert {("red/dark.png", "red/red00.png"), ("blue/blue03.png", "blue/same.png")} <= pairs
    expected = make_folds(first, cv=3)[1]
    for name, data in sets.items():
        np.testing.assert_array_equal(data.copies, first.copies, err_msg=name)
        np.testing.assert_array_equal(data.together, first.together, err_msg=name)
        for ours, theirs in zip(make_folds(data, cv=3)[1], expected, strict=True):
            for rows, same in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(rows, same)


def test_what_tells_is_kept_where_it_is_another_embedding(alike):
    telling = load_dataset(alike, "grid8.flatten")
    assert telling.looks is None
    for name in set(NAMES) - {"grid8.flatten"}:
        np.testing.assert_array_equal(load_dataset(alike, name, looks=True).looks, telling.X)
        assert load_dataset(alike, name).looks is None


def test_looks_are_those_of_the_labelled_images(alike):
    ids = load_dataset(alike, "grid8.avg").ids
    labels = {id_: id_[0] for id_ in ids[3:]}
    names = ("grid8.avg", "grid8.flatten")
    data, telling = (load_dataset(alike, name, labels, looks=True) for name in names)
    np.testing.assert_array_equal(data.looks, telling.X)
    np.testing.assert_array_equal(data.copies, telling.copies)


def test_without_near_duplicates_only_identical_files_count_whatever_tells(alike):
    for name in NAMES:
        data = load_dataset(alike, name, near_duplicates=None)
        pairs = [data.ids[pair].tolist() for pair in data.copies]
        assert pairs == [["blue/blue03.png", "blue/same.png"]]


def test_images_without_a_file_are_told_by_what_is_given():
    random = np.random.default_rng(0)
    X, looks = random.normal(size=(2, 40, 80)).astype(np.float32)
    X[5], looks[9] = X[4], looks[8]
    labelled = label_images([f"{'ab'[i % 2]}/{i:02}.png" for i in range(40)], "x.h5")
    digests = random.integers(0, 256, (40, 32), np.uint8)
    for given, pair in ((None, [4, 5]), (looks, [8, 9])):
        data = labelled.with_embeddings(
            X, digests, embedding="x.avg", spec=None, near_duplicates=0.4, looks=given
        )
        assert pair in data.copies.tolist()
        found, _ = find_near_duplicates(X if given is None else looks, 0.4)
        assert len(data.copies) == len(found)


def test_an_audit_finds_the_same_copies_on_any_embedding(alike):
    labels = {id_: id_.split("/")[0] for id_ in load_dataset(alike, "grid8.avg").ids}
    labels |= {"red/dark.png": "blue"}
    for name in NAMES:
        found = audit(alike, embedding=name, labels=labels, head="centroid", cv=3).findings
        pairs = [{each.id, each.other} for each in found if each.kind == "near-duplicate"]
        assert pairs == [{"red/dark.png", "red/red00.png"}], name


def test_one_folder_takes_the_embeddings_one_after_the_other(alike, tmp_path):
    """The folds don't change where an embedding is added that tells copies better, or worse."""
    options = {"heads": "dummy", "out": tmp_path / "out", "cv": 3, "n_jobs": 1}
    for number, name in enumerate(NAMES, start=1):
        result = benchmark(alike, embeddings=name, **options)
        assert (result.computed, len(result.entries)) == (1, number)
    assert benchmark(alike, embeddings=["all", NAMES[-1]], **options).computed == 0
