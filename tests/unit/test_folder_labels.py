"""Classes and splits by the folders of images, and what is said where folders mislead."""

import json
import logging
import re
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import write_image
from tlfeatures import Model, benchmark, describe, extract, load_dataset, make_head, report
from tlfeatures.cli import main
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.sources.folder_hints import folder_hint
from tlfeatures.features.sources.folder_labels import labels_from_folders, split_from_name
from tlfeatures.models.evaluate import evaluate

PIXELS = {"backbone": "pixels", "size": 16, "layers": ["grid8.flatten"]}
E_COMPOSED, E_DECOMPOSED = "caf\u00e9", "cafe\u0301"


def labels_of(ids, level=None):
    return [row.label for row in labels_from_folders(ids, level)]


def splits_of(ids, level=None):
    return [row.split for row in labels_from_folders(ids, level)]


def tree(folder, classes, *, images=4):
    """Write images into folders, all of them different."""
    seed = 0
    for path in classes:
        for number in range(images):
            seed += 1
            write_image(folder / path / f"{number}.png", seed)
    return folder


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


# ---- splits


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("train", "Training", "TRN", "seg_train", "train_images", "Training set"), "train"),
        (("TrainImages", "train2017", "01-train", "trainset", "my.training.data"), "train"),
        (("Trainings", "my-trainings"), "train"),
        (("Validations", "vals"), "val"),
        (("Tests", "Evaluations"), "test"),
        (("val", "Valid", "validation", "dev", "val_images", "dev-set", "valset"), "val"),
        (("test", "Testing", "tst", "test-set", "seg_test", "eval", "Evaluation"), "test"),
        (("holdout", "hold-out", "Hold out", "test_evaluation"), "test"),
        (("trains", "trained", "latest", "contest", "value", "device", "setting"), None),
        (("train_val", "", "_", "set", "invalid", "1"), None),
    ],
)  # fmt: skip
def test_names_of_splits(names, split):
    assert {name: split_from_name(name) for name in names} == dict.fromkeys(names, split)


@pytest.mark.parametrize(
    "tops",
    [
        ("Training", "Testing"),
        ("seg_train", "seg_test"),
        ("train", "dev"),
        ("TRAIN", "Valid", "tst"),
        ("Training set", "Test set"),
        ("train_images", "val_images", "test_images"),
        ("train2017", "val2017"),
        ("train", "test-set"),
        ("train", "hold-out"),
    ],
)
def test_folders_of_splits_are_no_classes(tops):
    ids = [f"{top}/{label}/{n}.png" for top in tops for label in ("cat", "dog") for n in range(2)]
    assert set(labels_of(ids)) == {"cat", "dog"}
    assert [split is not None for split in splits_of(ids)] == [True] * len(ids)
    assert len(set(splits_of(ids))) == len(tops)
    assert folder_hint(ids) is None


@pytest.mark.parametrize(
    "ids",
    [
        ["bus/1", "car/1", "train/1"],
        ["bus/red/1", "car/red/1", "train/old/1"],
        ["train_station/a/1", "test_tube/b/1"],
        ["train/1", "test/1"],
        ["test/a/1", "val/b/1"],
        ["training/1", "testing/2"],
        ["bullet train/a/1", "steam train/b/1"],
    ],
)
def test_classes_that_are_called_like_splits_stay_classes(ids):
    assert labels_of(ids) == [id_.split("/")[0] for id_ in ids]
    assert set(splits_of(ids)) == {None}


# ---- levels


@pytest.mark.parametrize(
    ("level", "labels"),
    [
        (None, ["a", "b", "a", None]),
        (1, ["a", "b", "a", None]),
        (2, ["x", "y", None, None]),
        (3, ["deep", None, None, None]),
        (4, [None] * 4),
        (-1, ["deep", "y", "a", None]),
        (-2, ["x", "b", None, None]),
        (-3, ["a", None, None, None]),
        (-4, [None] * 4),
    ],
)
def test_a_level_says_which_part_of_the_path_is_the_label(level, labels):
    assert labels_of(["a/x/deep/1", "b/y/2", "a/3", "4"], level) == labels


@pytest.mark.parametrize(
    ("level", "labels", "split"),
    [
        (None, ["site1", "site2", "site1"], True),
        (1, ["train", "train", "test"], False),  # asked for: these are the classes
        (2, ["site1", "site2", "site1"], True),
        (3, ["cat", "dog", "cat"], True),
        (-1, ["cat", "dog", "cat"], True),
        (-3, [None] * 3, True),  # a split is no label
    ],
)
def test_levels_count_from_the_top_also_with_splits(level, labels, split):
    ids = ["train/site1/cat/1", "train/site2/dog/2", "test/site1/cat/3"]
    assert labels_of(ids, level) == labels
    assert splits_of(ids, level) == (["train", "train", "test"] if split else [None] * 3)


def test_unlabelled_images_beside_the_splits_need_a_level():
    """The Intel scenes have seg_pred, whose images lie in no class folder."""
    ids = ["seg_train/sea/1", "seg_train/ice/2", "seg_test/sea/3", "seg_pred/4"]
    assert labels_of(ids) == ["seg_train", "seg_train", "seg_test", "seg_pred"]
    assert "beside the splits seg_test, seg_train there is seg_pred" in folder_hint(ids)
    assert "--label-level 2" in folder_hint(ids)
    assert labels_of(ids, 2) == ["sea", "ice", "sea", None]
    assert splits_of(ids, 2) == ["train", "train", "test", None]


@pytest.mark.parametrize("level", [0, 1.0, "2", True])
def test_what_is_no_level_is_refused(level):
    with pytest.raises(ParameterError, match=r"label_level is .*; expected 1 for the top folder"):
        labels_from_folders(["a/1"], level)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("ab/é ", max_size=8), max_size=6), st.integers(-4, 4).filter(bool))
def test_a_label_is_a_folder_of_the_path_or_none(ids, level):
    for id_, row in zip(ids, labels_from_folders(ids, level), strict=True):
        folders = [part.strip() for part in id_.split("/")[:-1]]
        assert row.label is None or row.label in folders
        assert (row.label or "x").strip() == (row.label or "x")


# ---- hints


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["s1/cat/1", "s1/dog/1", "s2/cat/1", "s2/dog/1"],
         "every top folder has the same subfolders (cat, dog)"),
        (["s1/cat/1", "s1/dog/1", "s1/fox/1", "s2/cat/1", "s2/dog/1"],
         "mostly the same subfolders (cat, dog)"),
        (["all/cat/1", "all/dog/2"],
         "all images are in one folder, which has the subfolders (cat, dog)"),
        (["s1/cat/x/1", "s1/dog/x/1", "s2/cat/x/1", "s2/dog/x/1"],
         "the same subfolders (cat, dog)"),
        (["SiteA/ants/1", "SiteA/bees/1", "SiteB/ants/1"], "mostly the same subfolders (ants)"),
        (["a/ants/1", "a/bees/1", "b/ants/1", "c/bees/1"], "subfolders (ants, bees)"),
    ],
)  # fmt: skip
def test_sites_that_are_taken_for_classes_are_asked_about(ids, said):
    hint = folder_hint(ids)
    assert said in hint
    assert "are those the classes? If so, give --label-level 2 to fit" in hint
    assert folder_hint(ids, 1) is folder_hint(ids, 2) is None


def test_sites_below_splits_are_asked_about():
    ids = [f"{a}/{b}/{c}/1" for a in ("train", "test") for b in ("s1", "s2") for c in ("x", "y")]
    assert "every folder in test, train has the same subfolders (x, y)" in folder_hint(ids)
    assert folder_hint(ids).count("give --label-level 3 to fit") == 1


@pytest.mark.parametrize("other", ["unlabeled/1", "extra/a/1"])
def test_a_split_beside_another_folder_is_asked_about(other):
    hint = folder_hint(["train/a/1", "train/b/1", other])
    assert hint.startswith("beside the split train there is ")
    assert "give --label-level 2" in hint


def test_splits_in_one_folder_are_used_if_that_is_extracted():
    ids = [f"data/{split}/{label}/1" for split in ("train", "test") for label in ("a", "b")]
    assert folder_hint(ids).startswith("all images are in the folder data, which holds the splits")


def test_splits_below_the_classes_are_named_as_that():
    ids = [f"{a}/{b}/1" for a in ("cat", "dog") for b in ("train", "test")]
    assert "the subfolders test, train of the classes are not used as splits" in folder_hint(ids)


@pytest.mark.parametrize(
    "ids",
    [
        ["cat/1", "dog/1"],
        ["cat/p1/1", "cat/p2/1", "dog/p3/1", "dog/p4/1"],
        ["cat/images/1", "dog/images/1"],
        ["cat/x/1", "dog/1"],
        ["cat/a/1", "cat/b/1", "dog/a/1", "dog/c/1", "dog/d/1"],
        ["1", "2"],
        [],
    ],
)
def test_classes_that_are_classes_are_not_asked_about(ids):
    assert folder_hint(ids) is None


# ---- one name in two Unicode forms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (E_COMPOSED, E_DECOMPOSED),
        ("\u1e9b\u0323", "\u017f\u0323\u0307"),
        ("\uac00", "\u1100\u1161"),
        ("cat", "cat\u00a0"),
        ("cat", "\u200bcat"),
        ("cat", " cat "),
    ],
)
def test_folders_whose_names_look_the_same_are_one_class(one, other):
    assert one != other
    assert len(set(labels_of([f"{one}/1", f"{other}/2"]))) == 1
    assert len(set(labels_of([f"train/{one}/1", f"test/{other}/2"]))) == 1
    assert labels_of([f"{other}/1"])[0] == unicodedata.normalize("NFC", one)


# ---- commands


@pytest.mark.parametrize(
    ("classes", "line"),
    [
        (["Training/cat", "Training/dog", "Testing/cat", "Testing/dog"],
         "2 classes: cat 8, dog 8 (train 8, test 8)"),
        (["cat", "dog", "eel"], "3 classes: cat 4, dog 4, eel 4"),
        (["cat", "."], "1 class: cat 4; 4 images without a class"),
        (["."], "no class folders: give the labels to `fit` with --labels TABLE"),
        ([E_COMPOSED, E_DECOMPOSED], "1 class: café 8"),
        ([f"c{n:02}" for n in range(15)], "15 classes: c00 4, c01 4, c02 4, c03 4, c04 4, c05 4, "
         "c06 4, c07 4, c08 4, c09 4, c10 4, c11 4 and 3 more"),
    ],
)  # fmt: skip
def test_extract_prints_the_classes(classes, line, tmp_path):
    tree(tmp_path / "photos", classes)
    arguments = ["extract", tmp_path / "photos", "-o", tmp_path / "x.h5", "--backbone", "pixels"]
    said = run(*arguments)
    assert said.exit_code == 0
    assert line in said.stdout.splitlines()
    facts = json.loads(run(*arguments, "--json").stdout)
    info = describe(tmp_path / "x.h5")
    assert facts["classes"] == info["classes"]
    assert facts["splits"] == info["splits"]
    assert sum(facts["classes"].values()) <= facts["images"]


SITES = ["north/cat", "north/dog", "south/cat", "south/dog"]


@pytest.fixture
def sites(tmp_path):
    tree(tmp_path / "photos", SITES)
    extract(tmp_path / "photos", tmp_path / "x.h5", **PIXELS)
    return tmp_path / "x.h5"


@pytest.mark.slow
def test_every_command_asks_about_sites_and_takes_a_level(sites, tmp_path):
    folder, model = tmp_path / "photos", tmp_path / "m.model"
    asked = "WARNING: every top folder has the same subfolders (cat, dog): are those the classes? "
    asked += "If so, give --label-level 2 to fit, benchmark, learning-curve, audit and evaluate\n"
    assert run("extract", folder, "-o", sites).stderr == asked
    wrong = run("fit", sites, "--cv", 2, "-o", model)
    assert asked in wrong.stderr
    assert "2 classes (north, south)" in wrong.stdout
    for command in (
        ["fit", sites, "--cv", 2, "-o", model],
        ["benchmark", sites, "--heads", "dummy,centroid", "--cv", 2, "--n-jobs", 1],
        ["audit", sites, "--cv", 2, "--head", "centroid"],
        ["learning-curve", sites, "--cv", 2, "--head", "centroid", "--sizes", 2, "--n-jobs", 1],
    ):
        said = run(*command, "--label-level", 2)
        assert said.exit_code == 0, said.output
        assert "same subfolders" not in said.stderr
        assert "north" not in said.stdout
    assert Model.load(model).classes == ["cat", "dog"]
    tree(tmp_path / "more" / "new", SITES, images=2)
    for path in (tmp_path / "more" / "new").rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"\0")
    level = ["--label-level", -1, "--near-duplicates", "off"]  # other files of the same pixels
    scored = run("evaluate", model, tmp_path / "more", *level)
    assert scored.exit_code == 0, scored.output
    assert "8 images" in scored.stdout
    assert "'new', which is not a class" in run("evaluate", model, tmp_path / "more").stderr


def test_a_page_loads_the_labels_of_the_level_again(sites, tmp_path):
    out, page = tmp_path / "out", tmp_path / "page.html"
    benchmark(sites, heads="centroid", cv=2, n_jobs=1, label_level=2, out=out)
    report(out, page, n_jobs=1, without=["learning-curve"])
    assert "cat" in re.search(r"<title>(.*?)</title>", page.read_text())[1]


def test_images_without_the_level_have_no_label_and_are_named(sites, tmp_path, caplog):
    write_image(tmp_path / "photos" / "north" / "stray.png", 99)
    extract(tmp_path / "photos", sites)
    data = load_dataset(sites, label_level=2)
    assert data.classes == ["cat", "dog"]
    assert "1 of 17 images have no label and are left out: 'north/stray.png'" in caplog.text
    with pytest.raises(DatasetError, match=r"no image of .* has a folder at label level 5"):
        load_dataset(sites, label_level=5)
    with pytest.raises(ParameterError, match="omit one"):
        load_dataset(sites, labels={"north/stray.png": "cat"}, label_level=2)
    refused = run("fit", sites, "--label-level", 0)
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)


def test_a_folder_and_a_model_whose_classes_differ_by_form_fit_together(tmp_path):
    for name, form in (("old", E_DECOMPOSED), ("new", E_COMPOSED)):
        tree(tmp_path / name, [form, "tea"], images=4 if name == "old" else 3)
    for path in (tmp_path / "new").rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"\0")
    extract(tmp_path / "old", tmp_path / "old.h5", **PIXELS)
    assert any(E_DECOMPOSED in id_ for id_ in load_dataset(tmp_path / "old.h5").ids)
    model = Model.fit(make_head("centroid"), load_dataset(tmp_path / "old.h5"))
    assert model.classes == [E_COMPOSED, "tea"]
    trial = evaluate(model, tmp_path / "new", near_duplicates=None)  # the same pixels
    assert trial.tested == 6
    assert trial.confusion.counts.sum() == 6
    data = load_dataset(tmp_path / "old.h5")
    decomposed = np.array([unicodedata.normalize("NFD", label) for label in data.y])
    other = Model.fit(make_head("centroid"), replace(data, y=decomposed))
    assert other.classes == [E_DECOMPOSED, "tea"]
    extract(tmp_path / "new", tmp_path / "new.h5", **PIXELS)
    for source in (tmp_path / "new", tmp_path / "new.h5"):
        assert evaluate(other, source, near_duplicates=None).scores == trial.scores
    decomposed[::2] = np.where(decomposed[::2] == "tea", "tea", E_COMPOSED)
    both = Model.fit(make_head("centroid"), replace(data, y=decomposed))
    assert len(both.classes) == 3
    with pytest.raises(DatasetError, match=r"the model has 2 classes .* or blanks; fit it again"):
        evaluate(both, tmp_path / "new")


def test_extract_asks_about_classes_that_look_alike(tmp_path, caplog):
    tree(tmp_path / "photos", ["Cat", "cat"], images=2)
    with caplog.at_level(logging.WARNING):
        extract(tmp_path / "photos", tmp_path / "x.h5", **PIXELS)
    assert (
        "the classes 'Cat' (2) and 'cat' (2) differ by case alone; is that intended?" in caplog.text
    )
