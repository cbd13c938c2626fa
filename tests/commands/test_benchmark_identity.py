"""A benchmark compares what it was given: no head, dataset or image takes the place of another."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, RepeatedStratifiedKFold, ShuffleSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from tests.unit.data import dataset, run_benchmark, use_fit_version
from tlfeatures import audit, cross_validate, fit, learning_curve, report
from tlfeatures.benchmarking.compute import FIT_VERSION
from tlfeatures.errors import DatasetError, ParameterError


def shuffled():
    """A dataset whose images are not in the order of their ids."""
    data = dataset(60, signal=0.7)
    return data.take(np.random.default_rng(3).permutation(60))


def accuracy_by_label(result):
    return {rank.label: rank.scores["accuracy"] for rank in result.comparison.ranking}


@pytest.mark.parametrize("cv", [5, KFold(3), "pairs"])
def test_rows_of_a_dataset_stay_in_their_order(cv):
    data = shuffled()
    if cv == "pairs":
        rows = np.arange(60)
        cv = [(rows[rows % 3 != k], rows[rows % 3 == k]) for k in range(3)]
    alone = cross_validate("logreg", data, cv=cv)
    for result in (
        run_benchmark(data, heads="logreg", cv=cv),
        fit(data, "logreg", cv=cv).benchmark,
    ):
        assert result.entries[0].facts["scores"] == alone.scores
        assert result.study.ids.tolist() == data.ids.tolist()


def test_heads_that_differ_in_a_parameter_are_never_one(tmp_path):
    """Also in parameters that are no plain data, or belong to another step."""
    data, out = dataset(60, signal=0.7), tmp_path / "out"
    wide, narrow = (make_pipeline(StandardScaler(), SVC(C=C)) for C in (1000.0, 0.01))
    first = run_benchmark(data, heads={"svc": wide}, repeats=2, cv=3, out=out)
    (alone,) = accuracy_by_label(first).values()
    both = run_benchmark(data, heads={"svc": narrow}, cv=3, out=out)
    assert set(accuracy_by_label(both)) == {"svc svc__C=1000.0", "svc svc__C=0.01"}
    assert accuracy_by_label(both)["svc svc__C=1000.0"] == alone
    for priors in ([0.2, 0.8], [0.8, 0.2]):
        bayes = GaussianNB(priors=np.array(priors))
        result = run_benchmark(data, heads={"bayes": bayes}, cv=3, out=out)
    assert {"bayes #1", "bayes #2"} <= set(accuracy_by_label(result))
    for n_neighbors in (1, 9):
        neighbors = KNeighborsClassifier(n_neighbors=np.int64(n_neighbors))
        result = run_benchmark(data, heads={"knn of ours": neighbors}, cv=3, out=out)
    assert {"knn of ours n_neighbors=1", "knn of ours n_neighbors=9"} <= set(
        accuracy_by_label(result)
    )


def test_entries_that_another_version_fitted_are_not_ranked(tmp_path, monkeypatch, caplog):
    data, out = dataset(60), tmp_path / "out"
    run_benchmark(data, heads=["logreg", "knn"], repeats=2, cv=3, out=out)
    use_fit_version(monkeypatch, FIT_VERSION + 1)
    result = run_benchmark(data, heads="logreg", cv=3, out=out)
    assert [(rank.head, rank.repeats) for rank in result.comparison.ranking] == [("logreg", 1)]
    assert "3 entries are not ranked" in caplog.text


def constant(label):
    """A class that always predicts one label, and has no source that could be read."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), label)

    return type("Constant", (ClassifierMixin, BaseEstimator), {"fit": fit, "predict": predict})


def test_a_class_that_was_defined_again_is_computed_again(tmp_path):
    data, out = dataset(y=np.array(list("aab") * 20)), tmp_path / "out"
    for label, right in (("a", 2 / 3), ("b", 1 / 3)):
        result = run_benchmark(data, heads={"own": constant(label)()}, cv=3, out=out)
        assert (result.computed, len(result.entries)) == (1, 1)
        assert accuracy_by_label(result)["own"]["score"] == pytest.approx(right)


@pytest.mark.parametrize("name", ["groups", "split"])
def test_datasets_with_other_groups_or_splits_are_refused(name):
    data = dataset(60)
    other = replace(data, **{name: np.array(["train", "val", "train"] * 20)})
    for pair in ([data, other], [other, data]):
        with pytest.raises(DatasetError, match=f"different {name}"):
            run_benchmark(pair, heads="logreg")


def test_equal_values_under_two_names_are_both_ranked():
    data = dataset(60)
    result = run_benchmark([data, replace(data, embedding="y.avg")], heads="logreg", cv=3)
    assert [rank.embedding for rank in result.comparison.ranking] == ["x.avg", "y.avg"]


def test_two_datasets_of_one_name_have_a_number():
    data = dataset(60)
    other = replace(data, X=data.X[:, ::-1] * 2 + 1)
    result = run_benchmark([data, other], heads="knn", cv=3)
    assert sorted(rank.label for rank in result.comparison.ranking) == ["knn #1", "knn #2"]


@pytest.mark.parametrize(
    "cv", [RepeatedStratifiedKFold(n_splits=3, n_repeats=2), ShuffleSplit(4, test_size=0.5)]
)
def test_a_cv_that_tests_an_image_twice_is_refused(cv):
    for call in (lambda: cross_validate("logreg", dataset(), cv=cv), lambda: fit(dataset(), cv=cv)):
        with pytest.raises(ParameterError, match="more than once"):
            call()


def test_heads_without_the_score_that_ranks_are_named(tmp_path, caplog):
    data, out = dataset(60), tmp_path / "out"
    run_benchmark(data, heads="logreg", cv=3, out=out)
    result = run_benchmark(data, heads="knn", cv=3, scoring="f1_weighted", out=out)
    assert [rank.head for rank in result.comparison.ranking] == ["knn"]
    assert "computed without the score f1_weighted: logreg" in caplog.text


def test_the_limit_of_near_duplicates_is_that_of_each_dataset():
    data = replace(dataset(60), near_duplicates=0.25)
    (file,) = run_benchmark(data, heads="dummy").study.facts["files"].values()
    assert file["near_duplicates"] == 0.25


def test_a_dummy_is_recognised_by_its_class():
    data = dataset(40, signal=1.6)
    heads = {"floor": DummyClassifier(), "dummy": LogisticRegression()}
    verdict = " ".join(run_benchmark(data, heads=heads, cv=3).comparison.verdict)
    assert "no significant difference between the head and floor" in verdict


def test_heads_may_be_a_generator_and_have_any_parameters(tmp_path, caplog):
    data = dataset(60)
    odd = LogisticRegression(class_weight={"a": 2.0, "b": 1.0})
    with caplog.at_level(logging.WARNING):
        result = run_benchmark(
            data,
            heads=(head for head in ("knn", "centroid", odd)),
            params={"class_weight": "balanced"},
            repeats=2,
            cv=3,
            out=tmp_path / "out",
        )
    assert len(result.comparison.ranking) == 3
    assert caplog.text.count("class_weight: centroid have none") == 1
    weighted = cross_validate(LogisticRegression(class_weight={"a": 50.0}), data, cv=3)
    assert (weighted.predicted == 0).mean() > 0.8


def test_a_function_as_a_parameter_is_computed_again(tmp_path):
    data, out = dataset(60), tmp_path / "out"
    for power in (1, 2):
        step = FunctionTransformer(lambda X, power=power: X**power)
        heads = {"own": make_pipeline(step, LogisticRegression())}
        result = run_benchmark(data, heads=heads, cv=3, out=out)
        assert result.computed == 1
        alone = cross_validate(heads["own"], data, cv=3)
        assert accuracy_by_label(result)["own"] == alone.scores["accuracy"]


class Codes(ClassifierMixin, BaseEstimator):
    """Predicts codes instead of the labels that it was fitted on."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), int)


class Narrow(Codes):
    """Gives the probability of one class only."""

    def predict(self, X):
        return np.full(len(X), self.classes_[0])

    def predict_proba(self, X):
        return np.ones((len(X), 1))


class Broken(Codes):
    def predict(self, X):
        return 1 / 0


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (Codes(), "is none of the classes"),
        (Narrow(), r"shape \(20, 1\); expected \(20, 2\)"),
        (Broken(), "ZeroDivisionError"),
        (KNeighborsClassifier(n_neighbors=55), "n_neighbors"),
    ],
)
def test_a_head_that_predicts_nonsense_is_left_out_and_the_others_stay(head, reason, caplog):
    with pytest.raises(ParameterError, match=rf"^{type(head).__name__} can't .*{reason}"):
        cross_validate(head, dataset(60), cv=3)
    result = run_benchmark(dataset(60), heads={"odd": head, "logreg": "logreg"}, cv=3)
    assert list(accuracy_by_label(result)) == ["logreg"]
    assert "odd is left out" in caplog.text


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True, 2**32])
def test_a_seed_is_a_whole_number(seed):
    for call in (run_benchmark, fit):
        with pytest.raises(ParameterError, match=r"random_state is .*; expected a whole number"):
            call(dataset(60), random_state=seed)
    assert run_benchmark(dataset(60), heads="dummy", random_state=np.int64(3)).computed == 1


def test_masks_are_rows_and_wrong_rows_are_refused():
    data = dataset(60)
    mask = np.arange(60) % 3 == 0
    by_mask, by_rows = (
        cross_validate("logreg", data, cv=[pair])
        for pair in ((~mask, mask), (np.flatnonzero(~mask), np.flatnonzero(mask)))
    )
    np.testing.assert_array_equal(by_mask.predicted, by_rows.predicted)
    assert by_mask.scores == by_rows.scores
    for wrong in (([0.5, 1.0], [2]), ([1, 2], [60]), ([1, 2], [-1])):
        with pytest.raises(ParameterError, match="a fold has row"):
            cross_validate("logreg", data, cv=[wrong])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.full((60, 2), np.nan, np.float32)}, "not finite in 60 rows"),
        ({"X": np.ones(60, np.float32)}, "shape"),
        ({"X": np.ones((60, 0), np.float32)}, "shape"),
        ({"y": np.array(list("ab") * 29)}, "y of the Dataset has 58 values"),
        ({"y": np.arange(60) % 2}, r"astype\(str\)"),
    ],
)
def test_a_dataset_made_by_hand_is_checked(changes, message):
    data = replace(dataset(60), **changes)
    for call in (fit, run_benchmark, audit, learning_curve):
        with pytest.raises(DatasetError, match=message):
            call(data)


@pytest.mark.slow
def test_a_page_refuses_another_dataset(tmp_path):
    data = dataset(60)
    result = run_benchmark(data, heads="centroid", cv=3)
    for other in (replace(data, y=data.y[::-1].copy()), dataset(60, signal=3.0), dataset(30)):
        with pytest.raises(DatasetError, match=r"was not computed on the Dataset of x\.h5"):
            report(result, tmp_path / "page.html", data=other, n_jobs=1)
    assert "map" in report(result, tmp_path / "page.html", data=data, n_jobs=1).sections
    fitted = fit(data, "centroid", cv=3)
    assert "map" in report(fitted, tmp_path / "page.html", n_jobs=1).sections


def test_what_is_no_data_is_named():
    for call in (fit, run_benchmark, audit, learning_curve):
        for wrong in (5, np.ones((3, 2)), None):
            with pytest.raises(ParameterError, match=r"data is of the type|there is no data"):
                call(wrong)
    with pytest.raises(ParameterError, match="head has a Dataset"):
        cross_validate(dataset(), "logreg")


def test_weights_by_class_name_are_known_wherever_a_head_is_given():
    data = dataset(60, y=np.array(["10", "11"] * 30))
    head = LogisticRegression(class_weight={"10": 50.0})
    (last,) = learning_curve(data, head, cv=3, sizes=[5], n_jobs=1).points[-1:]
    assert last.accuracy == cross_validate(head, data, cv=3).scores["accuracy"]["score"]
    assert audit(data, head=head, cv=3).head == "LogisticRegression"
