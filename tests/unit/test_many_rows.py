"""The forms of heads for many rows, on few rows: equal to the exact heads, or close to them."""

import inspect

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from tests.unit.data import augmented, dataset
from tests.unit.exported import assert_exported_alike, model_of
from tlfeatures import HEADS, Model, benchmark, cross_validate, fit, learning_curve, make_head
from tlfeatures.cli.head_options import head_options
from tlfeatures.errors import ParameterError
from tlfeatures.heads.block_coordinates import BlockCoordinates
from tlfeatures.heads.blocks import conjugate, solver
from tlfeatures.heads.blocks import rows as block_rows
from tlfeatures.heads.blocks.kernel import LandmarkKernel
from tlfeatures.heads.blocks.rows import MatrixRows
from tlfeatures.heads.blocks.solver import pair_hinge
from tlfeatures.heads.classifiers import calibrated_block_ridge
from tlfeatures.heads.coordinates import PrincipalCoordinates
from tlfeatures.heads.forms import MANY_ROWS, has_many_rows
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.model_selection.cross_validation import cross_validate_heads
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.head_fit import fit_on_all
from tlfeatures.terminal.fit_text import render_fit

QUICK = {"mlp": {"epochs": 3, "steps": 50}, "gradient-boosting": {"max_iter": 5}}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks, the last of them short."""
    monkeypatch.setattr(block_rows, "BLOCK", 700)


def sample(classes=3, n=400, d=30, seed=0):
    random = np.random.default_rng(seed)
    y = random.integers(classes, size=n)
    X = np.maximum(random.normal(size=(n, d)) + 0.5 * random.normal(size=(classes, d))[y], 0)
    X = (X * random.uniform(0.1, 30, size=d)).astype(np.float32)
    names = np.array(["ant", "bee", "cow"])[y]
    return X[:-100], names[:-100], X[-100:], names[-100:]


def both(name, **params):
    return [make_head(name, many_rows=many_rows, **params) for many_rows in (False, True)]


CLASSES = pytest.mark.parametrize("classes", [2, 3])


@CLASSES
@pytest.mark.parametrize("params", [{}, {"class_weight": {"ant": 3.0}}])
@pytest.mark.parametrize("name", ["logreg", "ridge", "lda", "centroid"])
def test_equal_to_the_exact_head(name, params, classes):
    if name == "centroid":
        params = {}
    X, y, X_new, _ = sample(classes)
    exact, blocks = (head.fit(X, y) for head in both(name, **params))
    gap = np.abs(exact.predict_proba(X_new) - blocks.predict_proba(X_new)).max()
    assert gap < (0.03 if name == "logreg" else 1e-3)
    assert (exact.predict(X_new) == blocks.predict(X_new)).mean() > 0.98


def collinear(**given):
    """Columns that are all there twice."""
    X, y, X_new, y_new = sample(**given)
    return np.hstack([X, X]), y, np.hstack([X_new, X_new]), y_new


LOWER_RANK = {
    "twice": collinear(d=32),
    "wide": sample(n=250, d=300),
    "wide, two classes": sample(n=250, d=300, classes=2),
}


@pytest.mark.parametrize(
    ("data", "shrinkage"),
    # Without shrinkage, columns that are more than the rows separate these perfectly.
    [("twice", 0.0), *((data, share) for data in LOWER_RANK for share in (0.1, 0.5, 1.0))],
)
def test_lda_of_a_lower_rank_is_that_of_principal_coordinates(data, shrinkage):
    X, y, X_new, _ = LOWER_RANK[data]
    exact, blocks = (head.fit(X, y) for head in both("lda", shrinkage=shrinkage))
    np.testing.assert_allclose(blocks.predict_proba(X_new), exact.predict_proba(X_new), atol=1e-3)


@pytest.mark.parametrize("data", ["wide", "wide, two classes", "tall"])
@pytest.mark.parametrize(
    "name", ["logreg", "ridge", "lda", "centroid", "linear-svm", "rbf-svm", "knn"]
)
def test_wide_rows_need_no_products_of_columns(name, data, monkeypatch):
    X, y, X_new, _ = {**LOWER_RANK, "tall": sample(n=400, d=60)}[data]
    params = {"class_weight": {"ant": 3.0}} if name in ("ridge", "lda", "logreg") else {}
    head = make_head(name, many_rows=True, **params)
    narrow = clone(head).fit(X, y).predict_proba(X_new)
    monkeypatch.setattr(block_rows, "WIDEST", 50)
    products = block_rows.products_of

    def refuse_columns(rows, *given):
        assert isinstance(rows, LandmarkKernel), "products of columns"
        return products(rows, *given)

    for module in (block_rows, calibrated_block_ridge):
        monkeypatch.setattr(module, "products_of", refuse_columns)
    wide = head.fit(X, y).predict_proba(X_new)
    np.testing.assert_allclose(wide, narrow, atol=2e-3 if name in ("ridge", "lda") else 0.02)


def test_centroid_and_parts_of_rows_compute_no_products():
    X, y, *_ = sample()
    rows = MatrixRows(X)
    make_head("centroid", many_rows=True).fit(rows, y)
    part = rows.standardised.take(np.arange(100))
    assert not {"products", "rough_products"} & {*vars(rows.standardised), *vars(part)}
    whole = rows.standardised.products
    np.testing.assert_allclose(part.rough_products, whole * (100 / len(X)))


def test_products_that_are_estimated_change_no_label(monkeypatch):
    X, y, X_new, _ = sample()
    for name in ("logreg", "linear-svm", "rbf-svm"):
        head = make_head(name, many_rows=True)
        exact = clone(head).fit(X, y).predict_proba(X_new)
        with monkeypatch.context() as patch:
            patch.setattr(block_rows, "_SAMPLED_ROWS", 1)
            patch.setattr(block_rows, "_ROWS_OF_PRODUCTS", 1)
            rough = head.fit(X, y).predict_proba(X_new)
        np.testing.assert_allclose(rough, exact, atol=0.02)
    rows = MatrixRows(np.repeat(X, 20, axis=0)).standardised
    whole = rows.products
    assert np.abs(block_rows.estimated_products(rows) - whole).max() < 0.2 * whole.max()


@pytest.mark.parametrize(
    "stored", [np.asfortranarray, np.float64, lambda X: np.repeat(X, 2, axis=1)[:, ::2]]
)
def test_blocks_are_the_same_however_the_matrix_is_stored(stored):
    X, *_ = sample()
    chosen = np.array([5, 3, *range(50, 300)])
    blocks = MatrixRows(stored(X), chosen).blocks()
    np.testing.assert_array_equal(np.concatenate([block.copy() for _, block in blocks]), X[chosen])


def test_equations_that_are_not_solved_say_so(monkeypatch):
    monkeypatch.setattr(conjugate, "_MAX_STEPS", 2)
    with pytest.warns(ConvergenceWarning, match=r"after 2 iteration\(s\)"):
        conjugate.solved(lambda vectors: np.arange(1, 9)[:, None] * vectors, np.ones((8, 1)))


def test_logistic_regression_converges_to_the_exact_one():
    X, y, X_new, _ = sample()
    exact, blocks = (head.fit(X, y) for head in both("logreg", C=0.1, tol=1e-6))
    np.testing.assert_allclose(blocks.predict_proba(X_new), exact.predict_proba(X_new), atol=2e-3)


@CLASSES
@pytest.mark.parametrize("name", ["linear-svm", "rbf-svm"])
def test_machines_are_as_accurate_as_the_exact_ones(name, classes):
    X, y, X_new, y_new = sample(classes, n=2000)
    exact, blocks = (head.fit(X, y).score(X_new, y_new) for head in both(name))
    assert abs(exact - blocks) <= 0.03


@pytest.mark.parametrize("params", [{"n_landmarks": 0}, {"gamma": "auto"}, {"gamma_factor": 0}])
def test_wrong_parameters_of_landmarks_are_refused(params):
    X, y, *_ = sample()
    with pytest.raises(ParameterError, match=next(iter(params))):
        make_head("rbf-svm", many_rows=True, **params).fit(X, y)


@CLASSES
def test_rows_that_are_all_equal_have_the_most_frequent_class(classes):
    _, y, *_ = sample(classes)
    X = np.ones((len(y), 5), np.float32)
    names, counts = np.unique(y, return_counts=True)
    for head in both("rbf-svm"):
        assert set(head.fit(X, y).predict(X)) == {names[counts.argmax()]}
        np.testing.assert_allclose(head.predict_proba(X)[0], counts / len(y), atol=0.05)


def test_landmarks_are_those_of_the_seed():
    X, y, *_ = sample()
    heads = [
        make_head("rbf-svm", many_rows=True, n_landmarks=20, random_state=seed).fit(X, y)
        for seed in (0, 0, 1)
    ]
    first, again, other = (head[-1].fitted_.landmarks_ for head in heads)
    assert first.shape == (20, 30)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("count", [None, 7])
def test_coordinates_in_blocks(count):
    X, _, X_new, _ = sample()
    exact, blocks = PrincipalCoordinates(count), BlockCoordinates(count)
    a, b = exact.fit_transform(X), blocks.fit_transform(X)
    assert b.dtype == np.float32
    np.testing.assert_allclose(np.abs(b), np.abs(a), atol=0.01)
    np.testing.assert_allclose(
        np.abs(blocks.transform(X_new)), np.abs(exact.transform(X_new)), atol=0.01
    )


def test_more_columns_than_rows():
    X, *_ = sample(n=120, d=60)
    few = BlockCoordinates(5).fit_transform(X[:20])
    expected = PrincipalCoordinates(5).fit_transform(X[:20])
    np.testing.assert_allclose(few, expected, rtol=1e-5, atol=1e-5)


def test_rows_are_read_as_they_are():
    X, *_ = sample()
    chosen = MatrixRows(X, np.arange(0, 300, 2))
    blocks = [block.copy() for _, block in chosen.blocks()]
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate(blocks), X[:300:2])
    scaled = np.concatenate([block.copy() for _, block in chosen.standardised.blocks()])
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-4)


# ---- in folds


def heads_of(names="all", **options):
    return make_heads(names, many_rows=True, **options)


def quick_heads():
    return {name: make_head(name, many_rows=True, **QUICK.get(name, {})) for name in sorted(HEADS)}


@pytest.mark.slow
def test_heads_together_and_alone_and_in_two_processes(monkeypatch):
    monkeypatch.undo()  # other processes have blocks of the usual size
    data = dataset(n=90, d=12, classes="abc", signal=2.0)
    _, folds = make_folds(data)
    train, test = folds[0]
    heads = quick_heads()
    one, two = (cross_validate_heads(heads, data, n_jobs=jobs) for jobs in (1, 2))
    for name, head in heads.items():
        np.testing.assert_array_equal(one[name].probabilities, two[name].probabilities)
        alone = clone(head).fit(data.X[train], data.y[train]).predict_proba(data.X[test])
        np.testing.assert_allclose(one[name].probabilities[test], alone, atol=2e-3, err_msg=name)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_variants_and_groups(name):
    data = augmented(n=60, v=2, d=8, signal=3.0, groups=np.repeat(np.arange(20), 3).astype(str))
    params = {**QUICK, "linear-svm": {"C": 1.0}}.get(name, {})  # its C is for many rows
    head = make_head(name, many_rows=True, **params)
    scores = cross_validate(head, data, cv=3).scores["accuracy"]["score"]
    assert scores > (0.3 if name == "dummy" else 0.75)


def test_a_variant_for_each_image_changes_little_in_penalised_heads():
    """An image and its variants have the weight 1 together."""
    data = augmented(n=200, v=3, d=8, noise=0.0, signal=2.0)
    alone = dataset(n=200, d=8, signal=2.0)
    for name in ("logreg", "ridge", "linear-svm"):
        with_variants, without = (
            fit_on_all(make_head(name, many_rows=True, random_state=0), each)
            for each in (data, alone)
        )
        both = [head.predict_proba(alone.X) for head in (with_variants, without)]
        np.testing.assert_allclose(*both, atol=0.05, err_msg=name)


def test_tuning_has_the_same_grid():
    data = dataset(n=60, d=8, signal=2.0)
    result = fit(data, ["ridge", "rbf-svm"], tune=True, cv=3, scale_from=0)
    assert {rank.head for rank in result.ranking} == {"ridge", "rbf-svm"}
    assert all(rank.tuned for rank in result.ranking)


# ---- the choice of the form, and its name in the output


def test_the_rows_of_the_dataset_decide():
    assert has_many_rows(MANY_ROWS)
    assert not has_many_rows(MANY_ROWS - 1)
    for wrong in (-1, 2.5, "many"):
        with pytest.raises(ParameterError, match="scale_from"):
            has_many_rows(10, wrong)
    data = augmented(n=30, v=2, d=6, signal=2.0)
    exact, blocks = (
        fit(data, "rbf-svm", cv=3, scale_from=size).ranking[0].classifier for size in (91, 90)
    )
    assert "CalibratedSVC" in exact
    assert "CalibratedLandmarkSVM" in blocks


def test_the_option_has_the_same_default():
    decorated = head_options(lambda: None)
    defaults = {option.name: option.default for option in decorated.__click_params__}
    assert defaults["scale_from"] == MANY_ROWS
    for function in (fit, benchmark, cross_validate, learning_curve):
        assert inspect.signature(function).parameters["scale_from"].default == MANY_ROWS


def test_the_output_and_the_card_say_it(tmp_path):
    data = dataset(n=60, d=8, signal=2.0)
    result = fit(data, ["rbf-svm", "ridge"], cv=3, scale_from=0, model=tmp_path / "m.model")
    shown = " ".join(render_fit(result).split())
    assert "rbf-svm approximates its kernel by at most 1,000 landmarks (Nystroem)" in shown
    usual = fit(data, ["rbf-svm", "ridge"], cv=3)
    assert "many training rows" not in render_fit(usual)
    best = result.ranking[0].head
    assert f"Form of the head: {best} has its form" in (tmp_path / "m.model.md").read_text()


def test_parameters_of_one_form_only():
    data = dataset(n=60, d=8, signal=2.0)
    params = {"n_landmarks": 10}
    assert (
        fit(data, "rbf-svm", params=params, cv=3, scale_from=0).ranking[0].params["n_landmarks"]
        == 10
    )
    with pytest.raises(ParameterError, match="n_landmarks"):
        fit(data, "rbf-svm", params=params, cv=3)


# ---- files


@CLASSES
@pytest.mark.parametrize("name", sorted(HEADS))
def test_a_model_file_and_onnx_give_the_same_probabilities(name, classes, tmp_path):
    model = model_of(make_head(name, many_rows=True, **QUICK.get(name, {})), classes)
    model.save(tmp_path / "saved.model")
    loaded = Model.load(tmp_path / "saved.model")
    rows = np.random.default_rng(0).normal(size=(9, model.info["columns"])).astype(np.float32)
    np.testing.assert_array_equal(loaded.head.predict_proba(rows), model.head.predict_proba(rows))
    assert_exported_alike(model, tmp_path)


@pytest.mark.parametrize("name", ["logreg", "linear-svm"])
def test_a_large_c_is_fitted_to_its_end(name):
    """The derivatives of a large C are small at the start, too."""
    X, y, _, _ = sample()
    accuracy = {}
    for C in (1.0, 1e8):
        head = make_head(name, C=C, many_rows=True).fit(X, y)
        accuracy[C] = (head.predict(X) == y).mean()
    assert accuracy[1e8] >= accuracy[1.0] > 0.6


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *[("logreg", {"C": C}) for C in (0, -1, float("nan"), "1", True)],
        ("logreg", {"tol": -1}),
        ("linear-svm", {"max_iter": 0}),
        ("rbf-svm", {"n_landmarks": True}),
        ("rbf-svm", {"gamma": float("inf")}),
        ("ridge", {"alpha": -1}),
    ],
)
def test_wrong_parameters_are_named(name, wrong):
    X, y, _, _ = sample()
    (parameter,) = wrong
    with pytest.raises(ParameterError, match=f"{parameter} must be a"):
        make_head(name, **wrong, many_rows=True).fit(X, y)


@CLASSES
def test_derivatives_of_the_pair_hinge(classes):
    random = np.random.default_rng(0)
    decisions = random.normal(size=(50, 1 if classes == 2 else classes))
    targets = solver._targets(random.integers(classes, size=50), classes).astype(float)
    slopes = pair_hinge(decisions, targets)[1]
    for column in range(decisions.shape[1]):
        step = np.zeros_like(decisions)
        step[:, column] = 1e-6
        change = pair_hinge(decisions + step, targets)[0] - pair_hinge(decisions - step, targets)[0]
        np.testing.assert_allclose(slopes[:, column], change / 2e-6, atol=1e-5)
