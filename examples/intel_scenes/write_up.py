"""Results to figures and README.md: every number in it is one that the run wrote.

The text is `write_up.md.jinja`. It holds no measured number itself, which a test checks, and
README.md is what comes of it and of `results/`, which a test checks, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from tlfeatures import TrainingCurve
from tlfeatures.metrics.intervals import wilson
from tlfeatures.reports.drawing.figure_files import save_figure
from tlfeatures.reports.drawing.progress_curves import TrainingCurveDisplay
from tlfeatures.reports.drawing.style import COLORS, new_figure, style

HERE = Path(__file__).parent

# The reference's five rows, as it printed them.
PUBLISHED: dict[str, list[float]] = {
    "loss": [8.4203, 0.7959, 0.3590, 0.3032, 0.1983],
    "accuracy": [0.7281, 0.8405, 0.8640, 0.8863, 0.9159],
    "validation_loss": [2.8014, 0.4908, 0.7873, 0.7367, 0.8131],
    "validation_accuracy": [0.8030, 0.8104, 0.8364, 0.8439, 0.8030],
    "seconds": [55, 55, 53, 56, 55],
}

AIM = 0.8  # the reference's
GOAL, GOAL_SECONDS = 0.87, 300  # this study's, once the embeddings exist
FLAT = "block5_pool.flatten"
SIDE_BY_SIDE = "block2_conv2.avg+block3_conv3.avg+block4_conv3.avg+block5_conv3.avg"

_NAMES = {
    SIDE_BY_SIDE: "blocks 2 to 5",
    "block3_conv3.avg+block4_conv3.avg+block5_conv3.avg": "blocks 3 to 5",
}


def write(out: Path) -> None:
    """Draw the figures and write README.md into the folder that has `results/`."""
    results = load(out)
    draw_all(results, out / "figures")
    (out / "README.md").write_text(render(results), encoding="utf-8")


def draw_all(results: dict[str, Any], folder: Path) -> None:
    """Draw every figure into a folder."""
    folder.mkdir(exist_ok=True)
    with style():
        for name, draw in FIGURES.items():
            save_figure(draw(results), folder / f"{name}.svg")


def load(out: Path) -> dict[str, Any]:
    """Read every file of results, by its name."""
    return {
        path.stem: json.loads(path.read_text("utf-8")) for path in (out / "results").glob("*.json")
    }


def claim(true: bool) -> str:
    """Stand before a sentence that the results must bear out; else there is no write-up."""
    if not true:
        raise ValueError("a sentence of write_up.md.jinja is no longer true of the results")
    return ""


def render(results: dict[str, Any], claim: Callable[[bool], str] = claim) -> str:
    """Put the results into the text."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    filters: dict[str, Callable[..., str]] = {
        "three": lambda value: f"{value:.3f}",
        "one": lambda value: f"{value:.1f}",
        "whole": lambda value: f"{value:,.0f}",
        "points": lambda value: f"{100 * value:.1f}",
        "percent": lambda value: f"{100 * value:.0f}",
        "interval": lambda pair: f"{pair[0]:.3f} to {pair[1]:.3f}",
        "named": lambda name: _NAMES.get(name, f"`{name}`"),
        "p": lambda value: "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}",
        "how": how,
        "two": lambda value: f"{value:.2f}",
        "score": lambda row: f"{row['scores']['accuracy']['score']:.3f}",
        "row_named": row_named,
    }
    environment.filters.update(filters)
    environment.filters["higher"] = higher
    text = (HERE / "write_up.md.jinja").read_text("utf-8")
    return environment.from_string(text).render(**results, **summary(results), claim=claim)


def how(row: dict[str, Any]) -> str:
    """Say what is not as usual in a row of a table."""
    said = [] if row["tune"] or row["head"] in ("centroid", "dummy") else ["not tuned"]
    said += [f"{row['variants']} variants"] if row["variants"] else []
    return f" ({', '.join(said)})" if said else ""


def row_named(name: str) -> str:
    """`rbf-svm on A+B of scenes-150.h5`, with what is known by another name."""
    head, _, rest = name.partition(" on ")
    embedding, _, file = rest.partition(" of ")
    size = file.removeprefix("scenes-").removesuffix(".h5")
    return f"{head} on {_NAMES.get(embedding, embedding)} at {size} pixels"


def higher(row: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a row has the higher accuracy, also as it is printed."""
    one, two = (round(each["scores"]["accuracy"]["score"], 3) for each in (row, other))
    return one > two


def summary(results: dict[str, Any]) -> dict[str, Any]:
    """Give what the text says beyond single numbers of the files."""
    reference, table = results["reference"], results["better"]["table"]
    last = np.array(reference["augmented"]["validation_accuracy"])[:, -1]
    plain = np.array(reference["plain"]["validation_accuracy"])[:, -1]
    old = PUBLISHED["validation_accuracy"][-1]
    own = reference["own_split"]
    at_reference = f"scenes-{reference['size']}.h5"
    middle = next(row["size"] for row in table if row["about"] == "layer")
    few = results["few"]["points"]
    parts = {
        name: results[name]["seconds_of_part"]
        for name in ("reference", "better", "few", "hymenoptera")
    }
    return {
        "aim": AIM,
        "goal": GOAL,
        "reaching": [
            row for row in table if row["tune"] and row["scores"]["accuracy"]["score"] >= GOAL
        ],
        "columns": results["extraction"]["columns"],
        "side_by_side": SIDE_BY_SIDE,
        "svm": find(table, about="head", head="rbf-svm", embedding=SIDE_BY_SIDE),
        "larger": max(
            (row for row in table if row["about"] == "head, size"), key=lambda row: row["size"]
        ),
        "published": PUBLISHED,
        "published_seconds": sum(PUBLISHED["seconds"]),
        "published_interval": wilson(old, reference["validation"]).tolist(),
        "epochs": {name: by_epoch(reference[name]) for name in ("augmented", "plain")},
        "last": {
            "mean": last.mean(),
            "deviation": last.std(ddof=1),
            "least": last.min(),
            "most": last.max(),
            "below": int((last <= old).sum()),
            "away": (last.mean() - old) / last.std(ddof=1),
        },
        "plain_last": {"mean": plain.mean(), "deviation": plain.std(ddof=1)},
        "own": {
            "runs": len(own),
            "themselves": np.mean([each["accuracy"] for each in own]),
            "variants": np.mean([each["accuracy_on_variants"] for each in own]),
        },
        "row": lambda **wanted: find(table, **wanted),
        "few_rows": sorted(
            zip(few["reference"], few["best"], strict=True),
            key=lambda pair: pair[1]["images_per_class"],
        ),
        "insect": lambda **wanted: find(results["hymenoptera"]["table"], **wanted),
        "parts": parts,
        "middle": {"size": middle, **results["extraction"][f"scenes-{middle}.h5"]},
        "augmented_seconds": results["extraction"][at_reference]["seconds"],
        "goal_seconds": GOAL_SECONDS,
        "weights_of_old_head": 1000 * results["extraction"]["columns"][at_reference][FLAT],
        "total": sum(parts.values()),
        "of_old_head": sum(reference["seconds"].values()) + results["few"]["seconds"]["reference"],
    }


def by_epoch(curve: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Mean and standard deviation over the splits, epoch by epoch."""
    names = ("loss", "accuracy", "validation_loss", "validation_accuracy")
    arrays = {name: np.array(curve[name]) for name in names}
    return {
        name: [array.mean(axis=0).tolist(), array.std(axis=0, ddof=1).tolist()]
        for name, array in arrays.items()
    }


def find(table: Sequence[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    """Give the one row of the table that has these values."""
    found = [row for row in table if all(row[key] == value for key, value in wanted.items())]
    if len(found) != 1:
        raise LookupError(f"{len(found)} rows of the table have {wanted}")
    return found[0]


# ---- figures


def draw_epochs(results: dict[str, Any]) -> Any:
    """Draw accuracy and loss by epoch, of every split, and the reference's rows."""
    curve = TrainingCurve.from_dict(results["reference"]["augmented"])
    figure = new_figure(9, 3.6)
    for axes, what in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        TrainingCurveDisplay(curve, what).plot(axes)
        epochs = np.arange(1, curve.epochs + 1)
        shared = {"color": COLORS["ink"], "markersize": 5}
        axes.plot(epochs, PUBLISHED[what], "s", **shared, label="the reference, training")
        validation = PUBLISHED[f"validation_{what}"]
        axes.plot(epochs, validation, "D", mfc="white", **shared, label="the reference, validation")
        if what == "loss":
            axes.set_yscale("log")
            axes.set_yticks(LOSSES, [f"{loss:g}" for loss in LOSSES])
            axes.minorticks_off()
        handles, words = axes.get_legend_handles_labels()
        words = [each.replace("folds", "splits") for each in words]
        axes.legend(handles, words, fontsize=8, loc="best")
    return figure


def draw_splits(results: dict[str, Any]) -> Any:
    """Draw the validation accuracy of each random split after the last epoch."""
    reference = results["reference"]
    figure = new_figure(7, 2.2)
    axes = figure.subplots()
    for height, name in enumerate(("plain", "augmented")):
        values = np.array(reference[name]["validation_accuracy"])[:, -1]
        color = COLORS["c0"]
        axes.plot(values, np.full(len(values), height), "o", color=color, alpha=0.5, markersize=6)
        axes.plot([values.mean()] * 2, [height - 0.25, height + 0.25], color=color, linewidth=2)
    old = PUBLISHED["validation_accuracy"][-1]
    low, high = wilson(old, reference["validation"]).tolist()
    axes.plot([low, high], [2, 2], color=COLORS["c1"], linewidth=1.5)
    axes.plot([old], [2], "D", color=COLORS["c1"], markersize=6)
    axes.set_yticks([0, 1, 2], ["unchanged images", "one variant an epoch", "the reference"])
    axes.set_ylim(-0.6, 2.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"accuracy on {reference['validation']} images held back, after 5 epochs")
    return figure


def draw_better(results: dict[str, Any]) -> Any:
    """Draw each row of the table with its interval, by question."""
    table = [row for row in results["better"]["table"] if row["head"] != "dummy"]
    groups = list(dict.fromkeys(row["about"] for row in table))
    ordered = [row for about in groups for row in table if row["about"] == about]
    figure = new_figure(9, 0.8 + 0.23 * len(ordered))
    axes = figure.subplots()
    for height, row in enumerate(ordered):
        score = row["scores"]["accuracy"]
        color = COLORS["accent"] if row["best"] else COLORS["muted"]
        axes.hlines(height, *score["interval"], colors=color, linewidth=1.4)
        fill = color if row["best"] else COLORS["paper"]
        axes.plot(score["score"], height, "o", color=color, mfc=fill, markersize=6)
    axes.axvline(PUBLISHED["validation_accuracy"][-1], color=COLORS["c1"], linewidth=1)
    axes.set_yticks(range(len(ordered)), [_row_name(row) for row in ordered])
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(
        "accuracy, nested cross-validation, 95 % interval\n"
        "filled: not significantly different from the first; line: the reference"
    )
    return figure


def _row_name(row: dict[str, Any]) -> str:
    name = _NAMES.get(row["embedding"], row["embedding"])
    return f"{row['about']}: {row['head']}{how(row)}, {name}, {row['size']}"


def draw_few(results: dict[str, Any]) -> Any:
    """Draw accuracy against images a class, of both heads."""
    figure = new_figure(7, 3.6)
    axes = figure.subplots()
    words = {"best": "rbf-svm, blocks side by side", "reference": "the reference's head"}
    for place, (name, label) in enumerate(words.items()):
        points = results["few"]["points"][name]
        seen = np.array([[p["images_per_class"], p["accuracy"], *p["interval"]] for p in points])
        x = seen[:, 0] * (1 + 0.02 * place)  # side by side
        color = COLORS[f"c{place}"]
        axes.vlines(x, seen[:, 2], seen[:, 3], colors=color, linewidth=1.2)
        axes.plot(x, seen[:, 1], "o-", color=color, markersize=5, linewidth=1, label=label)
    axes.set_xscale("log")
    points = results["few"]["points"]["best"]
    sizes = sorted({round(point["images_per_class"]) for point in points})
    ticks = [*sizes[:-2], sizes[-1]]  # the last two are too near each other
    axes.set_xticks(ticks, [f"{tick}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("training images a class")
    axes.set_ylabel("accuracy, 95 % interval")
    axes.legend(loc="lower right")
    return figure


LOSSES = (0.2, 0.5, 1, 2, 5, 10)  # ticks

FIGURES = {
    "epochs": draw_epochs,
    "splits": draw_splits,
    "better": draw_better,
    "few": draw_few,
}

if __name__ == "__main__":
    write(HERE)
