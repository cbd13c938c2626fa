"""A model on labelled images that it has not seen."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from tests.fakes import record_batches, refuse_loading, write_image
from tlfeatures import Model, extract, fit, load_dataset, make_head
from tlfeatures.errors import (
    DatasetError,
    ModelError,
    ParameterError,
    SpecError,
    TlfeaturesError,
)
from tlfeatures.models.evaluate import evaluate


@pytest.fixture(scope="module")
def made(_photos, tmp_path_factory):
    """Folders `old` and `new` with six images a class each, and a model of `old`; read-only."""
    folder = tmp_path_factory.mktemp("halves")
    for label in ("blue", "red"):
        for number, path in enumerate(sorted((_photos / label).iterdir())):
            target = folder / ("old" if number < 6 else "new") / label / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    extract(folder / "old", folder / "old.h5", backbone="pixels", size=16)
    fit(folder / "old.h5", "logreg", cv=3, model=folder / "m.model")
    return folder


@pytest.fixture
def halves(made, tmp_path):
    """Copies of the folders `old` and `new`, to be changed."""
    return tuple(shutil.copytree(made / name, tmp_path / name) for name in ("old", "new"))


@pytest.fixture
def model(made, tmp_path):
    shutil.copy(made / "old.h5", tmp_path)
    return Path(shutil.copy(made / "m.model", tmp_path))


def test_a_folder_and_its_embeddings_file_give_the_same(model, halves, tmp_path):
    extract(halves[1], tmp_path / "new.h5", backbone="pixels", size=16)
    by_folder, by_file = evaluate(model, halves[1]), evaluate(model, tmp_path / "new.h5")
    assert by_folder.scores == by_file.scores
    assert (by_folder.tested, by_folder.seen, by_folder.images) == (12, 0, 12)
    assert Model.load(model).evaluate(halves[1]).scores == by_folder.scores


@pytest.fixture
def mislabelled(halves):
    """New images: of 5 in blue 3 are red, and of 6 in red 1 is blue."""
    new = halves[1]
    for name in ("red06", "red07", "red08"):
        (new / "red" / f"{name}.png").rename(new / "blue" / f"{name}.png")
    (new / "blue" / "blue06.png").rename(new / "red" / "blue06.png")
    for name in ("blue07", "blue08", "blue09"):
        (new / "blue" / f"{name}.png").unlink()
    for name in ("red00", "red01"):
        with Image.open(halves[0] / "red" / f"{name}.png") as image:
            image.save(new / "red" / f"{name}.bmp")  # other bytes, so not seen
    return new


def test_a_folder_is_the_truth_and_what_the_model_says_is_not(model, mislabelled):
    trial = evaluate(model, mislabelled)
    said = {each.path: each for each in Model.load(model).predict([mislabelled])}
    ids = trial.predictions.ids.tolist()
    truth = [id_.split("/")[0] for id_ in ids]
    answers = [said[str(mislabelled / id_)] for id_ in ids]
    table = np.array([[each.probabilities[label] for label in trial.classes] for each in answers])
    expected = {
        "accuracy": 7 / 11,
        "balanced_accuracy": (2 / 5 + 5 / 6) / 2,
        "f1_macro": (4 / 8 + 10 / 14) / 2,
        "log_loss": log_loss(truth, table),
        "roc_auc": roc_auc_score([label == "red" for label in truth], table[:, 1]),
    }
    assert expected["balanced_accuracy"] != pytest.approx(
        balanced_accuracy_score([each.label for each in answers], truth)
    )
    assert trial.scores.keys() == expected.keys()
    for name, value in expected.items():
        assert trial.scores[name]["score"] == pytest.approx(value), name
        low, high = trial.scores[name]["interval"]
        assert low <= value <= high
    assert trial.confusion.counts.tolist() == [[2, 3], [1, 5]]
    assert trial.to_dict()["confusion"] == [[2, 3], [1, 5]]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_intervals_resample_groups_whole(model, halves, tmp_path, kind):
    """Three shots of each of twelve scenes, eight of them in the right class."""
    source = tmp_path / "series"
    for scene in range(12):
        channel = 0 if scene % 2 else 2
        label = "red" if (channel == 0) == (scene < 8) else "blue"
        for shot in range(3):
            pixels = np.random.default_rng([99, scene, shot]).integers(
                0, 160, (16, 20, 3), np.uint8
            )
            pixels[..., channel] += np.uint8(60)
            target = source / label / f"{scene}-{shot}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(target)
    if kind == "file":
        extract(source, tmp_path / "series.h5", backbone="pixels", size=16)
        source = tmp_path / "series.h5"
    alone, grouped = evaluate(model, source), evaluate(model, source, groups=r"(\d+)-")
    assert alone.scores["accuracy"]["score"] == grouped.scores["accuracy"]["score"] == 24 / 36
    narrow, wide = (np.ptp(each.scores["accuracy"]["interval"]) for each in (alone, grouped))
    assert wide > 1.3 * narrow  # sqrt(3), were the numbers large


@pytest.mark.parametrize(("aliens", "flagged"), [((), 0), (("green", "yellow", "black"), 3)])
def test_images_unlike_the_training_are_counted(model, halves, tmp_path, aliens, flagged):
    source = tmp_path / "mixed"
    for label in ("blue", "red"):
        (source / label).mkdir(parents=True)
        for path in sorted((halves[0] / label).iterdir())[:4]:
            with Image.open(path) as image:
                image.save(source / label / f"{path.stem}.bmp")  # the same pixels, other bytes
    for colour in aliens:
        Image.new("RGB", (20, 16), colour).save(source / "blue" / f"{colour}.png")
    trial = evaluate(model, source)
    assert (trial.tested, trial.outliers) == (8 + len(aliens), flagged)
    assert trial.to_dict()["outliers"] == flagged


def test_images_of_the_training_are_told_by_their_bytes_and_left_out(model, halves):
    old, new = halves
    shutil.copy(old / "red" / "red00.png", new / "red" / "another_name.png")
    shutil.copy(old / "blue" / "blue00.png", new / "red" / "even_in_another_class.png")
    trial = evaluate(model, new)
    assert (trial.images, trial.seen, trial.tested) == (14, 2, 12)
    assert not any("name" in id_ for id_ in trial.predictions.ids.tolist())


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_nothing_but_images_of_the_training_is_refused(model, halves, tmp_path, kind):
    with pytest.raises(DatasetError, match=r"all 12 .*images"):
        evaluate(model, halves[0] if kind == "folder" else tmp_path / "old.h5")


@pytest.fixture
def splits(halves, tmp_path):
    """A folder with all images that the model was fitted on in train, and new ones in val."""
    halves[0].rename(tmp_path / "train")
    halves[1].rename(tmp_path / "val")
    (tmp_path / "splits").mkdir()
    for name in ("train", "val"):
        (tmp_path / name).rename(tmp_path / "splits" / name)
    extract(tmp_path / "splits", tmp_path / "splits.h5", backbone="pixels", size=16)
    return tmp_path / "splits", tmp_path / "splits.h5"


def numbers(trial):
    return {key: value for key, value in trial.to_dict().items() if key != "source"}


def test_a_folder_whose_train_was_seen_gives_what_its_file_gives(model, splits):
    by_folder, by_file = (evaluate(model, source) for source in splits)
    assert numbers(by_folder) == numbers(by_file)
    assert (by_folder.images, by_folder.seen, by_folder.tested) == (24, 12, 12)
    assert by_folder.predictions.ids.tolist() == by_file.predictions.ids.tolist()
    assert by_folder.confusion.counts.tolist() == [[6, 0], [0, 6]]


def test_labels_that_name_some_images_seen_ones_too_count_these_alone(
    model, splits, tmp_path, caplog
):
    seen = [f"train/blue/blue0{number}.png,blue" for number in range(3)]
    new = [f"val/red/red0{number}.png,red" for number in range(6, 10)]
    (tmp_path / "labels.csv").write_text("\n".join(["id,label", *seen, *new]))
    by_folder, by_file = (
        evaluate(model, source, labels=tmp_path / "labels.csv") for source in splits
    )
    assert (by_folder.images, by_folder.seen, by_folder.tested) == (7, 3, 4)
    assert numbers(by_folder) == numbers(by_file)
    assert "belong to no" not in caplog.text


def test_only_unseen_images_are_embedded(model, halves, monkeypatch):
    old, new = halves
    shutil.copytree(old, new, dirs_exist_ok=True)
    batches = record_batches(monkeypatch)
    assert evaluate(model, new, batch_size=4).seen == 12
    assert sum(map(len, batches)) == 12


def test_a_class_without_images_is_no_error(model, halves):
    shutil.rmtree(halves[1] / "blue")
    trial = evaluate(model, halves[1])
    assert trial.scores["roc_auc"]["score"] is None
    assert trial.confusion.counts[0].sum() == 0
    assert trial.scores["accuracy"]["score"] is not None


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_labels_and_groups_may_be_objects(model, halves, tmp_path, kind):
    source = halves[1]
    ids = sorted(path.relative_to(source).as_posix() for path in source.glob("*/*.png"))
    labels, groups = [id_.split("/")[0] for id_ in ids], [id_[-5] for id_ in ids]
    expected = evaluate(model, source, groups=r"(\d)\.png$")
    if kind == "file":
        extract(source, tmp_path / "new.h5", backbone="pixels", size=16)
        source = tmp_path / "new.h5"
    by_id = {
        "labels": dict(zip(ids, labels, strict=True)),
        "groups": dict(zip(ids, groups, strict=True)),
    }
    for options in (by_id, {"labels": np.array(labels), "groups": groups}):
        assert numbers(evaluate(model, source, **options)) == numbers(expected)


def test_labels_of_a_csv(model, halves, tmp_path):
    rows = [
        f"{label}/{path.name},{label}"
        for label in ("blue", "red")
        for path in (halves[1] / label).iterdir()
    ]
    (tmp_path / "labels.csv").write_text("id,label\n" + "\n".join(rows[:9]))
    trial = evaluate(model, halves[1], labels=tmp_path / "labels.csv")
    assert (trial.images, trial.tested) == (9, 9)


def test_unreadable_images_are_named(model, halves):
    (halves[1] / "red" / "bad.jpg").write_text("text")
    trial = evaluate(model, halves[1])
    assert [item["id"] for item in trial.failed] == ["red/bad.jpg"]
    assert trial.tested == 12


def _unknown_class(new, tmp_path):
    write_image(new / "green" / "1.png", 1)
    return {}


def _wrong_labels(new, tmp_path):
    (tmp_path / "labels.csv").write_text("a,b\n1,2\n")
    return {"labels": tmp_path / "labels.csv"}


def _labels_of_others(new, tmp_path):
    (tmp_path / "labels.csv").write_text("id,label\nx.png,red\n")
    return {"labels": tmp_path / "labels.csv"}


def _only_seen_labels(new, tmp_path):
    shutil.copy(tmp_path / "old" / "red" / "red00.png", new / "red" / "red00.png")
    return {"labels": {"red/red00.png": "red"}}


def _empty(new, tmp_path):
    shutil.rmtree(new)
    new.mkdir()
    return {}


def _seen(new, tmp_path):
    shutil.rmtree(new)
    shutil.copytree(tmp_path / "old", new)
    return {}


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (_unknown_class, r"'green'.*blue, red"),
        (_wrong_labels, "expected id and label"),
        (_labels_of_others, "no id of the labels"),
        (_only_seen_labels, "fitted on all 1 "),
        (_empty, "no images"),
        (_seen, "fitted on all 12 "),
        (lambda new, tmp_path: {"groups": "nothing like this"}, "has no match"),
        (lambda new, tmp_path: {"near_duplicates": 7}, "near_duplicates is 7"),
    ],
)
def test_what_is_wrong_is_found_before_the_backbone_is_loaded(
    model, halves, tmp_path, monkeypatch, prepare, message
):
    refuse_loading(monkeypatch)
    options = prepare(halves[1], tmp_path)
    with pytest.raises(TlfeaturesError, match=message):
        evaluate(model, halves[1], **options)


def test_embeddings_of_other_settings_are_refused(model, halves, tmp_path):
    extract(halves[1], tmp_path / "other.h5", backbone="pixels", size=20)
    with pytest.raises(SpecError, match="size"):
        evaluate(model, tmp_path / "other.h5")


def test_a_source_that_is_not_there(model, tmp_path):
    with pytest.raises(ParameterError, match="does not exist"):
        evaluate(model, tmp_path / "nowhere")


def test_a_model_that_does_not_know_its_images_is_refused(halves, tmp_path):
    extract(halves[0], tmp_path / "old.h5", backbone="pixels", size=16)
    made = Model.fit(make_head("logreg"), load_dataset(tmp_path / "old.h5"))
    with pytest.raises(ModelError, match="its Dataset had no digests"):
        Model(made.head, made.spec, made.embedding, made.info).evaluate(halves[1])
