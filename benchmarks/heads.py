"""Seconds for searching and comparing heads: plain scikit-learn pipelines against tlfeatures.

    python benchmarks/heads.py [--images FOLDER | --file FILE] [--plain HEAD ...]
    python benchmarks/heads.py --smoke

The same grids on the same folds of the same embeddings, by `GridSearchCV` over pipelines and by
`tlfeatures.model_selection.tuning.choose`, head by head in one run; both may use all cores. Then
whole benchmarks: ten heads untuned, and tuned in nested cross-validation, which plain pipelines are
not compared with.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, add_backbone, chosen_images, copy_images, images_folder, parse
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
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.features.spec import Spec
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.heads.table import Grid, head_grid, make_head
from tlfeatures.model_selection.cross_validation import cross_validate_heads
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.model_selection.tuning import choose

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
    arguments = parse_command()
    if not sys.warnoptions:
        warnings.simplefilter("ignore", ConvergenceWarning)
    with tempfile.TemporaryDirectory() as temporary:
        file = arguments.file or embed(arguments, Path(temporary))
        for name in arguments.embeddings:
            data = load_dataset(file, name)
            print(f"\n{name}: {len(data.y):,} x {data.X.shape[1]:,}", flush=True)
            # Its covariance of 25,088 columns would take 5 GB and an hour.
            wide = {"lda"} if data.X.shape[1] > 5000 else set()
            searches(data, arguments, [each for each in arguments.plain if each not in wide])
            whole(data, arguments, tuned=True)
    data = synthetic(arguments.rows, 512, arguments.classes)
    print(f"\nsynthetic: {arguments.rows:,} x 512, {arguments.classes} classes", flush=True)
    whole(data, arguments, tuned=False)


def parse_command() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_backbone(parser)
    parser.add_argument("--images", type=Path, default=DATA / "intel")
    parser.add_argument("--count", type=int, default=10**6, help="images, at most")
    parser.add_argument("--file", help="embeddings that are there, instead of images")
    parser.add_argument(
        "--embeddings", nargs="*", default=["block5_pool.flatten", "block5_pool.avg"]
    )
    parser.add_argument("--rows", type=int, default=10_000, help="of the synthetic set")
    parser.add_argument("--classes", type=int, default=10, help="of the synthetic set")
    parser.add_argument(
        "--plain",
        nargs="*",
        default=list(SEARCHES),
        choices=list(SEARCHES),
        help="heads to search by plain scikit-learn, too; none: only ours",
    )
    parser.add_argument("--points", type=int, help="of a grid, at most; all if not given")
    parser.add_argument("--heads", nargs="+", default="all", help="heads of the whole benchmarks")
    parser.add_argument("--cv", type=int, default=5, help="folds")
    parser.add_argument("--jobs", type=int, default=-1, help="cores, -1 for all")
    return parse(
        parser,
        images=None,
        weights="random",
        size=32,
        count=300,  # each fold trains on more than the 128 components of a PCA
        embeddings=["block5_pool.avg"],
        rows=200,
        classes=2,
        points=2,
        heads=["logreg", "rbf-svm", "knn", "dummy"],
        cv=2,
        jobs=1,
    )


def embed(arguments: argparse.Namespace, temporary: Path) -> Path:
    source = images_folder(arguments.images, arguments.count, temporary)
    images = copy_images(chosen_images(source, arguments.count), temporary / "images")
    file = temporary / "images.h5"
    pools = ["avg", "flatten"]
    extract(images, file, pools=pools, size=arguments.size, weights=arguments.weights)
    return file


def searches(data: Dataset, arguments: argparse.Namespace, plain: list[str]) -> None:
    """Search each head's grid over the same folds, both ways."""
    folds = make_folds(data, cv=arguments.cv)[1]
    heading = f"search, {arguments.cv} folds"
    line(heading, "points", "plain s", "ours s", "ratio", "same best", "largest gap")
    # Starting the processes is not what is measured.
    ours_of(data, {"ridge": {"alpha": [1.0]}}, {}, folds, arguments.jobs)
    for name, (params, whole_grid, steps) in SEARCHES.items():
        grid = cut(whole_grid, arguments.points)
        ours, (choice,) = timed(
            lambda n=name, p=params, g=grid: ours_of(data, {n: g}, p, folds, arguments.jobs)
        )
        found = choice[name]
        points = len(found.points)
        if name not in plain:
            line(name, points, "-", f"{ours:.1f}")
            continue
        seconds, search = timed(lambda s=steps, g=grid: plain_of(data, s, g, folds, arguments.jobs))
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
    grids = {name: cut({"C": C}, arguments.points) for name in SVMS}
    seconds, (choice,) = timed(
        lambda: ours_of(data, grids, {"n_components": None}, folds, arguments.jobs)
    )
    points = sum(len(found.points) for found in choice.values())
    line(" + ".join(SVMS), points, "", f"{seconds:.1f}")


def cut(grid: Grid, points: int | None) -> Grid:
    """Keep the first values of each parameter, as many as give so many points."""
    if points is None or not grid:
        return grid
    kept = max(1, math.floor(points ** (1 / len(grid))))
    return {name: values[:kept] for name, values in grid.items()}


def ours_of(data: Dataset, grids: dict[str, Grid], params: Any, folds: Any, jobs: int) -> Any:
    heads = {name: make_head(name, **(params if name == "rbf-svm" else {})) for name in grids}
    with Trainer(data, n_jobs=jobs) as trainer:
        return choose(trainer, heads, grids, [folds])


def plain_of(data: Dataset, steps: list[Any], grid: Grid, folds: Any, jobs: int) -> GridSearchCV:
    pipeline = make_pipeline(StandardScaler(), *steps)
    last = pipeline.steps[-1][0]
    grid = {f"{last}__{key}": values for key, values in grid.items()}
    search = GridSearchCV(pipeline, grid, cv=folds, n_jobs=jobs, refit=False, error_score="raise")
    return search.fit(data.X, data.y)


def aligned(search: GridSearchCV, points: list[Any]) -> np.ndarray:
    """Scores of the plain search in the order of our points."""
    results = search.cv_results_
    found = {
        tuple(sorted((key.rpartition("__")[2], value) for key, value in params.items())): score
        for params, score in zip(results["params"], results["mean_test_score"], strict=True)
    }
    return np.array([found[tuple(sorted(point.items()))] for point in points])


def whole(data: Dataset, arguments: argparse.Namespace, tuned: bool) -> None:
    """Time all heads together, untuned, and tuned in nested cross-validation."""
    heads = make_heads(arguments.heads)
    options = {"cv": arguments.cv, "n_jobs": arguments.jobs}
    seconds, found = timed(lambda: cross_validate_heads(heads, data, **options))
    line(f"{len(heads)} heads, untuned", "", "", f"{seconds:.1f}")
    if tuned:
        grids = {name: cut(head_grid(name), arguments.points) for name in heads}
        seconds, found = timed(lambda: cross_validate_heads(heads, data, grids=grids, **options))
        line(f"{len(heads)} heads, tuned, nested", "", "", f"{seconds:.1f}")
    scores = (f"{name} {each.scores['accuracy']['score']:.3f}" for name, each in found.items())
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
