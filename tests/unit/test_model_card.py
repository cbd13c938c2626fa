"""The card beside a model says what was measured, and nothing else."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.unit.data import dataset
from tlfeatures import Model, extract, fit, load_dataset, make_head
from tlfeatures.cli import main
from tlfeatures.errors import ModelError, ParameterError
from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.vgg16 import IMAGENET
from tlfeatures.metrics.score_records import score_record
from tlfeatures.metrics.scores import score_name
from tlfeatures.models.card import render_card
from tlfeatures.models.model_file import read_model_info


@pytest.fixture
def file(flatten_file):
    return flatten_file


@pytest.fixture(scope="module")
def saved(fitted_folder, tmp_path_factory):
    """What `fit` reports of a model, its facts, and its card; tests only read them."""
    model = tmp_path_factory.mktemp("saved") / "m.model"
    report = fit(fitted_folder / "photos.h5", ["logreg", "dummy"], model=model)
    return report, read_model_info(model), model.with_name("m.model.md").read_text()


def test_every_number_of_the_card_is_in_the_report(saved):
    report, facts, card = saved
    before_sets = card[: card.index("## Sets of labels")]
    rows = dict(re.findall(r"^\| ([A-Za-z][A-Za-z0-9 ]+) \| (.+) \|$", before_sets, re.MULTILINE))
    assert (rows["blue"], rows["red"]) == ("12", "12")
    assert "24 images in all" in card
    for name, row in report.ranking[0].scores.items():
        value, interval, mean, deviation = rows[score_name(name)].split(" | ")
        assert value == f"{row['score']:.3f}"
        assert (mean, deviation) == (f"{row['mean']:.3f}", f"{row['std']:.3f}")
        low_high = row["interval"]
        assert interval == ("none" if low_high is None else "{:.3f} to {:.3f}".format(*low_high))
    assert "24 images tested; 5-fold cross-validation" in card
    assert "best of 2 heads" in card
    assert all(sentence in card.replace("\\", "") for sentence in report.verdict)
    assert f"{facts['outliers']['threshold']:.3f}" in card
    assert "0 of them would be flagged" in card


def test_a_model_without_scores_says_that_they_were_not_measured(file, tmp_path):
    Model.fit(make_head("logreg"), load_dataset(file)).save(tmp_path / "m.model")
    card = (tmp_path / "m.model.md").read_text()
    assert "were not measured when the model was fitted" in card
    assert "accuracy" not in card
    assert "best of" not in card


def test_how_many_exceeded_the_limit_is_told(tmp_path):
    Model.fit(make_head("logreg"), dataset(120)).save(tmp_path / "m.model")
    assert (
        "120 of these images were compared with the others in the same way, and 1 of them would"
        in (tmp_path / "m.model.md").read_text()
    )


@pytest.mark.parametrize("tune", [False, True])
def test_that_it_was_tuned_is_told_if_it_was(file, tmp_path, tune):
    fit(file, "knn", cv=3, tune=tune, model=tmp_path / "m.model")
    assert read_model_info(tmp_path / "m.model")["tuned"] is tune
    assert ("tuned on all images" in (tmp_path / "m.model.md").read_text()) is tune


def copy_of(path, target):
    """Write the same pixels as other bytes."""
    with Image.open(path) as image:
        image.save(target)


@pytest.mark.parametrize("groups", [None, r"(\d\d)"])
@pytest.mark.parametrize("copies", [0, 2])
def test_groups_and_copies_are_told_if_there_are_any(photos, tmp_path, copies, groups):
    for path in sorted(photos.glob("*/*00.png"))[:copies]:
        copy_of(path, path.with_suffix(".bmp"))
    extract(photos, tmp_path / "x.h5", backbone="pixels", size=16, pools=["flatten"])
    fit(tmp_path / "x.h5", cv=3, groups=groups, model=tmp_path / "m.model")
    card = (tmp_path / "m.model.md").read_text().lower()
    assert ("2 pairs of images are the same or nearly the same" in card) is bool(copies)
    assert ("the images belong to 12 groups" in card) is (groups is not None)
    assert ("were kept in one fold" in card) is bool(copies or groups)


@pytest.mark.parametrize(
    ("held_back", "included"), [(False, "val included"), (True, "val and test included")]
)
def test_a_given_split_is_named_and_what_the_saved_head_has_seen(
    photos, tmp_path, held_back, included
):
    for label in ("blue", "red"):
        for number, path in enumerate(sorted((photos / label).iterdir())):
            split = "val" if number < 4 else "test" if number < 6 and held_back else "train"
            target = tmp_path / "split" / split / label / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    split = tmp_path / "split"
    copy_of(split / "val" / "red" / "red00.png", split / "train" / "red" / "red00.bmp")
    extract(split, tmp_path / "s.h5", backbone="pixels", size=16, pools=["flatten"])
    fit(tmp_path / "s.h5", model=tmp_path / "m.model")
    card = (tmp_path / "m.model.md").read_text()
    assert "8 images tested; fitted on train, tested on val" in card
    assert f"fitted on all 25 images, {included}" in card
    assert ("val and test included" in card) is held_back
    expected = ["val", "test"] if held_back else ["val"]
    assert read_model_info(tmp_path / "m.model")["included"] == expected
    fit(tmp_path / "s.h5", split="test" if held_back else "val", model=tmp_path / "m.model")
    assert f"fitted on all 25 images, {included}" in (tmp_path / "m.model.md").read_text()
    assert "1 pair of images is the same" in card
    assert "one fold" not in card  # the copies stood on two sides of the split
    assert re.search(r"^\| accuracy \| [\d.]+ \| [\d.]+ to [\d.]+ \|$", card, re.MULTILINE)
    assert "std of folds" not in card  # of one fold there is none


@pytest.mark.parametrize(
    ("weights", "sha256", "said"),
    [
        ("imagenet", IMAGENET.sha256, "CC BY 4.0"),
        ("/home/me/vgg16.h5", IMAGENET.sha256, "CC BY 4.0"),
        ("/home/me/mine.h5", "00ff", "doesn't know their licence"),
        ("random", "00ff", "RANDOM (seed 3)"),
    ],
)
def test_weights_and_their_licence_are_known_by_their_hash(saved, weights, sha256, said):
    facts = json.loads(json.dumps(saved[1]))
    facts["spec"] |= {
        "backbone": "vgg16",
        "weights": weights,
        "weights_sha256": sha256,
        "random_state": 3,
    }
    card = render_card("m.model", facts)
    assert said in card
    assert sha256 in card
    assert "/home/me" not in card  # a card travels; a path of this machine says nothing there


def card_of_declared(saved, name, **spec):
    check = {"layer": "features", "size": [224, 224], "norm": 12.0, "first": [1.0]}
    outputs = [{"layer": "features", "tensor": "t", "shape": [1280]}]
    declared = {"format": "onnx", "source": "mine", "licence": "MIT", "check": check}
    facts = json.loads(json.dumps(saved[1]))
    facts["spec"] |= {
        "backbone": name,
        "weights_sha256": "00ff",
        "declaration": {**declared, "outputs": outputs, **spec.pop("declaration", {})},
        **spec,
    }
    return " ".join(render_card("m.model", facts).split())


OWN = "A network of the user's own. This program doesn't check what they declared. Source: mine;"
KERAS = {"declaration": {"format": "keras_application"}}


@pytest.mark.parametrize(
    ("name", "spec", "said"),
    [
        ("small", {}, [OWN, "sha256 of the ONNX file: `00ff`"]),
        (
            "small",
            {"declaration": {"format": "keras_file", "check": None}},
            [OWN, "no check vector", "sha256 of the .keras file: `00ff`"],
        ),
        (
            "efficientnet-lite0",
            {"weights_sha256": NAMED["efficientnet-lite0"].recipe.onnx_sha256},
            ["EfficientNet-Lite0. Source: mine; licence: MIT.", "sha256 of the ONNX file:"],
        ),
        ("efficientnet-lite0", {}, [OWN]),  # another file
        (
            "resnet50",
            {**KERAS, "weights": "imagenet"},
            ["ResNet50 of Keras. Source: mine; licence: MIT.", "sha256 of the weights: `00ff`"],
        ),
        ("resnet50", {**KERAS, "weights": "/home/me/mine.h5"}, ["doesn't know their licence"]),
        (
            "dino",
            {"declaration": {"format": "keras_hub"}},
            ["of keras_hub. Source: mine; licence: MIT.", "sha256 of the weights: `00ff`"],
        ),
        ("later", {"declaration": {"format": "newer"}}, ["sha256 of the weights: `00ff`"]),
    ],
)
def test_a_declared_network_is_one_of_this_program_or_the_users(saved, name, spec, said):
    card = card_of_declared(saved, name, **json.loads(json.dumps(spec)))
    for text in said:
        assert text in card
    assert (OWN in card) == (OWN in said)
    assert "/home/me" not in card


def test_names_that_are_markup_stay_text(saved):
    facts = json.loads(json.dumps(saved[1]))
    facts["classes"] = ["<img src=x>", "a|b", "*c*"]
    facts["counts"] = dict.fromkeys(facts["classes"], 8)
    card = render_card("m.model", facts)
    assert "<img" not in card
    assert "| a\\|b | 8 |" in card
    assert "\\*c\\*" in card


def test_a_card_never_replaces_what_is_none(file, tmp_path):
    (tmp_path / "m.model.md").write_text("# my notes\n")
    with pytest.raises(ParameterError, match="would replace"):
        fit(file, model=tmp_path / "m.model")
    with pytest.raises(ParameterError, match="would replace"):
        Model.fit(make_head("logreg"), load_dataset(file)).save(tmp_path / "m.model")
    assert not (tmp_path / "m.model").exists()
    assert (tmp_path / "m.model.md").read_text() == "# my notes\n"


def test_the_card_is_replaced_with_the_model(file, tmp_path):
    fit(file, model=tmp_path / "m.model")
    fit(file, "knn", model=tmp_path / "m.model")
    assert "head (classifier) knn" in (tmp_path / "m.model.md").read_text()
    assert not list(tmp_path.glob(".*.new"))


def test_scores_without_how_they_were_reached_are_no_reason_not_to_save(file, tmp_path):
    facts = {"scores": {"accuracy": score_record([1.0, 1.0])}}
    Model.fit(make_head("logreg"), load_dataset(file), facts=facts).save(tmp_path / "m.model")
    assert Model.load(tmp_path / "m.model").info["scores"] == facts["scores"]
    assert (tmp_path / "m.model.md").read_text().startswith("<!-- model card")


def test_a_model_whose_card_cannot_be_written_replaces_nothing(file, tmp_path):
    fit(file, model=tmp_path / "m.model")
    before = {path: path.read_bytes() for path in tmp_path.glob("m.model*")}
    assert len(before) == 2
    facts = {"scores": {"accuracy": None}, "split": "cv", "folds": 5, "tested": 24}
    made = Model.fit(make_head("knn"), load_dataset(file), facts=facts)
    with pytest.raises(ModelError, match="scores"):
        made.save(tmp_path / "m.model")
    assert {path: path.read_bytes() for path in tmp_path.glob("m.model*")} == before


def test_the_card_lies_beside_the_file_that_a_link_names(file, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.model").symlink_to(tmp_path / "real" / "m.model")
    result = CliRunner().invoke(main, ["fit", str(file), "-o", str(tmp_path / "link.model")])
    assert result.exit_code == 0, result.output
    card = tmp_path / "real" / "m.model.md"
    assert f"(model card): {card}" in result.stdout
    assert "# m.model" in card.read_text()
    assert (tmp_path / "link.model").is_symlink()
    assert not (tmp_path / "link.model.md").exists()


def test_parameters_of_an_ensemble_are_its_own(file, tmp_path):
    model = tmp_path / "m.model"
    head = ["--head", "sklearn.ensemble:RandomForestClassifier"]
    params = ["--param", "max_depth=3", "--param", "n_estimators=7"]
    arguments = ["fit", str(file), *head, *params, "--cv", "3", "-o", str(model), "--json"]
    report = json.loads(CliRunner().invoke(main, arguments).stdout)
    kept = json.loads(CliRunner().invoke(main, ["info", str(model), "--json"]).stdout)
    for said in (report["heads"][0]["params"], kept["params"]):
        assert (said["max_depth"], said["n_estimators"]) == (3, 7)
    card = (tmp_path / "m.model.md").read_text().replace("\\", "")
    assert re.search(r"^Parameters of the head:.* max_depth=3,.* n_estimators=7,", card, re.M)


def test_a_card_of_version_one_says_less(saved):
    facts = {k: v for k, v in saved[1].items() if k not in ("counts", "outliers", "compared")}
    card = render_card("m.model", facts)
    assert "24 images." in card
    assert "can't flag" in card
    assert not np.char.count(card, "None |")
