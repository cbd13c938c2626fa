"""Scores where a known class has no tested image, and the reason of each score that is none."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import Perceptron
from sklearn.metrics import balanced_accuracy_score, f1_score

from tests.fakes import write_image
from tests.unit.data import dataset
from tests.unit.simulations import scored_case
from tlfeatures import benchmark, cross_validate, extract, fit, make_head, report
from tlfeatures.cli import main
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, HeadPredictions
from tlfeatures.metrics.intervals import score_intervals
from tlfeatures.metrics.resampling import resample_counts
from tlfeatures.metrics.scores import pooled_scores
from tlfeatures.models.evaluate import evaluate
from tlfeatures.reports.page.contents import OPTIONAL
from tlfeatures.terminal.fit_text import render_fit


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


class Fixed(ClassifierMixin, BaseEstimator):
    """Says the class that the first column names, and gives no probabilities."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[X[:, 0].astype(int) % len(self.classes_)]


def test_a_head_without_a_score_has_its_own_reason_though_the_best_has_no_interval():
    found = fit(
        dataset(n=100, signal=60), {"logreg": "logreg", "other": Perceptron()}, scoring="roc_auc"
    )
    best, other = found.ranking
    assert "every resample" in best.scores["roc_auc"]["reason"]
    assert (best.standing, other.standing) == ("best", "untested")
    assert other.reason == "the head gives no probabilities"


def test_the_page_gives_the_reason_of_a_missing_interval_below_the_table(tmp_path):
    found = benchmark(dataset(n=100, signal=60), ["logreg", "dummy"], cv=2, n_jobs=1)
    report(found, tmp_path / "r.html", without=OPTIONAL)
    page = (tmp_path / "r.html").read_text()
    reason = "every resample of the 100 images gives the same score"
    assert f'<p class="note">No interval of ROC AUC of logreg, dummy: {reason}.</p>' in page
    (heads,) = re.findall(r'aria-label="Table of heads".*?</table>', page, re.DOTALL)
    assert "no interval" in heads
    assert reason not in heads


# ---- macro F1 over the classes that there are


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 30))
def test_macro_f1_is_scikit_learns_over_the_classes_with_images(seed, k, n):
    y, predicted, table = scored_case(seed, n=n, k=k)
    y = y % max(1, k - seed % k)  # the last classes may be missing
    found = pooled_scores(y, predicted, table, np.ones((n, 1)))
    expected = f1_score(y, predicted, labels=np.unique(y), average="macro", zero_division=0)
    assert found["f1_macro"][0] == pytest.approx(expected)
    recalls = [(predicted[y == code] == code).mean() for code in np.unique(y)]
    assert found["balanced_accuracy"][0] == pytest.approx(np.mean(recalls))


def test_a_resample_without_a_class_averages_over_the_others():
    y, predicted = np.repeat([0, 1, 2], [30, 30, 2]), np.repeat([0, 1, 2], [30, 30, 2])
    predicted[[0, 30]] = 1, 0
    table = np.full((62, 3), 1 / 3)
    counts = resample_counts(62, resamples=400)
    assert (counts[60:].sum(axis=0) == 0).any()
    low, _ = score_intervals(y, predicted[None], table[None], counts)["f1_macro"]
    assert low > 0.9  # an absent class that counts as 0 would take a third


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of three classes, and a folder with new images of two of them."""
    folder = tmp_path_factory.mktemp("absent")
    for place, seed, labels in (("old", 0, "abc"), ("new", 500, "ab")):
        for code, label in enumerate(labels):
            for number in range(12):
                write_image(folder / place / label / f"{number}.png", seed + 40 * code + number)
    extract(folder / "old", folder / "old.h5", backbone="pixels", size=8)
    fit(folder / "old.h5", "logreg", model=folder / "m.model", near_duplicates=None)
    return folder


def test_evaluate_averages_over_the_classes_that_have_images(model):
    trial = evaluate(model / "m.model", model / "new", near_duplicates=None)
    named = np.array(trial.classes)
    y, predicted = trial.y, named[trial.predicted]
    assert "c" in predicted  # or the case tests nothing
    f1 = f1_score(y, predicted, labels=["a", "b"], average="macro")
    assert trial.scores["f1_macro"]["score"] == pytest.approx(f1)
    recall = np.mean([(predicted[y == label] == label).mean() for label in "ab"])
    assert trial.scores["balanced_accuracy"]["score"] == pytest.approx(recall)
    for name in ("accuracy", "f1_macro", "balanced_accuracy"):
        low, high = trial.scores[name]["interval"]
        assert low <= trial.scores[name]["score"] <= high


def test_evaluate_says_which_classes_and_why_a_score_is_none(model):
    result = run("evaluate", model / "m.model", model / "new", "--near-duplicates", "off")
    assert result.exit_code == 0, result.output
    assert "2 of 3 classes have tested images" in result.stdout
    assert "no ROC AUC: no tested image is of c" in result.stdout
    assert " - " not in result.stdout
    asked = ("evaluate", model / "m.model", model / "new", "--near-duplicates", "off", "--json")
    row = json.loads(run(*asked).stdout)["scores"]["roc_auc"]
    assert row["score"] is row["interval"] is row["mean"] is None
    assert row["reason"] == "no tested image is of c"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--near-duplicates", "off"], "the search is turned off (--near-duplicates off)"),
        ([], None),
    ],
)
def test_evaluate_says_why_near_duplicates_were_not_searched(model, options, why):
    for name in ("old", "new"):
        extract(
            model / name, model / f"{name}-flat.h5", backbone="pixels", size=8, pools=["flatten"]
        )
    fit(model / "old-flat.h5", "logreg", model=model / "flat.model", near_duplicates=None)
    for source in (model / "new", model / "new-flat.h5"):
        result = run("evaluate", model / "flat.model", source, *options, "--json")
        assert json.loads(result.stdout)["not_searched"] == why


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_a_fold_that_lacks_a_class_has_the_same_scores_as_scikit_learn():
    y = np.array(list("ab") * 30 + ["c"] * 5)
    groups = np.array([f"{i}" for i in range(60)] + ["c"] * 5)
    data = dataset(65, y=y, groups=groups, classes="abc")
    found = cross_validate(Fixed(), data, cv=3)
    for number in range(3):
        here = found.fold == number
        labels, said = data.y[here], found.classes[found.predicted[here]]
        f1 = f1_score(labels, said, labels=np.unique(labels), average="macro", zero_division=0)
        assert found.scores["f1_macro"]["folds"][number] == pytest.approx(f1)
        recall = balanced_accuracy_score(labels, said)
        assert found.scores["balanced_accuracy"]["folds"][number] == pytest.approx(recall)


# ---- reasons


def lacking():
    """Give three classes of which one is a single group, so that two folds of three lack it."""
    groups = np.array([f"{i}" for i in range(60)] + ["c"] * 5)
    y = np.array(list("ab") * 30 + ["c"] * 5)
    return dataset(65, y=y, groups=groups, classes="abc")


@pytest.mark.parametrize("scoring", ["roc_auc_ovr", "roc_auc_ovo"])
def test_a_scorer_that_needs_every_class_says_which_one_a_fold_lacks(scoring, caplog):
    found = cross_validate(make_head("logreg"), lacking(), cv=3, scoring=scoring)
    record = found.scores[scoring]
    assert None in record["folds"]
    assert record["score"] is record["mean"] is None
    assert "no tested image is of c in fold" in record["reason"]
    assert found.scores["roc_auc"]["score"] is not None
    assert "in fold" in found.scores["roc_auc"]["folds_reason"]
    assert "Traceback" not in caplog.text


def test_a_fit_ranked_by_such_a_scorer_is_one_line(tmp_path):
    rows = ["id,group"]
    for code, label in enumerate("abc"):
        for number in range(10):
            write_image(tmp_path / "p" / label / f"{number}.png", 50 * code + number)
            group = "c" if label == "c" else f"{label}{number}"
            rows.append(f"{label}/{number}.png,{group}")
    (tmp_path / "groups.csv").write_text("\n".join(rows))
    extract(tmp_path / "p", tmp_path / "p.h5", backbone="pixels", size=8)
    given = ("--groups", tmp_path / "groups.csv", "--cv", 3)
    refused = run("fit", tmp_path / "p.h5", *given, "--scoring", "roc_auc_ovr")
    assert refused.exit_code == 2
    assert "roc_auc_ovr is not defined" in refused.stderr
    assert "of c in fold" in refused.stderr
    shown = run("fit", tmp_path / "p.h5", *given)
    assert "ROC AUC of folds of logreg: " in shown.stdout
    assert "no tested image is of c in fold" in shown.stdout


def test_the_scores_of_folds_have_a_reason_of_their_own(tmp_path):
    """With few groups, the pooled score has no interval; that is no reason for missing folds."""
    plain = dataset(90, classes="abc")
    sites = [f"site{i // 3 % 3}" for i in range(90)]
    data = replace(plain, groups=np.where(plain.y == "c", "only", sites))
    found = fit(data, "logreg", cv=4, model=tmp_path / "head.model")
    record = found.ranking[0].scores["roc_auc"]
    assert record["mean"] is None
    assert "no tested image is of" in record["folds_reason"]
    assert "only 4 groups" not in record["folds_reason"]
    assert "only 4 groups" in record["reason"]
    assert "no tested image" not in record["reason"]
    text = render_fit(found)
    assert "ROC AUC of folds of logreg: no tested image is of" in text
    assert "With only 4 groups" in text
    card = (tmp_path / "head.model.md").read_text()
    assert "ROC AUC of folds: no tested image is of" in card


def test_a_head_without_probabilities_has_reasons():
    data = dataset()
    scores = cross_validate(Fixed(), data).scores
    for name in ("log_loss", "roc_auc"):
        assert scores[name]["score"] is scores[name]["interval"] is None
        assert scores[name]["reason"] == "the head gives no probabilities"


def test_every_none_has_a_reason_and_every_number_none():
    """A head that is always right has intervals of its accuracies only; few groups have none."""
    data = dataset(40, d=1, signal=50.0)
    for groups in (None, np.array(["g", "h"] * 20)):
        right = cross_validate("centroid", data)
        together = replace(data, groups=groups).together
        scorer = BootstrapScorer.of(
            data.y, together, right.fold >= 0, data.classes, 0, groups=groups
        )
        rows = scorer.score([HeadPredictions(right.predicted, right.probabilities)])
        for name, row in rows.items():
            whole = row["score"] is not None and row["interval"] is not None
            assert (row["reason"] is None) == whole, name
        expected = "every resample" if groups is None else "only 2 groups"
        assert expected in rows["f1_macro"]["reason"]
        assert (rows["balanced_accuracy"]["interval"] is None) == (groups is not None)
        assert (rows["f1_macro"]["groups_range"] is None) == (groups is None)
    dummy = cross_validate("dummy", data).scores
    assert "every resample of the 40 images" in dummy["roc_auc"]["reason"]


@pytest.mark.parametrize("head", ["logreg", "dummy"])
def test_among_the_two_most_probable_of_two_classes_is_every_label(head):
    with pytest.raises(ParameterError, match=r"top_k_accuracy .* with 2 classes it is 1 for every"):
        cross_validate(make_head(head), dataset(), scoring="top_k_accuracy")
    found = cross_validate(make_head(head), dataset(classes="abc"), scoring="top_k_accuracy")
    assert None not in found.scores["top_k_accuracy"]["folds"]


@pytest.mark.parametrize("scoring", ["positive_likelihood_ratio", "neg_negative_likelihood_ratio"])
def test_a_ratio_that_is_not_defined_is_no_number(scoring):
    """scikit-learn gives 1, its worst value, to a perfect head and to a guess alike."""
    data = dataset(60, 4, signal=50.0)
    options = {"scoring": [scoring], "cv": 3}
    guess = cross_validate(make_head("dummy"), data, **options)
    assert set(guess.scores[scoring]["folds"]) == {None}
    if scoring == "positive_likelihood_ratio":
        perfect = cross_validate(make_head("logreg"), data, **options)
        assert set(perfect.scores[scoring]["folds"]) == {None}
        assert perfect.scores[scoring]["reason"]
    noisy = cross_validate(make_head("logreg"), dataset(90, 4, signal=0.5), **options)
    assert None not in noisy.scores[scoring]["folds"]


@pytest.mark.parametrize("scoring", ["f1", "precision", "recall", "jaccard", "neg_brier_score"])
def test_a_score_of_a_positive_class_says_which_scores_need_none(scoring):
    with pytest.raises(ParameterError, match="which of the two classes is the positive one; use"):
        cross_validate(make_head("logreg"), dataset(), scoring=[scoring])
