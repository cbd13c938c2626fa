"""What an audit finds in data with planted faults, and what it leaves alone."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.data import SPEC
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.distances import neighbor_distances
from tlfeatures.dataset.duplicates import find_copies
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.model_selection.audit.audit import audit
from tlfeatures.model_selection.audit.copies import find_divided
from tlfeatures.model_selection.audit.results import Audit


def dataset(n=120, classes="abc", d=96, signal=3.0, seed=0, **fields) -> Dataset:
    """Like activations; each class has columns of its own that are larger."""
    random = np.random.default_rng(seed)
    y = np.array([classes[i % len(classes)] for i in range(n)])
    X = random.gamma(2.0, size=(n, d))
    for number, name in enumerate(classes):
        X[np.ix_(y == name, range(8 * number, 8 * number + 8))] += signal
    made = Dataset(
        X=X.astype(np.float32),
        y=y,
        groups=None,
        ids=np.array([f"{label}/{i:03d}.png" for i, label in enumerate(y)]),
        split=None,
        embedding="x.avg",
        spec=SPEC,
        file="x.h5",
        digests=random.integers(0, 256, (n, 32), np.uint8),
    )
    return replace(made, **fields)


def with_same_files(data, *pairs) -> Dataset:
    """Give the second image of each pair the file of the first."""
    digests = data.digests.copy()
    for first, second in pairs:
        digests[second] = digests[first]
    return replace(data, digests=digests)


def run(data, near_duplicates="auto", **options) -> Audit:
    """Audit as a file is audited, by three folds and, if no other is given, by a fast head."""
    copies, _ = find_copies(data.X, data.digests, near_duplicates, data.spec)
    return audit(replace(data, copies=copies), **{"head": "lda", "cv": 3, **options})


def outliers_of(data) -> dict[str, float]:
    """Give the scores of the outliers; a head that guesses judges no labels."""
    result = run(data, head="dummy", near_duplicates=None)
    assert not result.judged
    assert {each.kind for each in result.findings} <= {"outlier"}
    assert all(each.other is None for each in result.findings)
    return {each.id: each.score for each in result.findings}


def flipped(data, count, seed=1):
    rows = np.random.default_rng(seed).permutation(len(data.y))[:count]
    y = data.y.copy()
    y[rows] = [data.classes[data.classes.index(name) - 1] for name in y[rows]]
    return replace(data, y=y), set(data.ids[rows].tolist())


def test_clean_data_give_few_findings():
    result = audit(dataset())
    assert (result.head, result.judged) == ("rbf-svm", True)
    assert result.accuracy > 0.95
    assert len(result.findings) <= 3
    assert result.counts["near-duplicate"] == 0


@pytest.mark.parametrize("head", ["rbf-svm", "logreg", pytest.param("mlp", marks=pytest.mark.long)])
def test_planted_label_errors_come_first_with_the_right_class(head):
    data, planted = flipped(dataset(), 8)
    result = run(data, head=head)
    first = [each for each in result.findings if each.kind == "label"][:8]
    assert {each.id for each in first} <= planted
    assert len(first) >= 7
    for each in first:
        assert each.other == each.id[0]
        assert each.label != each.other
        assert each.score > 0.5
        assert f"more probably {each.other}" in each.reason


def test_contradicting_copies_come_first_and_name_the_wrong_one_once():
    data, planted = flipped(dataset(), 6)
    X, y = data.X.copy(), data.y.copy()
    free = [row for row in range(len(y)) if data.ids[row] not in planted]
    originals = [row for row in free if y[row] != "b"][:4]
    copies = [row for row in free if y[row] == "b"][:4]
    X[copies] = X[originals] * np.random.default_rng(3).uniform(0.95, 1.05, (4, X.shape[1]))
    result = run(replace(data, X=X, y=y))
    first = result.findings[:4]
    assert [each.kind for each in first] == ["near-duplicate"] * 4
    found = {(each.id, each.other) for each in first}
    pairs = zip(data.ids[copies].tolist(), data.ids[originals].tolist(), strict=True)
    assert found == set(pairs)
    assert all("nearly the same image" in each.reason for each in first)
    assert all(0.4 <= each.score < 1 for each in first)
    at_fault = [each.id for each in result.findings]
    assert len(at_fault) == len(set(at_fault))


def test_of_many_copies_each_doubted_one_has_one_row():
    data = dataset()
    X, y = data.X.copy(), data.y.copy()
    X[:9] = X[0]
    y[:9] = ["a", "a", "a", "a", "a", "a", "a", "b", "c"]
    copies = [(row, row + 1) for row in range(8)]
    result = run(with_same_files(replace(data, X=X, y=y), *copies))
    found = [each for each in result.findings if each.kind == "near-duplicate"]
    assert sorted(each.id for each in found) == sorted(data.ids[[7, 8]])
    assert {each.other for each in found} <= set(data.ids[:8].tolist())
    assert all(each.score == 1 and "the same file" in each.reason for each in found)


def test_copies_in_two_splits_come_before_labels_and_spare_the_training_image():
    data, planted = flipped(dataset(), 5)
    free = [row for row in range(len(data.y)) if data.ids[row] not in planted]
    split = np.array(["train"] * 80 + ["val"] * 20 + ["test"] * 20)
    early = [row for row in free if row < 80][:2]
    late = next(row for row in free if 80 <= row < 100 and data.y[row] == data.y[early[0]])
    last = next(row for row in free if row >= 100 and data.y[row] == data.y[early[1]])
    X = data.X.copy()
    X[late], X[last] = X[early[0]], X[early[1]] * 1.0001
    result = run(with_same_files(replace(data, X=X, split=split), (early[0], late)))
    first = [(each.kind, each.id, each.other) for each in result.findings[:2]]
    expected = {
        ("near-duplicate", data.ids[early[0]], data.ids[late]),
        ("near-duplicate", data.ids[early[1]], data.ids[last]),
    }
    assert set(first) == expected
    assert "in train, but the same file is" in result.findings[0].reason
    assert result.findings[2:]
    assert {each.kind for each in result.findings[2:]} <= {"label", "outlier"}


def test_copies_within_a_class_and_a_split_are_not_listed():
    data = dataset()
    X = data.X.copy()
    X[3], X[6] = X[0], X[9]
    result = run(with_same_files(replace(data, X=X), (0, 3)))
    assert result.counts["near-duplicate"] == 0


def test_labels_of_a_class_that_is_one_group_are_not_judged(caplog):
    data, planted = flipped(dataset(), 6)
    y = data.y.copy()
    y[:6] = "o"
    groups = np.array(["g"] * 6 + [str(row) for row in range(6, len(y))])
    findings = run(replace(data, y=y, groups=groups), head="logreg").findings
    ids = {each.id for each in findings if each.kind == "label"}
    assert not ids & set(data.ids[:6].tolist())
    assert ids
    assert ids <= planted
    assert "all images of o are of one group" in caplog.text


def test_off_finds_identical_files_only():
    data = dataset()
    X, y = data.X.copy(), data.y.copy()
    X[1], X[4] = X[0], X[3]
    data = with_same_files(replace(data, X=X, y=y), (0, 1))
    assert run(data).counts["near-duplicate"] == 2
    result = run(data, near_duplicates=None)
    assert result.counts["near-duplicate"] == 1
    assert {result.findings[0].id, result.findings[0].other} == set(data.ids[:2].tolist())


def test_an_outlier_is_found_and_a_small_or_varied_class_is_none():
    data = dataset(n=150)
    X, y = data.X.copy(), data.y.copy()
    random = np.random.default_rng(7)
    y[:6] = "s"  # small, and of quite another kind
    X[:6, :50] = 0.01
    X[:6, 60:] += 6
    varied = y == "c"
    X[varied] *= random.gamma(0.7, size=(varied.sum(), X.shape[1]))
    X[20] = 0.001
    X[20, 50:58] = 20
    found = outliers_of(replace(data, X=X, y=y))
    assert data.ids[20] in found
    assert not set(found) & set(data.ids[:6].tolist())
    assert len(found) <= 5
    assert all(0.5 < score < 1 for score in found.values())


def test_outliers_are_by_the_definition():
    data = dataset(n=90, signal=0.5)
    random = np.random.default_rng(0)
    for row, shape in enumerate((0.1, 0.2, 0.3, 0.5, 0.8)):  # from far outlying to hardly
        data.X[row] *= random.gamma(shape, size=data.X.shape[1])
    X = data.X.astype(np.float64)
    unit = np.sqrt(X) / np.linalg.norm(np.sqrt(X), axis=1, keepdims=True)
    distance = np.sort(np.linalg.norm(unit[:, None] - unit[None], axis=2))[:, 10]
    excess = np.log(distance)
    for name in data.classes:
        excess[data.y == name] -= np.median(excess[data.y == name])
    z = excess / (1.4826 * np.median(np.abs(excess)))
    assert 2 <= (z > 3.5).sum() < 10
    found = outliers_of(data)
    assert set(found) == set(data.ids[z > 3.5].tolist())
    for row in np.flatnonzero(z > 3.5):
        assert found[data.ids[row]] == pytest.approx(1 - 3.5 / (2 * z[row]), abs=1e-3)


@pytest.mark.parametrize("block", [1, 7, 40, 1000])
def test_neighbors_are_the_same_by_any_block(block):
    data = dataset(n=60)
    data.X[11] = 0
    found = neighbor_distances(data.X, 4, block=block)
    unit = np.sqrt(np.delete(data.X, 11, axis=0).astype(np.float64))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    expected = np.sort(np.linalg.norm(unit[:, None] - unit[None], axis=2))[:, 4]
    np.testing.assert_allclose(np.delete(found, 11), expected, atol=1e-5)
    assert np.isnan(found[11])
    many = neighbor_distances(data.X, 500, block=block)  # there are no more than 58 others
    assert np.nanmax(many) > np.nanmax(found)


def test_rows_without_a_distance_are_no_outliers():
    data = dataset()
    data.X[5] = 0
    assert data.ids[5] not in outliers_of(data)
    assert outliers_of(replace(data, X=np.zeros_like(data.X))) == {}


def test_images_all_alike_are_no_outliers():
    data = dataset()
    data.X[:] = data.X[0]
    assert outliers_of(data) == {}


def test_the_score_of_a_copy_is_at_least_the_limit_of_the_search():
    """The search has the scales of all images of a file, also of those without a label."""
    data = replace(dataset(), copies=np.array([[0, 1]]), near_duplicates=0.45)
    (pair,) = find_divided(data)
    (own,) = find_divided(replace(data, near_duplicates=None))
    assert own.score < pair.score == 0.45
    finding = audit(data, head="lda", cv=3).findings[0]
    assert (finding.kind, finding.score) == ("near-duplicate", 0.45)


def test_an_image_is_at_fault_in_one_row_and_scores_order_each_part():
    data, _ = flipped(dataset(signal=1.5), 12)
    data.X[7] *= np.random.default_rng(2).gamma(0.05, size=data.X.shape[1])
    findings = run(data).findings
    assert findings
    ids = [each.id for each in findings]
    assert len(ids) == len(set(ids))
    scores = [each.score for each in findings if each.kind != "near-duplicate"]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_a_label_error_that_is_an_outlier_too_says_so():
    data, planted = flipped(dataset(), 5)
    row = data.ids.tolist().index(min(planted))
    data.X[row] *= np.random.default_rng(0).gamma(0.3, size=data.X.shape[1])
    (found,) = (each for each in run(data, head="rbf-svm").findings if each.id == min(planted))
    assert found.kind == "label"
    assert found.reason.endswith("; also an outlier")


@pytest.mark.slow
def test_the_same_again_and_by_two_jobs():
    data, _ = flipped(dataset(signal=1.0), 10)
    first = run(data).to_dict()
    assert run(data).to_dict() == first
    assert run(data, n_jobs=2).to_dict() == first


def test_nothing_of_the_data_is_changed():
    data, _ = flipped(dataset(), 5)
    X, y = data.X.copy(), data.y.copy()
    run(data)
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, y)


def test_progress_counts_folds():
    seen = []
    run(dataset(), cv=4, head="logreg", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"head": "nohead"}, ParameterError, "there are: "),
        ({"head": "tests.fakes:recording"}, ParameterError, "no probabilities"),
        ({"cv": 50}, DatasetError, "50 folds need"),
        ({"cv": 1}, ParameterError, "2 folds or more"),
    ],
)
def test_what_can_not_be_done_is_said(options, error, message):
    with pytest.raises(error, match=message):
        run(dataset(), **options)


def test_an_audit_survives_json():
    found = run(flipped(dataset(), 3)[0])
    assert found.findings
    assert Audit.from_dict(json.loads(json.dumps(found.to_dict()))) == found
