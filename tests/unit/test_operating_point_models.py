"""A model with an operating point labels by its threshold, everywhere, and says so."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from tests.unit.data import dataset
from tests.unit.exported import assert_exported_alike, both, model_of
from tests.unit.test_model_damage import rewrite_facts
from tlfeatures import HEADS, Model, describe, export, fit, report
from tlfeatures.cli import main
from tlfeatures.errors import FormatError, ParameterError
from tlfeatures.models.operating_point import OperatingPoint

SCORES = {
    name: {"score": 0.9, "interval": [0.8, 0.95], "reason": None, "groups_range": None}
    for name in ("recall", "precision", "specificity", "accuracy")
}


def point(label="bee", threshold=0.3):
    return OperatingPoint(label, "recall=0.9", threshold, 60, 30, False, SCORES)


def with_point(model, **fields):
    return replace(model, info={**model.info, "operating_point": point(**fields).to_dict()})


def rows(model, count=300, seed=5):
    """Embeddings on both sides of any threshold."""
    random = np.random.default_rng(seed)
    return random.normal(scale=3, size=(count, model.info["columns"])).astype(np.float32)


@pytest.fixture(scope="module")
def noisy():
    return dataset(n=240, classes="abc", signal=1.0)


@pytest.fixture(scope="module")
def fitted(noisy, tmp_path_factory):
    """A fit with an operating point of one class of three; tests only read it."""
    model = tmp_path_factory.mktemp("fitted") / "m.model"
    return fit(noisy, "logreg", at="recall=0.9", positive="b", model=model)


def test_labels_follow_the_threshold(fitted, noisy):
    model, found = fitted.model, fitted.operating_point
    assert (found.label, found.at, found.images, found.positives) == ("b", "recall=0.9", 240, 80)
    X = rows(model)
    table = model.predict_proba(X)
    labels = model.predict_features(X).labels
    assert (labels == "b").tolist() == (table[:, 1] >= found.threshold).tolist()
    others = np.array(["a", "c"])[(table[:, 2] > table[:, 0]).astype(int)]
    assert (labels == np.where(labels == "b", "b", others)).all()
    assert set(labels) == {"a", "b", "c"}


def test_the_threshold_is_a_number_between_the_out_of_fold_probabilities(fitted):
    out_of_fold = fitted.benchmark.predictions_of()
    own = out_of_fold.probabilities[:, 1]
    missed = (own[out_of_fold.y == 1] < fitted.operating_point.threshold).sum()
    assert (missed + 1) / 81 <= 0.1
    assert fitted.operating_point.scores["recall"]["score"] >= 0.8


def test_a_loaded_model_labels_alike(fitted):
    loaded = Model.load(fitted.model_file)
    assert loaded.operating_point == fitted.operating_point
    X = rows(loaded)
    assert (loaded.predict_codes(X) == fitted.model.predict_codes(X)).all()


def test_probabilities_and_confidences_stay(fitted, noisy):
    plain = fit(noisy, "logreg")
    assert plain.operating_point is None
    without = replace(fitted.model, info={**fitted.model.info, "operating_point": None})
    X = rows(fitted.model)
    assert (fitted.model.predict_proba(X) == without.predict_proba(X)).all()
    found = fitted.model.predict_features(X)
    assert (found.confidence == found.probabilities[np.arange(300), found.codes]).all()
    assert fitted.ranking[0].scores == plain.ranking[0].scores
    assert fitted.verdict == plain.verdict


def test_a_label_that_is_not_confident_is_left_out(fitted):
    X = rows(fitted.model)
    sure = fitted.model.predict_features(X, min_confidence=0.5)
    confident = fitted.model.predict_features(X).confidence
    assert (np.array([label is None for label in sure.labels]) == (confident < 0.5)).all()
    assert 0 < sure.abstained.sum() < 300


def test_score_and_evaluate_are_of_these_labels(fitted):
    new = dataset(n=600, classes="abc", signal=1.0)
    new = replace(new, X=new.X + np.float32(0.01))
    found, labels = fitted.model.evaluate(new), fitted.model.predict_features(new.X).labels
    right = (labels == new.y).mean()
    assert found.scores["accuracy"]["score"] == pytest.approx(right)
    assert fitted.model.score(new.X, new.y) == pytest.approx(right)
    scores = found.operating_point.scores
    assert scores["recall"]["score"] == (labels[new.y == "b"] == "b").mean()
    assert scores["precision"]["score"] == (new.y[labels == "b"] == "b").mean()
    assert found.to_dict()["operating_point"] == found.operating_point.to_dict()
    assert json.loads(json.dumps(found.to_dict()))["operating_point"]["images"] == 600


def test_sets_hold_the_label_of_the_point_and_keep_their_coverage(tmp_path):
    # The head alone is right in more than 95 %, so its own sets would have one label each.
    data = dataset(n=600, signal=3.5)
    model = fit(data, at="cost=500:1", positive="b", model=tmp_path / "m.model").model
    random = np.random.default_rng(9)
    X = random.normal(size=(4000, 6)).astype(np.float32)
    y = np.resize(["a", "b"], 4000)
    X[y == "b", 0] += 3.5
    found = model.predict_features(X, coverage=0.95)
    assert all(
        chosen[0] == label for chosen, label in zip(found.label_sets, found.labels, strict=True)
    )
    assert (found.labels == y).mean() < 0.93
    right = [label in chosen for label, chosen in zip(y, found.label_sets, strict=True)]
    assert np.mean(right) > 0.94
    assert model.sets.measured["coverage"] == pytest.approx(np.mean(right), abs=0.02)


def test_a_model_without_a_point_is_as_before(noisy, tmp_path):
    found = fit(noisy, model=tmp_path / "m.model")
    assert found.model.operating_point is None
    assert "operating_point" not in found.model.info
    assert found.to_dict()["operating_point"] is None
    assert "perating point" not in (tmp_path / "m.model.md").read_text()


def test_two_classes():
    model = with_point(model_of("logreg"), threshold=0.05)
    labels = model.predict_codes(rows(model))
    assert ((model.predict_proba(rows(model))[:, 1] >= 0.05) == (labels == 1)).all()
    assert "otherwise ant." in model.operating_point.sentences(model.classes)[0]


# ---- targets and data that are refused, before a head is fitted


@pytest.mark.parametrize(
    ("at", "positive", "said"),
    [
        ("recall=0.9", None, "needs the class that it is for: give --class with one of a, b, c"),
        (None, "b", "--class b is the class of --at, which is missing"),
        ("recall=0.9", "d", "--class is 'd', and the classes are a, b, c"),
        ("recall=2", "b", "--at is 'recall=2'; expected recall=0.95"),
        ("recall=0.99", "b", "needs 99 images of b that are tested, and there are 80"),
    ],
)
def test_refused_before_the_work(noisy, no_fits, at, positive, said):
    with pytest.raises(ParameterError, match=said):
        fit(noisy, "logreg", at=at, positive=positive)


def test_a_target_out_of_reach_saves_no_model(noisy, tmp_path):
    with pytest.raises(ParameterError, match=r"no threshold reaches precision=0\.98"):
        fit(noisy, "logreg", at="precision=0.98", positive="b", model=tmp_path / "m.model")
    assert not list(tmp_path.iterdir())


def test_groups_count_once(noisy):
    grouped = replace(noisy, groups=np.array([f"g{i // 8}" for i in range(240)]))
    with pytest.raises(ParameterError, match=r"needs 49 groups of images of b .* there are 30"):
        fit(grouped, "logreg", at="recall=0.98", positive="b")
    found = fit(grouped, "logreg", at="recall=0.9", positive="b").operating_point
    plain = fit(noisy, "logreg", at="recall=0.9", positive="b").operating_point
    assert (found.grouped, plain.grouped) == (True, False)
    assert found.scores["recall"]["score"] > plain.scores["recall"]["score"]
    assert "images of new groups" in " ".join(found.sentences(noisy.classes))


def test_few_groups_have_a_range(noisy):
    sites = replace(noisy, groups=np.array([f"site {i // 48}" for i in range(240)]))
    found = fit(sites, at="cost=2:1", positive="b").operating_point
    recall = found.scores["recall"]
    assert recall["interval"] is None
    assert "there are only 5 groups" in recall["reason"]
    between = recall["groups_range"]
    assert between["groups"] == 5
    assert between["lowest"] < recall["score"] < between["highest"]
    assert "between the 5 groups" in " ".join(found.sentences(noisy.classes))


def test_a_given_split_is_divided_to_score_the_threshold(noisy):
    split = np.where(np.arange(240) % 3 == 0, "val", "train")
    y = np.array(list("abc"))[np.random.default_rng(0).permutation(240) % 3]
    found = fit(replace(noisy, split=split, y=y), at="recall=0.8", positive="b").operating_point
    assert found.images == 80
    assert found.scores["recall"]["score"] < 1


def test_the_best_head_has_the_point(noisy):
    found = fit(noisy, ["dummy", "logreg"], at="recall=0.9", positive="b")
    assert found.ranking[0].head == "logreg"
    assert found.operating_point == fit(noisy, at="recall=0.9", positive="b").operating_point


# ---- what is shown


def test_the_card_says_which_scores_are_of_which_labels(fitted):
    card = Path(f"{fitted.model_file}.md").read_text()
    assert "### Operating point" in card
    text = card.replace("\\", "")
    assert all(sentence in text for sentence in fitted.point_sentences)
    assert "are those of the head's own labels, without the threshold" in text


def test_it_is_in_notebooks_json_and_info(fitted):
    rule = "the label is b if the probability of b is"
    assert rule in fitted._repr_html_()
    assert rule in fitted.model._repr_html_()
    stored = fitted.to_dict()["operating_point"]
    assert stored == describe(fitted.model_file)["operating_point"]
    assert json.loads(json.dumps(stored)) == stored


@pytest.mark.slow
def test_it_is_on_the_page(fitted, tmp_path):
    without = ["map", "audit", "learning-curve", "epochs", "images"]
    report(fitted, tmp_path / "r.html", without=without)
    page = (tmp_path / "r.html").read_text()
    assert "the label is b if the probability of b is" in page
    report(fitted.benchmark, tmp_path / "r.html", without=without)
    assert "the label is b if" not in (tmp_path / "r.html").read_text()


@pytest.mark.slow
def test_the_commands(flatten_file, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    model = tmp_path / "m.model"
    options = ["--at", "recall=0.8", "--class", "red"]
    found = run("fit", flatten_file, *options, "-o", model)
    assert found.exit_code == 0
    plain = " ".join(found.stdout.split())
    assert "Operating point recall=0.8 of red: the label is red if" in plain
    assert "and otherwise blue." in plain
    assert "operating_point:\n  label: red\n  at: recall=0.8\n" in run("info", model).stdout
    stored = json.loads(run("fit", flatten_file, *options, "--json").stdout)["operating_point"]
    assert stored["label"] == "red"
    wrong = run("fit", flatten_file, "--at", "recall=0.8")
    assert wrong.exit_code != 0
    assert "one of blue, red" in wrong.stderr


# ---- files


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": float("nan")},
        {"threshold": 1.5},
        {"threshold": -0.1},
        {"threshold": "0.5"},
        {"threshold": None},
        {"label": "wasp"},
        {"label": 3},
        {"at": "recall=2"},
        {"at": ["recall=0.9"]},
        {"images": 0},
        {"images": 10},
        {"positives": -1},
        {"grouped": 1},
        {"scores": {}},
        {"scores": {**SCORES, "recall": {**SCORES["recall"], "score": 2}}},
        {"scores": {**SCORES, "recall": {**SCORES["recall"], "interval": [0.1]}}},
        {"scores": {**SCORES, "recall": {**SCORES["recall"], "groups_range": [0.1, 0.2]}}},
        {"further": 1},
    ],
)
def test_a_damaged_point_is_refused(tmp_path, change):
    path = tmp_path / "m.model"
    with_point(model_of("logreg")).save(path)
    assert Model.load(path).operating_point == point()
    rewrite_facts(path, lambda facts: facts["operating_point"].update(change))
    for read in (describe, Model.load):
        with pytest.raises(FormatError, match="operating_point missing or wrong"):
            read(path)


@pytest.mark.parametrize("value", [[], "recall=0.9", 0.5, {}])
def test_something_else_is_no_point(tmp_path, value):
    path = tmp_path / "m.model"
    with_point(model_of("logreg")).save(path)
    rewrite_facts(path, lambda facts: facts.update({"operating_point": value}))
    with pytest.raises(FormatError, match="operating_point missing or wrong"):
        Model.load(path)


# ---- ONNX


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", sorted(HEADS))
@pytest.mark.slow
def test_every_head_in_onnx(name, classes, tmp_path):
    model = model_of(name, classes)
    table, *_ = both(model, tmp_path)
    middle = float(np.median(table[:, 1])) + 1e-4  # apart from a probability that many images have
    labelled = with_point(model, threshold=middle)
    assert_exported_alike(labelled, tmp_path)
    _, labels, expected, _ = both(labelled, tmp_path)
    assert [label == "bee" for label in labels] == (expected[:, 1] >= middle).tolist()


def test_the_onnx_file_says_what_its_labels_are(tmp_path):
    export(with_point(model_of("logreg")), tmp_path / "m.onnx")
    made = onnx.load(tmp_path / "m.onnx")
    assert "label: bee if its probability is 0.3 or more (operating point" in made.doc_string
    facts = {prop.key: prop.value for prop in made.metadata_props}
    assert json.loads(facts["model"])["operating_point"] == point().to_dict()
