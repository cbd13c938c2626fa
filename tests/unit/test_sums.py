"""Heads from sums over rows: the coefficients, labels and scores of heads that see all rows."""

import contextlib
import threading
from importlib import import_module

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from tests.unit.sharded_files import InProcess, made_rows, sharded_file, write_sharded
from tlfeatures import Model, benchmark, fit, load_dataset
from tlfeatures.dataset.duplicates import find_near_duplicates
from tlfeatures.errors import DatasetError
from tlfeatures.features.file import rows_in_shards
from tlfeatures.features.file.reader import ShardedReader
from tlfeatures.heads.coordinate_step import compact
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.sums import rounds
from tlfeatures.model_selection.sums.division import Division
from tlfeatures.model_selection.sums.fitted import is_sum
from tlfeatures.model_selection.sums.lockstep import in_lockstep
from tlfeatures.model_selection.sums.moments import Moments, TrainingSums
from tlfeatures.model_selection.sums.trainer import SumsTrainer, why_not_sums

HEADS = "ridge,lda,centroid,logreg"


@pytest.fixture
def cluster(monkeypatch):
    """A cluster in this process, which the functions connect to at any address."""
    here = InProcess()

    @contextlib.contextmanager
    def connect_if(cluster, tls=None):
        yield None if cluster is None else here

    for name in ("fit", "run"):
        monkeypatch.setattr(
            import_module(f"tlfeatures.benchmarking.{name}"), "connect_if", connect_if
        )
    monkeypatch.setattr(rounds, "_LEAST_ROWS", 100)  # several calls in a round
    return here


def both(function, file, heads, **options):
    """Run a function here, and on the cluster."""
    options |= {"near_duplicates": None}
    return function(file, heads, n_jobs=1, **options), function(
        file, heads, cluster="there", **options
    )


def scores_of(entries):
    return {
        entry.facts["head"]: {name: score["score"] for name, score in entry.facts["scores"].items()}
        for entry in entries
    }


# ---- the sums


def test_moments_standardise_as_scikit_learn_does():
    X, _ = made_rows(200, 6)
    X[:, 3], X[:150, 4], X[150:, 4] = 7.3, 0, np.arange(50)
    X[:, 5] = 1e6 + np.arange(200) % 7
    codes, part = np.arange(200) % 3, np.repeat([0, 1, 2, 3], 50)
    pivot = X[:40].mean(axis=0, dtype=np.float64)
    moments = Moments.zero(4, 3, 6, products=True)
    for at in range(0, 200, 30):
        rows = slice(at, at + 30)
        moments.add_rows(X[rows] - pivot, codes[rows], part[rows])
    counts = np.array([np.bincount(codes[part == number], minlength=3) for number in range(4)])
    for trains in ([True, True, True, False], [False, True, True, True]):
        mask = np.array(trains)
        sums = TrainingSums.of(moments, mask, counts, pivot, products=True)
        own = X[mask[part]].astype(float)
        scaler = StandardScaler().fit(own)
        Z = scaler.transform(own)
        np.testing.assert_allclose(sums.scale, scaler.scale_, rtol=1e-9)
        np.testing.assert_allclose(sums.shift + pivot, scaler.mean_, rtol=1e-12)
        np.testing.assert_allclose(sums.products, Z.T @ Z, atol=1e-6)
        classes = codes[mask[part]]
        means = [Z[classes == code].mean(axis=0) for code in range(3)]
        np.testing.assert_allclose(sums.means, means, atol=1e-8)
    assert sums.constant.tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize("classes", ["ab", "abcd"])
@pytest.mark.parametrize(
    ("head", "params"),
    [
        ("ridge", {}),
        ("ridge", {"alpha": 1.0}),
        ("lda", {}),
        ("lda", {"shrinkage": 0, "class_weight": "balanced"}),
        ("lda", {"shrinkage": 1, "class_weight": {"b": 3.0}}),
        ("centroid", {}),
        ("logreg", {}),
        ("logreg", {"C": 10.0, "class_weight": "balanced"}),
        ("logreg", {"class_weight": {"a": 0.2}}),
    ],
)
def test_coefficients_are_those_of_a_fit_on_all_rows(tmp_path, cluster, classes, head, params):
    file = sharded_file(tmp_path / "x.h5", n=240, d=9, classes=classes)
    here, there = (
        load_dataset(file, near_duplicates=None, on_disk=on_disk) for on_disk in (False, True)
    )
    (own,) = make_heads(head, params).values()
    expected = compact(own.fit(here.X, here.y))
    with SumsTrainer(there, cluster) as trainer:
        (own,) = make_heads(head, params).values()
        found = trainer.fit_on_all(head, own)
    np.testing.assert_allclose(found[0].mean_, expected[0].mean_, rtol=1e-9)
    np.testing.assert_allclose(found[0].scale_, expected[0].scale_, rtol=1e-9)
    # The local axes are rounded to float32.
    np.testing.assert_allclose(
        found.decision_function(here.X), expected.decision_function(here.X), atol=2e-4, rtol=1e-4
    )
    assert (found.predict(here.X) == expected.predict(here.X)).all()
    assert np.abs(found.predict_proba(here.X) - expected.predict_proba(here.X)).max() < 0.05


# ---- fit and benchmark


@pytest.mark.parametrize(
    ("classes", "folded"),
    [
        ("ab", {"groups": "([0-9]+)[0-9]{2}"}),
        ("ab", {"cv": 2}),
        ("ab", {"cv": 5}),
        ("abcdefghij", {"cv": 5}),
    ],
)
@pytest.mark.slow
def test_labels_and_scores_are_those_of_one_machine(tmp_path, cluster, classes, folded):
    file = sharded_file(tmp_path / "x.h5", n=500, d=12, classes=classes)
    here, there = both(benchmark, file, HEADS, scoring=["f1_macro", "roc_auc_ovr"], **folded)
    names = ("accuracy", "balanced_accuracy", "f1_macro")
    expected, found = scores_of(here.entries), scores_of(there.entries)
    for one, other in zip(here.entries, there.entries, strict=True):
        head = one.facts["head"]
        assert other.facts["head"] == head
        assert one.facts["matrix"] != other.facts["matrix"]
        differ = np.mean(one.predicted != other.predicted)
        # Two classes may be as probable within the tolerance of logistic regression.
        assert differ <= (0.002 if head == "logreg" else 0)
        np.testing.assert_array_equal(one.fold, other.fold)
        # A fold of logreg may end a step earlier, within its tolerance.
        near = {"lda": 1e-9, "logreg": 2e-3}.get(head, 0.12)
        assert np.abs(one.probabilities - other.probabilities).max() < near, head
        for name in names:
            assert abs(expected[head][name] - found[head][name]) <= 2 * differ
    assert [row.head for row in here.comparison.ranking] == [
        row.head for row in there.comparison.ranking
    ]


@pytest.mark.parametrize("head", ["ridge", "logreg"])
@pytest.mark.slow
def test_the_saved_model_is_that_of_one_machine(tmp_path, cluster, head):
    file = sharded_file(tmp_path / "x.h5", n=300, d=70)
    for name, address in (("here", None), ("there", "there")):
        fit(
            file,
            head,
            model=tmp_path / f"{name}.model",
            cluster=address,
            near_duplicates=None,
            n_jobs=1,
        )
    here, there = (Model.load(tmp_path / f"{name}.model") for name in ("here", "there"))
    X = load_dataset(file, near_duplicates=None).X
    one, other = here.predict_features(X), there.predict_features(X)
    assert [prediction.label for prediction in one] == [prediction.label for prediction in other]
    assert here.outliers == there.outliers
    assert here.sketch == there.sketch
    assert here.info["counts"] == there.info["counts"]
    np.testing.assert_allclose(here.predict_proba(X), there.predict_proba(X), atol=0.1)


@pytest.mark.slow
def test_a_training_fold_may_lack_a_class(tmp_path, cluster):
    X, ids = made_rows(120, 6)
    file = write_sharded(tmp_path / "x.h5", ids, np.array_split(np.arange(120), 3), **{"x.avg": X})
    rows = np.arange(120)
    y = load_dataset(file, near_duplicates=None).y
    folds = [
        (rows[(rows % 4 != 0) & (y != "c")], rows[rows % 4 == 0]),
        (rows[rows % 4 != 1], rows[rows % 4 == 1]),
    ]
    here, there = both(benchmark, file, "lda,logreg", cv=folds)
    for one, other in zip(here.entries, there.entries, strict=True):
        np.testing.assert_array_equal(one.predicted, other.predicted)


@pytest.mark.slow
def test_all_rows_are_never_in_memory(tmp_path, cluster, monkeypatch):
    read = []
    copy_rows = ShardedReader.copy_rows

    def watched(self, path, rows):
        read.extend([len(rows)] if path.startswith("embeddings/") else [])
        return copy_rows(self, path, rows)

    file = sharded_file(tmp_path / "x.h5", n=6000, d=3, shards=20)
    monkeypatch.setattr(ShardedReader, "copy_rows", watched)
    fit(file, "lda,logreg", model=tmp_path / "x.model", cluster="there", near_duplicates=None)
    assert 0 < max(read) < 5100  # the sample of the controls


@pytest.mark.slow
def test_sums_do_not_depend_on_the_order_of_the_calls(tmp_path, cluster, monkeypatch):
    file = sharded_file(tmp_path / "x.h5", n=300)
    first = benchmark(file, HEADS, cluster="there", near_duplicates=None)
    order = InProcess.map_unordered

    def forwards(self, function, arguments, **options):
        return order(self, function, list(arguments)[::-1], **options)

    monkeypatch.setattr(InProcess, "map_unordered", forwards)
    again = benchmark(file, HEADS, cluster="there", near_duplicates=None)
    for one, other in zip(first.entries, again.entries, strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_no_row_is_sent(tmp_path, cluster):
    X, ids = made_rows(400, 90)
    file = write_sharded(tmp_path / "x.h5", ids, np.array_split(np.arange(400), 4), **{"x.avg": X})
    benchmark(file, "centroid,logreg", cluster="there", near_duplicates=None)
    arrays = [value for sent in cluster.sent for value in sent.values()]
    sizes = [value.nbytes for value in arrays if isinstance(value, np.ndarray)]
    assert sizes
    assert max(sizes) < X.nbytes / 2


# ---- what is computed in the usual way


def test_other_heads_get_the_rows(tmp_path, cluster, caplog):
    file = sharded_file(tmp_path / "x.h5", n=100, d=5)
    data = load_dataset(file, near_duplicates=None, on_disk=True)
    _, folds = make_folds(data)
    reason = why_not_sums(data, make_heads("knn,lda"), folds, 0)
    assert reason == "knn can't be computed from sums over rows"
    in_memory = load_dataset(file, near_duplicates=None)
    assert "not in shards" in why_not_sums(in_memory, make_heads("lda"), folds, 0)
    assert why_not_sums(data, make_heads("lda"), folds, 0) is None


@pytest.mark.parametrize(
    ("head", "params", "expected"),
    [
        ("logreg", {"C": 3.0}, True),
        ("logreg", {"C": -1}, False),
        ("logreg", {"solver": "saga"}, False),
        ("ridge", {"alpha": 0}, False),
        ("ridge", {"class_weight": "balanced"}, False),
        ("lda", {"shrinkage": 2}, False),
        ("lda", {"n_components": 10}, False),
        ("centroid", {}, True),
        ("dummy", {}, False),
        ("linear-svm", {}, False),
    ],
)
def test_which_heads_are_sums(head, params, expected):
    (made,) = make_heads(head, params).values()
    assert is_sum(made) == expected


def test_small_classes_are_calibrated_in_the_usual_way(tmp_path):
    X, ids = made_rows(40, 4, classes="ab")
    file = write_sharded(tmp_path / "x.h5", ids, [np.arange(40)], **{"x.avg": X})
    data = load_dataset(file, near_duplicates=None, on_disk=True)
    rows = np.arange(40)
    one = np.flatnonzero(data.y == "b")[0]
    train = rows[(data.y == "a") & (rows % 2 == 0)]
    folds = [(np.append(train, one), np.setdiff1d(rows, np.append(train, one)))]
    assert "inner folds" in why_not_sums(data, make_heads("ridge"), folds, 0)
    assert why_not_sums(data, make_heads("lda"), folds, 0) is None


def test_near_duplicates_are_those_of_rows_in_memory(tmp_path, cluster):
    file = sharded_file(tmp_path / "x.h5", n=100, d=70)
    _, similarities = find_near_duplicates(load_dataset(file, near_duplicates=None).X, 0.01)
    options = {"near_duplicates": float(similarities[4]) - 1e-6}
    found = fit(file, "lda", cluster="there", **options).data.copies
    assert len(found)
    np.testing.assert_array_equal(found, load_dataset(file, **options).copies)


def test_values_that_are_not_finite(tmp_path, cluster, monkeypatch):
    file = sharded_file(tmp_path / "x.h5", n=100, d=5)
    read = rows_in_shards._read

    def damaged(*arguments):
        values = read(*arguments)
        values[0, 0] = np.nan
        return values

    monkeypatch.setattr(rows_in_shards, "_read", damaged)
    with pytest.raises(DatasetError, match="not finite"):
        fit(file, "lda", cluster="there", near_duplicates=None)


# ---- the parts of the rows, and searches in lockstep


def test_parts_are_the_tested_rows_of_folds():
    codes = np.arange(60) % 2
    folds = [
        (np.flatnonzero(np.arange(60) % 5 != f), np.flatnonzero(np.arange(60) % 5 == f))
        for f in range(5)
    ]
    division = Division.of(folds, codes, None, 0)
    assert division.trains.shape == (5, 5)
    assert (division.trains.sum(axis=1) == 4).all()
    for number, (train, _) in enumerate(folds):
        assert set(np.flatnonzero(division.trains[number][division.part])) == set(train)
        inner = division.inner(division.trains[number])
        assert len(inner) == 4
        assert (sum(held.astype(int) for _, held in inner) == division.trains[number]).all()


def test_a_single_training_part_is_divided_again_by_whole_groups():
    codes, groups = np.arange(80) % 2, np.arange(80) // 4
    folds = [(np.arange(60), np.arange(60, 80))]
    division = Division.of(folds, codes, groups, 0)
    assert division.has_inner_folds()
    assert all(len(set(division.part[groups == group])) == 1 for group in range(20))


def test_searches_share_evaluations():
    asked = []

    def search(number):
        def run(function):
            total = 0
            for point in range(number + 1):
                total += function(point)
            return total

        return run

    def evaluate(points):
        asked.append(sorted(points))
        return {number: 10 * number + point for number, point in points.items()}

    assert in_lockstep([search(number) for number in range(3)], evaluate) == [0, 21, 63]
    assert asked == [[0, 1, 2], [1, 2], [2]]


def test_an_error_ends_all_searches():
    before = threading.active_count()

    def evaluate(points):
        raise DatasetError("no rows")

    def search(function):
        return function(1)

    with pytest.raises(DatasetError, match="no rows"):
        in_lockstep([search] * 3, evaluate)

    def fails(function):
        function(1)
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        in_lockstep([fails, search], lambda points: dict.fromkeys(points, 0))
    assert threading.active_count() == before
