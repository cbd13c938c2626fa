"""Simulated classes, benchmarks and predictions, whose truth is known."""

import numpy as np

from tests.unit.data import dataset
from tlfeatures.benchmarking.entries import Entry, entry_of
from tlfeatures.benchmarking.study import Study
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer
from tlfeatures.metrics.scores import SCORES
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.head_folds import HeadFolds
from tlfeatures.reports.diagnostics import OutOfFold


def gaussian_classes(counts=(60, 60), d=20, signal=2.0, seed=0, **fields) -> Dataset:
    """Make normally distributed classes of so many images, each shifted along its own axis."""
    codes = np.repeat(np.arange(len(counts)), counts)
    X = np.random.default_rng(seed).normal(size=(len(codes), d)).astype(np.float32)
    X[np.arange(len(codes)), codes] += signal
    y = np.array(list("abcde"))[codes]
    ids = np.array([f"{label}/{number}.png" for number, label in enumerate(y)])
    return dataset(**{"n": len(codes), "X": X, "y": y, "ids": ids, **fields})


def entries_of(
    data, accuracies, cv=5, repeats=1, seed=0
) -> tuple[list[Entry], Study, BootstrapScorer]:
    """Make a benchmark of heads that are right on a given share of the images, at random.

    Data with splits are tested on their split, others in `cv` folds.
    """
    random = np.random.default_rng(seed)
    codes = np.unique(data.y, return_inverse=True)[1]
    cv = None if data.split is not None else cv
    split, first = make_folds(data, cv=cv)
    tested = np.isin(np.arange(len(codes)), np.concatenate([test for _, test in first]))
    scorer = BootstrapScorer.of(data.y, data.together, tested, data.classes, 0, groups=data.groups)
    made = []
    for repeat in range(repeats):
        _, folds = make_folds(data, cv=cv, random_state=repeat)
        for head, accuracy in accuracies.items():
            right = random.random(len(codes)) < accuracy
            predicted = np.where(right, codes, 1 - codes)
            table = np.full((len(codes), 2), 0.2)
            table[np.arange(len(codes)), predicted] = 0.8
            fold = np.full(len(codes), -1)
            for number, (_, test) in enumerate(folds):
                fold[test] = number
            scores = {name: np.array([right[test].mean() for _, test in folds]) for name in SCORES}
            fraction = float(np.mean([len(test) / len(train) for train, test in folds]))
            run = HeadFolds(fold, predicted, table, scores, {}, np.ones(len(folds)), fraction)
            facts = {
                "head": head,
                "classifier": "sklearn.dummy.DummyClassifier" if head == "dummy" else "simulated",
                "settings": head,
                "fit_version": 1,
                "random_state": repeat,
                "embedding": "x.avg",
                "file": "x.h5",
                "matrix": "0",
                "variants": 0,
                "repeat": repeat,
                "tuned": False,
                "params": {},
                "key": f"{head}{repeat}",
            }
            made.append(entry_of(run, facts, scorer))
    return made, Study.of(data, split, first, 0), scorer


def out_of_fold(y, probabilities, predicted=None, classes="abcdefgh") -> OutOfFold:
    """Make predictions of images that are all in one fold."""
    table = np.asarray(probabilities, float)
    n, k = table.shape
    return OutOfFold(
        ids=np.array([f"{row}.png" for row in range(n)]),
        classes=list(classes[:k]),
        y=np.asarray(y),
        predicted=table.argmax(axis=1) if predicted is None else np.asarray(predicted),
        probabilities=table,
        fold=np.zeros(n, int),
    )


def random_predictions(k, n=600, seed=0) -> OutOfFold:
    """Make predictions of k classes that are mostly right."""
    random = np.random.default_rng(seed)
    y = random.integers(k, size=n)
    odds = np.exp(random.normal(size=(n, k)) + 1.5 * np.eye(k)[y])
    return out_of_fold(y, odds / odds.sum(axis=1, keepdims=True))


def scored_case(seed, n=80, k=3, steps=None):
    """Make truth, labels and probabilities somewhat better than chance; few steps make ties."""
    random = np.random.default_rng(seed)
    y = random.integers(0, k, n)
    raw = random.random((n, k)) + 0.5 * (y[:, None] == np.arange(k))
    if steps:
        raw = np.ceil(raw * steps)
    predicted = np.where(random.random(n) < 0.9, raw.argmax(axis=1), random.integers(0, k, n))
    return y, predicted, raw / raw.sum(axis=1, keepdims=True)
