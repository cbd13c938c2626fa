"""Warnings that are raised while a head is fitted reach who asked for the fit, each once."""

import logging
import threading
import warnings

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning

from tests.unit.data import dataset
from tlfeatures import Model, cross_validate, fit, make_head
from tlfeatures.cli import main
from tlfeatures.model_selection.cross_validation import cross_validate_heads
from tlfeatures.model_selection.fit_warnings import collected, distinct
from tlfeatures.model_selection.learning_curve.measure import learning_curve

CATEGORIES = [UserWarning, RuntimeWarning, FutureWarning, ConvergenceWarning]


class Warner(ClassifierMixin, BaseEstimator):
    """Warns when it is fitted, of the number of rows too, and predicts the first class."""

    def __init__(self, category=UserWarning, value=1):
        self.category = category
        self.value = value

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        warnings.warn(f"odd rows: {len(X)}\nand advice", self.category, stacklevel=1)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])

    def decision_function(self, X):
        return X[:, 0]


class SureWarner(Warner):
    """The same, with probabilities."""

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("category", "n_jobs"), [*((category, 1) for category in CATEGORIES), (UserWarning, 2)]
)
@pytest.mark.slow
def test_a_warning_of_any_kind_is_logged_once(category, n_jobs, caplog, recwarn):
    cross_validate_heads({"odd": Warner(category)}, dataset(61), n_jobs=n_jobs)
    (line,) = [each for each in lines(caplog) if "odd rows" in each]
    assert line.startswith("odd: odd rows: 4")
    assert "advice" not in line
    assert not [each for each in recwarn if "odd rows" in str(each.message)]


def test_two_heads_are_both_named(caplog):
    cross_validate_heads({"one": Warner(), "two": Warner()}, dataset())
    assert {each.split(":")[0] for each in lines(caplog)} == {"one", "two"}


def test_what_is_for_the_authors_of_libraries_is_not_passed_on(caplog):
    for category in (DeprecationWarning, PendingDeprecationWarning):
        cross_validate_heads({"odd": Warner(category)}, dataset())
    assert not lines(caplog)


@pytest.mark.parametrize("scoring", ["accuracy", "log_loss"])
def test_tuning_warns_once_for_all_points_and_folds(scoring, caplog):
    grid = {"value": [1, 2, 3]}
    cross_validate(SureWarner(), dataset(), grid=grid, scoring=scoring)
    assert len([each for each in lines(caplog) if "odd rows" in each]) == 1


def test_a_model_that_is_fitted_warns(caplog):
    Model.fit(SureWarner(), dataset(), name="odd")
    assert lines(caplog) == ["odd: odd rows: 60"]


def test_inner_fits_of_a_calibration_warn(caplog):
    head = make_head("tests.unit.test_fit_warnings:Warner")
    cross_validate_heads({"odd": head}, dataset())
    assert len([each for each in lines(caplog) if each.startswith("odd: odd rows")]) == 1


def test_a_learning_curve_warns(caplog):
    learning_curve(dataset(), "tests.unit.test_fit_warnings:SureWarner", cv=2, sizes=[10])
    assert len([each for each in lines(caplog) if "odd rows" in each]) == 1


def test_fit_says_it_once_though_it_fits_again(flatten_file, tmp_path, caplog):
    given = {"params": {"max_iter": 1, "C": 100.0}, "model": tmp_path / "m.model", "tune": False}
    fit(flatten_file, "logreg", **given)
    assert len([each for each in lines(caplog) if "converge" in each]) == 1


def test_the_command_prints_it_on_the_standard_error(flatten_file):
    arguments = ["fit", str(flatten_file), "--param", "max_iter=1", "--param", "C=100"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert result.stderr.count("logreg: lbfgs failed to converge") == 1
    assert "warnings.warn" not in result.stderr


@pytest.mark.parametrize("name", ["logreg", "linear-svm", "rbf-svm"])
def test_a_fit_on_many_rows_that_ends_too_early_says_so(name, caplog):
    head = make_head(name, many_rows=True, max_iter=1, C=100.0, tol=1e-6)
    cross_validate_heads({name: head}, dataset(90, classes="abc"), cv=3)
    (line,) = lines(caplog)
    assert line.startswith(f"{name}: lbfgs failed to converge after 1 iteration(s)")


@pytest.mark.parametrize("many_rows", [False, True])
@pytest.mark.parametrize("name", ["logreg", "linear-svm", "rbf-svm", "ridge", "lda", "mlp", "knn"])
def test_our_own_heads_say_nothing_on_ordinary_data(name, many_rows, caplog):
    head = make_head(name, many_rows=many_rows, **({"steps": 20} if name == "mlp" else {}))
    cross_validate_heads({name: head}, dataset(90, classes="abc"), cv=3)
    assert not lines(caplog)


def test_scores_that_warn_are_named_too(caplog):
    cross_validate("dummy", dataset(), scoring="precision_macro")
    (line,) = lines(caplog)
    assert line.startswith("dummy: scoring precision_macro: Precision is ill-defined")


def test_threads_that_fit_at_once_keep_their_own_warnings():
    """As on a worker of a cluster with several threads."""
    barrier, found = threading.Barrier(4), {}

    def work(name):
        for _ in range(20):
            with collected(name) as said:
                barrier.wait()
                warnings.warn(f"of {name}", UserWarning, stacklevel=1)
                barrier.wait()
            found.setdefault(name, set()).update(said)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = warnings.showwarning
        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert warnings.showwarning is before
        assert warnings.filters[0][0] == "ignore"
    assert found == {name: {f"{name}: of {name}"} for name in "abcd"}


def test_texts_that_differ_in_numbers_alone_are_one():
    texts = ["gap 0.5 after 3 steps", "gap 1e-7 after 12 steps", "gap of nothing"]
    assert distinct(texts) == [texts[0], texts[2]]
    said = set()
    assert distinct(texts[:1], said) == texts[:1]
    assert distinct(texts[1:], said) == texts[2:]


def test_the_log_is_of_this_package(caplog):
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        cross_validate_heads({"odd": Warner()}, dataset())
    assert {record.name.split(".")[0] for record in caplog.records} == {"tlfeatures"}
