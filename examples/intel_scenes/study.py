"""The whole study: from folders of images to results, figures and the write-up.

`make study` runs it. Each part writes one file of `results/`, which `write_up.py` turns into
figures and README.md; nothing is typed by hand. Embeddings are kept in `work/`, so that only the
first run takes long.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import reference_network
import write_up
from sklearn.model_selection import StratifiedShuffleSplit

from tlfeatures import (
    Benchmark,
    benchmark,
    extract,
    learning_curve,
    load_dataset,
    training_curve,
)
from tlfeatures.benchmarking.comparison import Rank
from tlfeatures.benchmarking.rank import compare
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer
from tlfeatures.metrics.intervals import score_intervals
from tlfeatures.metrics.resampling import resample_counts
from tlfeatures.model_selection.head_fit import fit_on_all

HERE = Path(__file__).parent

# The reference: VGG16 without its top at 150 x 150, Flatten, Dense(1000, relu), Dense(2, softmax),
# Adam, 5 epochs; rotation 30, horizontal flip, zoom 0.2. Its columns are not scaled.
REFERENCE_SIZE, REFERENCE_EMBEDDING = 150, "block5_pool.flatten"
AUGMENT_SPEC = "rotation=30,zoom=0.2,horizontal_flip"
VALIDATION_SHARE = 0.25  # Keras's validation_split: 138 + 131 of 553 + 525 images

BLOCKS = ("block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")
SIDE_BY_SIDE = "+".join(f"{layer}.avg" for layer in BLOCKS)
THREE = "+".join(f"{layer}.avg" for layer in BLOCKS[1:])
HEADS = ("linear-svm", "rbf-svm", "ridge", "lda", "knn", "mlp", "gradient-boosting")
HEADS += ("centroid", "dummy")  # beside logreg, which is in every other question


@dataclass(frozen=True)
class Plan:
    """What is run, and how often; a test runs a small one.

    Attributes
    ----------
    images, hymenoptera : Path
        Folders of classes; of train/ and val/, each with classes.
    work, out : Path
        Get the embeddings; the results, figures and the write-up.
    weights : str
    sizes : dict of pixels to variants of each image
    splits : int
        Random splits of the reference's setting.
    repeats : int
        Of the nested 5-fold cross-validation.
    few : dict of folds to images a class
        Of the learning curves: more images a class than five folds leave need more folds.
    seeds : int
        Of what is trained on the reference's own split.
    heads : sequence of str
        Compared with logreg on four blocks side by side.
    """

    images: Path
    hymenoptera: Path
    work: Path
    out: Path
    weights: str = "imagenet"
    sizes: Mapping[int, int] = field(default_factory=lambda: {150: 5, 224: 0, 320: 0})
    reference_size: int = REFERENCE_SIZE
    splits: int = 20
    repeats: int = 3
    few: Mapping[int, Sequence[int]] = field(
        default_factory=lambda: {5: (5, 10, 20, 50, 100, 200), 14: (500,)}
    )
    seeds: int = 3
    heads: Sequence[str] = HEADS

    @property
    def reference(self) -> Path:
        """The embeddings at the reference's size, with variants."""
        return self.file(self.reference_size)

    def file(self, size: int) -> Path:
        """Embeddings of the scenes at a size."""
        return self.work / f"scenes-{size}.h5"

    @property
    def insects(self) -> Path:
        """Embeddings of the other set."""
        return self.work / f"hymenoptera-{self.reference_size}.h5"

    @property
    def copies(self) -> Path:
        """A CSV of the images of each scene, found at 224 pixels, so that all rows share folds."""
        return self.work / "copies.csv"


def run(plan: Plan) -> None:
    """Run every part, and keep what it gives."""
    plan.work.mkdir(parents=True, exist_ok=True)
    (plan.out / "results").mkdir(parents=True, exist_ok=True)
    embed(plan)
    parts = {
        "reference": reference,
        "better": better,
        "few": few_images,
        "hymenoptera": other_images,
    }
    for name, part in parts.items():
        started = time.perf_counter()
        found = part(plan)
        found["seconds_of_part"] = time.perf_counter() - started
        save(plan, name, found)
        print(f"{name}: {found['seconds_of_part']:.0f} s", flush=True)


def save(plan: Plan, name: str, found: Mapping[str, Any]) -> None:
    """Write a part's results."""
    text = json.dumps(found, indent=1)
    (plan.out / "results" / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def without_places(facts: dict[str, Any]) -> dict[str, Any]:
    """Name files without their folders, which are of one machine."""
    return facts | {name: Path(facts[name]).name for name in ("file", "weights")}


@contextmanager
def clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note the seconds that something takes."""
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


# ---- embeddings


def embed(plan: Plan) -> None:
    """Send the images through VGG16 once, at each size; the second time there is nothing to do."""
    layers = [*BLOCKS, "block5_pool"]
    made = {}
    for size, variants in plan.sizes.items():
        more = [REFERENCE_EMBEDDING, "block5_pool.max"] if size < 300 else []  # else 51,200 columns
        made[plan.file(size).name] = extract(
            plan.images,
            plan.file(size),
            layers=[*layers, *more],
            size=size,
            weights=plan.weights,
            augment=variants,
            augment_spec=AUGMENT_SPEC if variants else None,
        )
    made[plan.insects.name] = extract(
        plan.hymenoptera,
        plan.insects,
        layers=[*layers, REFERENCE_EMBEDDING],
        size=plan.reference_size,
        weights=plan.weights,
        augment=plan.sizes[plan.reference_size],
        augment_spec=AUGMENT_SPEC,
    )
    write_copies(plan)
    fresh = {name: each.to_dict() for name, each in made.items() if each.computed == each.images}
    path = plan.out / "results" / "extraction.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    kept = {
        name: {key: facts[key] for key in ("images", "variants", "seconds", "precision")}
        for name, facts in fresh.items()
    }
    columns = {name: each.embeddings for name, each in made.items()}
    save(plan, "extraction", {"machine": machine(), **known, **kept, "columns": columns})


def write_copies(plan: Plan) -> None:
    """Name what shows the same scene once for all, so that every row has the same folds."""
    middle = sorted(plan.sizes)[1]
    data = load_dataset(plan.file(middle), "block5_pool.avg", variants=0)
    together = np.arange(len(data.y)) if data.together is None else data.together
    with plan.copies.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "group"])
        writer.writerows(zip(data.ids.tolist(), together.tolist(), strict=True))


def machine() -> str:
    """Name the processor, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        return f"{len(names)} cores, {names[0]}"
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


# ---- the reference's own setting


def reference(plan: Plan) -> dict[str, Any]:
    """Repeat the reference's setting on many random splits, and on what was probably its own."""
    data = load_dataset(plan.reference, REFERENCE_EMBEDDING, near_duplicates=None)
    held = held_back(data)
    random = StratifiedShuffleSplit(plan.splits, test_size=len(held), random_state=0)
    plain = load_dataset(plan.reference, REFERENCE_EMBEDDING, near_duplicates=None, variants=0)
    seconds: dict[str, float] = {}
    with clock(seconds, "augmented"):
        augmented = training_curve(data, reference_network.HEAD, cv=random, n_jobs=-1)
    with clock(seconds, "plain"):
        unchanged = training_curve(plain, reference_network.HEAD, cv=random, n_jobs=-1)
    return {
        "images": len(data.y),
        "train": len(data.y) - len(held),
        "validation": len(held),
        "splits": plan.splits,
        "variants": data.n_variants,
        "size": plan.reference_size,
        "augmentation": data.spec.to_dict()["augmentation"],
        "augmented": without_places(augmented.to_dict()),
        "plain": without_places(unchanged.to_dict()),
        "own_split": [own_split(data, held, seed) for seed in range(plan.seeds)],
        "seconds": seconds,
    }


def held_back(data: Dataset) -> np.ndarray:
    """Give the rows that Keras's validation_split holds back: the first quarter of each class."""
    of_classes = [np.flatnonzero(data.y == name) for name in data.classes]
    return np.concatenate([rows[: int(VALIDATION_SHARE * len(rows))] for rows in of_classes])


def own_split(data: Dataset, held: np.ndarray, seed: int) -> dict[str, Any]:
    """Train on that split; score it on the images held back, and on their variants."""
    train = np.setdiff1d(np.arange(len(data.y)), held)
    head = fit_on_all(reference_network.reference_head(seed), data.take(train))
    truth = data.y[held]
    variants = [
        float((head.predict(data.variants[held, number]) == truth).mean())
        for number in range(data.n_variants)
    ]
    themselves = float((head.predict(data.X[held]) == truth).mean())
    return {"accuracy": themselves, "accuracy_on_variants": variants}


# ---- what pays


@dataclass(frozen=True)
class Row:
    """One way to make a classifier; `about` says which question it belongs to."""

    about: str
    size: int
    embedding: str
    head: str
    tune: bool = True
    variants: int = 0


def rows(plan: Plan) -> list[Row]:
    """One thing is changed at a time."""
    small, middle, *larger = sorted(plan.sizes)
    variants = plan.sizes[small]
    return [
        *(Row("layer", middle, f"{layer}.avg", "logreg") for layer in (*BLOCKS, "block5_pool")),
        *(Row("pooling", middle, f"block5_pool.{pool}", "logreg") for pool in ("max", "flatten")),
        *(Row("size", size, "block5_pool.avg", "logreg") for size in (small, *larger)),
        *(Row("side by side", middle, each, "logreg") for each in (THREE, SIDE_BY_SIDE)),
        *(Row("side by side, size", size, SIDE_BY_SIDE, "logreg") for size in (small, *larger)),
        *(Row("head", small, SIDE_BY_SIDE, head) for head in plan.heads),
        *(Row("head, size", size, SIDE_BY_SIDE, "rbf-svm") for size in (middle, *larger)),
        Row("head", small, THREE, "rbf-svm"),
        *(Row("tuning", small, SIDE_BY_SIDE, head, tune=False) for head in ("logreg", "rbf-svm")),
        *(
            Row("augmentation", small, SIDE_BY_SIDE, head, tune=False, variants=variants)
            for head in ("logreg", "rbf-svm")
        ),
    ]


def better(plan: Plan) -> dict[str, Any]:
    """Cross-validate every row, nested, on the same folds; then let the folds choose a row."""
    folds = {"groups": plan.copies, "near_duplicates": None, "repeats": plan.repeats}
    made = [(row, *measured(plan.file(row.size), row, **folds)) for row in rows(plan)]
    entries = [entry for _, result, _ in made for entry in result.entries]
    study = made[0][1].study
    tested = entries[0].fold >= 0
    scorer = BootstrapScorer.of(study.y, study.together, tested, study.classes, 0)
    comparison = compare(entries, study, "accuracy", scorer)
    row_of = {result.entries[0].facts["key"]: (row, seconds) for row, result, seconds in made}
    table = []
    for rank in comparison.ranking:
        against_best = {"difference": rank.difference, "p": rank.p, "best": rank.best}
        facts = facts_of(*row_of[rank.keys[0]], rank)
        table.append(facts | {"repeats": rank.repeats} | against_best)
    tuned = [result for row, result, _ in made if row.tune and result.entries[0].facts["chosen"]]
    return {
        "folds": study.facts["folds"],
        "repeats": plan.repeats,
        "copies": len(load_dataset(plan.file(sorted(plan.sizes)[1]), "block5_pool.avg").copies),
        "detectable": comparison.detectable,
        "table": table,
        "selected": selected(plan, tuned),
    }


def measured(file: Path, row: Row, **options: Any) -> tuple[Benchmark, float]:
    """Score one row; give its seconds, from the file to the scores."""
    started = time.perf_counter()
    result = benchmark(
        file,
        heads=row.head,
        embeddings=row.embedding,
        variants=row.variants,
        tune=row.tune,
        **options,
    )
    return result, time.perf_counter() - started


def facts_of(row: Row, seconds: float, rank: Rank) -> dict[str, Any]:
    """Say what a row is and what it reached."""
    scores = {name: rank.scores[name] for name in ("accuracy", "log_loss", "roc_auc")}
    return vars(row) | {"seconds": seconds, "scores": scores}


def selected(plan: Plan, results: Sequence[Benchmark]) -> dict[str, Any]:
    """Score the choice of a row itself: each training fold takes what its inner folds liked best.

    This is what somebody gets who tries all of it and keeps the best; no image that is scored has
    had a say in the choice.
    """
    study = results[0].study
    images, codes = np.arange(len(study.y)), np.searchsorted(study.classes, study.y)
    predicted, tables, chosen = [], [], Counter[str]()
    for repeat in range(plan.repeats):
        entries = [result.entries[repeat] for result in results]
        best = np.argmax([entry.facts["chosen_scores"] for entry in entries], axis=0)
        row = best[entries[0].fold]
        predicted.append(np.array([entry.predicted for entry in entries])[row, images])
        tables.append(np.array([entry.probabilities for entry in entries])[row, images])
        chosen.update(named(entries[place].facts) for place in best)
    counts = resample_counts(len(codes), study.together)
    intervals = score_intervals(codes, predicted, tables, counts, study.together)
    return {
        "candidates": len(results),
        "accuracy": float((np.array(predicted) == codes).mean()),
        "interval": intervals["accuracy"],
        "chosen": dict(chosen.most_common()),
    }


def named(facts: Mapping[str, Any]) -> str:
    """Name a row by what it was made of."""
    return f"{facts['head']} on {facts['embedding']} of {Path(facts['file']).name}"


# ---- how few images


def few_images(plan: Plan) -> dict[str, Any]:
    """Measure accuracy against images a class, of the reference's head and of the best one."""
    ways: dict[str, dict[str, Any]] = {
        "reference": {"head": reference_network.HEAD, "embedding": REFERENCE_EMBEDDING},
        "best": {"head": "rbf-svm", "embedding": SIDE_BY_SIDE, "variants": 0},
    }
    seconds: dict[str, float] = {}
    points: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for name, way in ways.items():
        with clock(seconds, name):
            for folds, sizes in plan.few.items():
                curve = learning_curve(
                    plan.reference,
                    groups=plan.copies,
                    near_duplicates=None,
                    sizes=sizes,
                    cv=folds,
                    n_jobs=-1,
                    **way,
                )
                facts = [point | {"folds": folds} for point in curve.to_dict()["points"]]
                points[name] += facts
    return {"points": points, "seconds": seconds}


# ---- other images


def other_images(plan: Plan) -> dict[str, Any]:
    """Score the same ways on another set, with its own split, tuned to nothing of it."""
    variants = plan.sizes[plan.reference_size]
    wanted = [
        Row(
            "the reference's head", 0, REFERENCE_EMBEDDING, reference_network.HEAD, False, variants
        ),
        Row("the usual layer", 0, "block5_pool.avg", "logreg"),
        Row("the usual layer", 0, "block5_pool.avg", "rbf-svm"),
        Row("flattened", 0, REFERENCE_EMBEDDING, "logreg"),
        Row("best on scenes", 0, SIDE_BY_SIDE, "rbf-svm"),
        Row("best on scenes", 0, SIDE_BY_SIDE, "logreg"),
        Row("with variants", 0, SIDE_BY_SIDE, "rbf-svm", False, variants),
    ]
    table = []
    for row in wanted:
        result, seconds = measured(plan.insects, row)
        table.append(facts_of(row, seconds, result.comparison.ranking[0]))
    facts = result.study.facts
    shares = {name: facts[name] for name in ("images", "tested", "classes", "split")}
    return {"table": table, **shares}


def main() -> None:
    """Read the places from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=HERE / "images")
    parser.add_argument("--hymenoptera", type=Path, default=HERE / "hymenoptera")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--work", type=Path, default=HERE / "work")
    parser.add_argument("--out", type=Path, default=HERE)
    arguments = parser.parse_args()
    for place in (arguments.images, arguments.hymenoptera):
        if not place.is_dir():
            parser.error(f"there is no folder {place}; README.md says where its images are from")
    run(Plan(**vars(arguments)))
    write_up.write(arguments.out)


if __name__ == "__main__":
    main()
