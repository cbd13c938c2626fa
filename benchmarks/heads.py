"""Seconds for searching and comparing heads: plain scikit-learn pipelines against tlfeatures.

The same grids on the same folds of the same embeddings, by `GridSearchCV` over pipelines and by
`tlfeatures.tuning.choose`, head by head in one run; both may use all cores. Then whole benchmarks:
ten heads untuned, and tuned in nested cross-validation, which plain pipelines aren't asked to do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tlfeatures import extract, load_dataset
from tlfeatures.dataset import Dataset
from tlfeatures.evaluate import cross_validate_heads
from tlfeatures.features.spec import Spec
from tlfeatures.folds import make_folds
from tlfeatures.heads import head_grid, make_head, make_heads
from tlfeatures.trainer import Trainer
from tlfeatures.tuning import choose

DATA = Path(__file__).parents[2] / "shared" / "data"

C = [10.0**power for power in range(-4, 3)]
# Head: its parameters here, its grid, and the plain pipeline after standardising, with its grid.
SEARCHES: dict[str, tuple[dict[str, Any], dict[str, list[Any]], list[Any]]] = {
    "logreg": ({}, {"C": C}, [LogisticRegression(max_iter=2000)]),
    "linear-svm": ({}, {"C": C}, [SVC(kernel="linear")]),
    "rbf-svm": ({"n_components": None}, {"C": C}, [SVC()]),
    "ridge": ({}, {"alpha": [10.0**power for power in range(6, -1, -1)]}, [RidgeClassifier()]),
    "knn": ({}, {"n_neighbors": [40, 20, 10, 5, 3, 1]}, [PCA(64), KNeighborsClassifier()]),
    "gradient-boosting": (
        {},
        {"max_leaf_nodes": [4, 8], "learning_rate": [0.03, 0.1]},
        [PCA(64), HistGradientBoostingClassifier(max_iter=150, min_samples_leaf=5)],
    ),
    "lda": (
        {},
        {"shrinkage": [0.9, 0.7, 0.5, 0.3, 0.1]},
        [LinearDiscriminantAnalysis(solver="lsqr")],
    ),
    "mlp": (
        {},
        {"alpha": [10.0, 3.0, 1.0, 0.1]},
        [PCA(128), MLPClassifier((64,), batch_size=32, max_iter=40)],
    ),
}
SVMS = ["logreg", "linear-svm", "rbf-svm"]


def main() -> None:
    arguments = parse()
    if not sys.warnoptions:
        warnings.simplefilter("ignore", ConvergenceWarning)
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.file or embed(Path(folder) / "intel.h5")
        for name in arguments.embeddings:
            data = load_dataset(file, name)
            print(f"\n{name}: {len(data.y):,} x {data.X.shape[1]:,}", flush=True)
            # Its covariance of 25,088 columns would take 5 GB and an hour.
            wide = {"lda"} if data.X.shape[1] > 5000 else set()
            searches(data, [each for each in arguments.plain if each not in wide])
            whole(data, tuned=True)
    data = synthetic(10_000, 512, arguments.classes)
    print(f"\nsynthetic: 10,000 x 512, {arguments.classes} classes", flush=True)
    whole(data, tuned=False)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", help="intel at 224, block5_pool avg and flatten")
    parser.add_argument(
        "--embeddings", nargs="*", default=["block5_pool.flatten", "block5_pool.avg"]
    )
    parser.add_argument("--classes", type=int, default=10, help="of the synthetic set")
    parser.add_argument(
        "--plain",
        nargs="*",
        default=list(SEARCHES),
        choices=list(SEARCHES),
        help="heads to search by plain scikit-learn, too; none: only ours",
    )
    return parser.parse_args()


def embed(file: Path) -> Path:
    if not (DATA / "intel").is_dir():
        sys.exit(f"{DATA / 'intel'} is not there; give --file")
    extract(
        DATA / "intel",
        file,
        pools=["avg", "flatten"],
        weights=str(DATA / "vgg16" / "vgg16_imagenet_notop.h5"),
    )
    return file


def searches(data: Dataset, plain: list[str]) -> None:
    """Search each head's grid over five folds, both ways."""
    folds = make_folds(data, cv=5)[1]
    line("search, 5 folds", "points", "plain s", "ours s", "ratio", "same best", "largest gap")
    for name, (params, grid, _) in SEARCHES.items():
        points = int(np.prod([len(values) for values in grid.values()]))
        ours, (choice,) = timed(
            lambda n=name, p=params, g=grid: ours_of(data, [n], p, {n: g}, folds)
        )
        found = choice[name]
        if name not in plain:
            line(name, points, "-", f"{ours:.1f}")
            continue
        seconds, search = timed(lambda n=name: plain_of(data, n, folds))
        theirs = aligned(search, found.points)
        gap = np.abs(theirs - found.scores).max()
        best = found.points[int(theirs.argmax())] == found.params
        line(
            name,
            points,
            f"{seconds:.1f}",
            f"{ours:.1f}",
            f"{seconds / ours:.0f}",
            best,
            f"{gap:.4f}",
        )
    grids = {name: {"C": C} for name in SVMS}
    seconds, _ = timed(lambda: ours_of(data, SVMS, {"n_components": None}, grids, folds))
    line(" + ".join(SVMS), 21, "", f"{seconds:.1f}")


def ours_of(data: Dataset, names: list[str], params: Any, grids: Any, folds: Any) -> Any:
    heads = {name: make_head(name, **(params if name == "rbf-svm" else {})) for name in names}
    with Trainer(data, n_jobs=-1) as trainer:
        return choose(trainer, heads, grids, [folds])


def plain_of(data: Dataset, name: str, folds: Any) -> GridSearchCV:
    _, grid, steps = SEARCHES[name]
    pipeline = make_pipeline(StandardScaler(), *steps)
    last = pipeline.steps[-1][0]
    grid = {f"{last}__{key}": values for key, values in grid.items()}
    return GridSearchCV(pipeline, grid, cv=folds, n_jobs=-1, refit=False).fit(data.X, data.y)


def aligned(search: GridSearchCV, points: list[Any]) -> np.ndarray:
    """Scores of the plain search in the order of our points."""
    results = search.cv_results_
    found = {
        tuple(sorted((key.rpartition("__")[2], value) for key, value in params.items())): score
        for params, score in zip(results["params"], results["mean_test_score"], strict=True)
    }
    return np.array([found[tuple(sorted(point.items()))] for point in points])


def whole(data: Dataset, tuned: bool) -> None:
    """Time all ten heads."""
    heads = make_heads("all")
    seconds, found = timed(lambda: cross_validate_heads(heads, data, cv=5, n_jobs=-1))
    line("ten heads, untuned", "", "", f"{seconds:.1f}")
    if tuned:
        grids = {name: head_grid(name) for name in heads}
        seconds, found = timed(
            lambda: cross_validate_heads(heads, data, cv=5, grids=grids, n_jobs=-1)
        )
        line("ten heads, tuned, nested", "", "", f"{seconds:.1f}")
    scores = (f"{name} {each.scores['accuracy'].mean():.3f}" for name, each in found.items())
    print("accuracy: " + ", ".join(scores), flush=True)


def synthetic(n: int, d: int, classes: int) -> Dataset:
    X, y = make_classification(
        n,
        d,
        n_informative=40,
        n_redundant=100,
        n_classes=classes,
        n_clusters_per_class=1,
        class_sep=0.6,
        flip_y=0.05,
        random_state=0,
    )
    spec = Spec("pixels", (8, 8), "float32", "none", None)
    labels = np.array([f"class {code}" for code in y])
    ids = np.array([f"{number}.jpg" for number in range(n)])
    X = np.maximum(X, 0).astype(np.float32)
    return Dataset(X, labels, None, ids, None, "synthetic", spec, "synthetic")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    made = work()
    return time.perf_counter() - started, made


def line(*cells: Any) -> None:
    print("".join(padded(cells)).rstrip(), flush=True)


def padded(cells: tuple[Any, ...]) -> Iterator[str]:
    yield f"{cells[0]!s:<34}"
    for cell in cells[1:]:
        yield f"{cell!s:>12}"


if __name__ == "__main__":
    main()
