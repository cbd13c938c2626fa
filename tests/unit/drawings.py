"""One of each figure, of made-up numbers, and what is drawn on it."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np

from tests.unit.simulations import random_predictions
from tlfeatures import (
    ConfusionDisplay,
    EmbeddingMapDisplay,
    HeatMapDisplay,
    LearningCurveDisplay,
    PrecisionRecallDisplay,
    RankingDisplay,
    ReliabilityDisplay,
    RocDisplay,
    TrainingCurveDisplay,
)
from tlfeatures.benchmarking.comparison import Comparison, LargestClass, Rank
from tlfeatures.model_selection.learning_curve.results import CurvePoint, Forecast, LearningCurve
from tlfeatures.model_selection.training_curve import TrainingCurve
from tlfeatures.reports.diagnostics import (
    EmbeddingMap,
    confusion,
    precision_recall,
    reliability,
    roc,
)
from tlfeatures.reports.drawing import figure_files, style

NAMES = ["<script>alert(1)</script>", "$x^2$", 'a & b "q"', "日本"]
HEX = re.compile(r"(?<!url\()#[0-9a-f]{6}\b")


def rank_of(label, score, *, embedding="x.avg", best=False, p=0.01, interval=(-0.05, 0.05)):
    spread = None if interval is None else [score + interval[0], score + interval[1]]
    scores = {"accuracy": {"score": score, "interval": spread, "std": 0.01}}
    facts = dict.fromkeys(Rank.__dataclass_fields__)
    tested = "different" if p is not None else "untested"
    facts["standing"] = ("best" if p is None else "not different") if best else tested
    facts |= {
        "head": label,
        "label": label,
        "embedding": embedding,
        "scores": scores,
        "p": p,
        "best": best,
    }
    return Rank(**facts)


def ranking_of(*ranks, units=100):
    return Comparison("accuracy", list(ranks), None, [], 5, LargestClass("a", 0.5, units))


def some_ranking():
    return ranking_of(
        rank_of("logreg", 0.9, best=True, p=None),
        rank_of("knn", 0.88, best=True, p=0.4),
        rank_of("lda", 0.7),
        rank_of("odd", 0.6, p=None, interval=None),
    )


def predictions(k, n=300, names=None):
    found = random_predictions(k, n)
    return replace(found, classes=names or [f"class {code:02d}" for code in range(k)])


def learning_curve_of(verdict):
    law = {"a": 0.9, "b": 0.8, "c": 0.5}
    sizes = [5, 10, 20, 40, 80, 160]
    values = [law["a"] - law["b"] * size ** -law["c"] for size in sizes]
    points = tuple(
        CurvePoint(size, 2 * size, 1, value, (value - 0.05, value + 0.05))
        for size, value in zip(sizes, values, strict=True)
    )
    forecasts = tuple(
        Forecast(factor, 160 * factor, 0.86, (0.8, 0.9), 0.02, (0, 0.04)) for factor in (2, 4)
    )
    return LearningCurve(
        "x.h5", "x.avg", "none", "logreg", {}, 400, 5, ["a", "b"], points, law, None, forecasts,
        verdict, "",
    )  # fmt: skip


def training_of(folds=3, epochs=6, ended=()):
    random = np.random.default_rng(0)
    accuracy = np.linspace(0.5, 0.9, epochs) + random.normal(size=(folds, epochs)) * 0.01
    for fold, end in ended:
        accuracy[fold, end:] = np.nan
    return TrainingCurve(
        "x.h5", "x.avg", "none", "mlp", {}, 60, "cv", folds,
        loss=1 - accuracy, accuracy=accuracy,
        validation_loss=1.1 - accuracy, validation_accuracy=accuracy - 0.1,
    )  # fmt: skip


def map_of(n, classes, method="pca"):
    points = np.random.default_rng(0).normal(size=(n, 2))
    labels = np.array([classes[row % len(classes)] for row in range(n)])
    return EmbeddingMap(points, method, (0.25, 0.125) if method == "pca" else None), labels


FIGURES = {
    "ranking": lambda ax=None: RankingDisplay(some_ranking()).plot(ax).ax_,
    "heat map": lambda ax=None: HeatMapDisplay(some_ranking()).plot(ax).ax_,
    "confusion": lambda ax=None: ConfusionDisplay(confusion(predictions(3))).plot(ax).ax_,
    "large confusion": lambda ax=None: ConfusionDisplay(confusion(predictions(13))).plot(ax).ax_,
    "roc": lambda ax=None: RocDisplay(roc(predictions(3))).plot(ax).ax_,
    "recall": lambda ax=None: PrecisionRecallDisplay(precision_recall(predictions(3))).plot(ax).ax_,
    "reliability": lambda ax=None: ReliabilityDisplay(reliability(predictions(3))).plot(ax).ax_,
    "learning": lambda ax=None: LearningCurveDisplay(learning_curve_of("help")).plot(ax).ax_,
    "training": lambda ax=None: TrainingCurveDisplay(training_of()).plot(ax).ax_,
    "map": lambda ax=None: EmbeddingMapDisplay(*map_of(30, "ab"), np.arange(30) < 5).plot(ax).ax_,
}
COLOR_MAPS = ("heat map", "confusion", "large confusion")


def svg_of(axes, salt="x"):
    return ElementTree.fromstring(figure_files.to_svg(axes, salt))


def tagged(root, name):
    return [element for element in root.iter() if element.tag.rpartition("}")[2] == name]


def texts_of(axes):
    return ["".join(element.itertext()) for element in tagged(svg_of(axes), "text")]


def lines_of(axes, color):
    return [line for line in axes.lines if line.get_color() == style.COLORS[color]]
