"""Figures of what was computed elsewhere; each function draws one answer on one set of axes.

Every function takes `ax` and returns it. Without `ax` it draws on a figure of its own, in the
style of this module; axes that are given keep their size and style. Nothing is shown and no
global setting of matplotlib changes; `save_figure` writes a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.scores import score_name
from tlfeatures.reports.figures import COLORS, drawing, legend_label, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

    from tlfeatures.benchmarking.comparison import Comparison, Rank
    from tlfeatures.model_selection.learning_curve import LearningCurve
    from tlfeatures.model_selection.training_curve import TrainingCurve
    from tlfeatures.reports.diagnostics import Confusion, Curve, Curves, EmbeddingMap, Reliability

Floats = NDArray[np.float64]

_CLASS_COLORS = [COLORS[f"c{place}"] for place in range(8)]
_MARKERS = ["o", "^", "s", "D", "v", "P", "X", "p"]

# Text on a cell of a colour map; not of the table above, as the cell doesn't change either.
ON_DARK, ON_LIGHT = "#fefefe", "#010101"
COLOR_MAP = "cividis"  # J. Nuñez, C. Anderton and R. Renslow (2018), PLOS ONE 13(7)

_ROWS = 40  # heads of a ranking
_WIDTH = 4.6  # inches; text of 9 points can then be read on a phone
_LINES = 8  # classes of a figure of curves
_CELLS = 12  # classes up to which a cell of a confusion matrix has room for its numbers
_TICKS = 40  # labels of an axis
_NAMED, _LEGEND = 20, 2  # classes in the legend of a map, and its columns
_FITTED = 8  # the law of a learning curve is fitted to sizes down to this part of the largest one

# ---- words


def _score_name(scoring: str) -> str:
    return score_name(scoring) + (" (less is better)" if scoring == "log_loss" else "")


# ---- which head


def ranking_height(comparison: Comparison) -> float:
    """Give the height in inches that `plot_ranking` needs."""
    return 1.15 + 0.23 * min(len(comparison.ranking), _ROWS)


def plot_ranking(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw the heads' scores with 95 % intervals, the best on top.

    Parameters
    ----------
    comparison : Comparison
        Its first 40 heads are drawn.
    ax : Axes, optional

    Returns
    -------
    Axes
        Filled dots are the best head and those not significantly different from it. Open dots are
        significantly different; open grey dots can't be tested.
    """
    ranking = comparison.ranking[:_ROWS]
    with drawing(ax, _WIDTH, ranking_height(comparison)) as axes:
        for row, rank in enumerate(ranking):
            _draw_rank(axes, row, rank, rank.scores[comparison.scoring])
        best = ranking[0].scores[comparison.scoring]["score"]
        if best is not None:
            axes.axvline(best, color=COLORS["muted"], linewidth=0.8, linestyle=(0, (2, 2)))
        several = len({rank.embedding for rank in comparison.ranking}) > 1
        names = [_rank_name(rank, several) for rank in ranking]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{_score_name(comparison.scoring)}, with 95 % interval")
        if len(comparison.ranking) > len(ranking):
            axes.set_ylabel(f"the first {_ROWS} of {len(comparison.ranking):,} heads")
        if axes.has_data():
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.1,
                        handletextpad=0.2, columnspacing=1.2)  # fmt: skip
    return axes


def _rank_name(rank: Rank, several: bool) -> str:
    label = shortened(rank.label)
    return f"{label} on {shortened(rank.embedding)}" if several else label


def _draw_rank(axes: Axes, row: int, rank: Rank, score: dict[str, Any]) -> None:
    if score["score"] is None:
        return
    if rank.standing in ("best", "not different"):
        words, color, fill = "best, or not significantly different", *(COLORS["accent"],) * 2
    elif rank.standing == "different":
        words, color, fill = "significantly different", COLORS["accent"], COLORS["paper"]
    else:
        words, color, fill = "can't be tested", COLORS["muted"], COLORS["paper"]
    if score["interval"] is not None:
        low, high = score["interval"]
        axes.hlines(row, low, high, colors=color, linewidth=1.4, zorder=2)
    said = axes.get_legend_handles_labels()[1]
    axes.plot(
        [score["score"]], [row], "o", markersize=6, zorder=3,
        color=color, markerfacecolor=fill, markeredgewidth=1.4,
        label="_" if words in said else words,
    )  # fmt: skip


def plot_heat_map(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw the score of each head on each embedding; what was not computed stays blank.

    Parameters
    ----------
    comparison : Comparison
        Rows (heads) and columns (embeddings) are in the order of their best place in the ranking.
    ax : Axes, optional

    Returns
    -------
    Axes
        The colours span the heads but `dummy`, beside which the others would look all the same;
        it has numbers alone.
    """
    rows = list(dict.fromkeys(rank.label for rank in comparison.ranking))
    columns = list(dict.fromkeys(rank.embedding for rank in comparison.ranking))
    values = np.full((len(rows), len(columns)), np.nan)
    for rank in reversed(comparison.ranking):
        score = rank.scores[comparison.scoring]["score"]
        if score is not None:
            values[rows.index(rank.label), columns.index(rank.embedding)] = score
    colored = values.copy()
    colored[[label == "dummy" for label in rows]] = np.nan
    shown = [[shortened(name) for name in names] for names in (rows, columns)]
    size = (
        0.5 + _room(shown[0]) + 0.56 * len(columns),
        0.7 + 0.36 * len(rows) + 0.6 * _room(shown[1]),
    )
    with drawing(ax, max(size[0], 3.6), size[1]) as axes:
        flipped = "_r" if comparison.scoring == "log_loss" else ""
        mesh = _draw_cells(axes, colored, COLOR_MAP + flipped, *_span(colored))
        _write_cells(axes, mesh, colored, [[_three(v) for v in row] for row in values], 9)
        _name_cells(axes, "x", columns)
        _name_cells(axes, "y", rows)
        axes.set_title(_score_name(comparison.scoring), loc="left")
    return axes


def _span(values: Floats) -> tuple[float, float] | tuple[None, None]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (None, None)


def _three(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


# ---- which class


def plot_confusion(confusion: Confusion, ax: Axes | None = None) -> Axes:
    """Draw how often each class was taken for each.

    Parameters
    ----------
    confusion : Confusion
    ax : Axes, optional

    Returns
    -------
    Axes
        Colour is the share of the true class; up to 12 classes, cells that aren't 0 have the
        number of images and the share, and beyond there is a scale.
    """
    k, rates = len(confusion.classes), confusion.rates
    side, scale = (max(0.52 * k, 1.6), 0) if k <= _CELLS else (5.4, 0.8)
    room = _room([shortened(name) for name in confusion.classes])
    with drawing(ax, side + 0.6 + room + scale, side + 0.6 + 0.7 * room) as axes:
        mesh = _draw_cells(axes, rates, COLOR_MAP, 0, 1)
        if k <= _CELLS:
            texts = [
                [f"{count:,}\n{rate:.0%}".replace("%", " %") if count else ""
                 for count, rate in zip(*row, strict=True)]
                for row in zip(confusion.counts, rates, strict=True)
            ]  # fmt: skip
            _write_cells(axes, mesh, rates, texts, 9 if k <= 8 else 8)
        else:
            _draw_scale(axes, mesh, "share of the true class")
        axes.set_aspect("equal")
        _name_cells(axes, "x", confusion.classes)
        _name_cells(axes, "y", confusion.classes)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
    return axes


def _draw_cells(
    axes: Axes, values: Floats, color_map: str, low: float | None = None, high: float | None = None
) -> QuadMesh:
    """Draw a table of colours, its first row on top; NaN leaves the paper."""
    few = max(values.shape) <= _TICKS
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=color_map, vmin=low, vmax=high,
        edgecolors=COLORS["paper"] if few else "none", linewidth=float(few),
        rasterized=not few,  # or an SVG takes 200 bytes for each cell
    )  # fmt: skip
    axes.set_ylim(len(values), 0)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return mesh


def _write_cells(
    axes: Axes, mesh: QuadMesh, values: Floats, texts: Sequence[Sequence[str]], size: int
) -> None:
    for (row, column), value in np.ndenumerate(values):
        if texts[row][column]:
            blank = np.isnan(value)
            color = COLORS["ink"] if blank else _readable_on(mesh.to_rgba(np.array([value]))[0])
            axes.text(
                column + 0.5, row + 0.5, texts[row][column], ha="center", va="center",
                fontsize=size, color=color,
            )  # fmt: skip


def _readable_on(color: Sequence[float]) -> str:
    """Choose the text of the larger contrast, by the relative luminance of WCAG 2.2."""
    levels = np.asarray(color[:3], float)
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return ON_LIGHT if (luminance + 0.05) ** 2 > 1.05 * 0.05 else ON_DARK


def _name_cells(axes: Axes, which: str, names: Sequence[str]) -> None:
    """Name the cells along an axis; of many, every second one, or third."""
    step = -(-len(names) // _TICKS)
    places = np.arange(0, len(names), step) + 0.5
    shown = [shortened(name) for name in names[::step]]
    if which == "y":
        axes.set_yticks(places, shown)
    elif max(map(len, shown)) <= 5 and len(shown) <= _CELLS:
        axes.set_xticks(places, shown)
    elif len(shown) <= _CELLS * 2:
        axes.set_xticks(places, shown, rotation=40, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(places, shown, rotation=90)


def _room(names: Sequence[str]) -> float:
    """Inches that the longest label takes."""
    return 0.075 * max(len(name) for name in names)


def _draw_scale(axes: Axes, mesh: QuadMesh, words: str) -> None:
    figure = axes.get_figure()
    assert figure is not None
    scale = figure.colorbar(mesh, ax=axes, shrink=0.6, label=words)
    scale.outline.set_visible(False)
    scale.ax.grid(visible=False)


# ---- curves of a threshold


def plot_roc(curves: Curves, ax: Axes | None = None) -> Axes:
    """Draw ROC curves with their areas.

    Parameters
    ----------
    curves : tuple of Curve
        From `tlfeatures.reports.diagnostics.roc`; of more than 8, those of the smallest areas are drawn.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    with drawing(ax, *_curves_size(curves)) as axes:
        for place, curve in enumerate(_worst(curves)):
            axes.plot(curve.x, curve.y, **_line(place), label=_with_area(curve), zorder=3)
        axes.plot([0, 1], [0, 1], **_CHANCE, label="chance")
        _unit_square(axes)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        _name_curves(axes, curves, "area", "lower right")
    return axes


def plot_precision_recall(curves: Curves, ax: Axes | None = None) -> Axes:
    """Draw precision against recall, with average precisions.

    Parameters
    ----------
    curves : tuple of Curve
        From `tlfeatures.reports.diagnostics.precision_recall`; of more than 8, those of the smallest
        average precision are drawn.
    ax : Axes, optional

    Returns
    -------
    Axes
        Chance is the share of positives, and where it differs between classes a band.
    """
    with drawing(ax, *_curves_size(curves)) as axes:
        for place, curve in enumerate(_worst(curves)):
            axes.plot(curve.x, curve.y, **_line(place), label=_with_area(curve), zorder=3,
                      drawstyle="steps-pre")  # fmt: skip
        if curves:
            _draw_shares(axes, [c.positives / (c.positives + c.negatives) for c in _worst(curves)])
        _unit_square(axes)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        _name_curves(axes, curves, "average precision", "lower left")
    return axes


def _draw_shares(axes: Axes, shares: list[float]) -> None:
    low, high = min(shares), max(shares)
    if high - low < 0.005:
        axes.axhline(low, **_CHANCE, label="chance")
    else:
        axes.axhspan(low, high, color=COLORS["muted"], alpha=0.3, linewidth=0, label="chance")


_CHANCE: dict[str, Any] = {"color": COLORS["muted"], "linewidth": 0.9, "linestyle": (0, (4, 3))}


def _worst(curves: Curves) -> list[Curve]:
    """All curves in their order, or of many those of the smallest areas, the smallest first."""
    if len(curves) <= _LINES:
        return list(curves)
    return sorted(curves, key=lambda curve: curve.area)[:_LINES]


def _line(place: int) -> dict[str, Any]:
    """Colours alone tell few lines apart: the second four are dashed."""
    dash = "-" if place < 4 else (0, (5, 1.2))
    return {"color": _CLASS_COLORS[place], "linewidth": 1.5, "linestyle": dash}


def _with_area(curve: Curve) -> str:
    return f"{legend_label(curve.label)}  {curve.area:.3f}"


def _curves_size(curves: Curves) -> tuple[float, float]:
    named = min(len(curves), _LINES) if len(curves) > 3 else 0
    return _WIDTH, 4.3 + (0.4 if named else 0) + 0.17 * named


def _name_curves(axes: Axes, curves: Curves, area: str, corner: str) -> None:
    """Name few curves in a corner that good ones leave free, and more below the axes."""
    title = f"class, {area}"
    if len(curves) > _LINES:
        title = f"{_LINES} of {len(curves):,} classes, smallest {area}"
    where: dict[str, Any] = {"loc": corner}
    if len(curves) > 3:
        where = {"loc": "upper left", "bbox_to_anchor": (0, -0.14)}
    if axes.has_data():
        axes.legend(title=title, alignment="left", **where)


def _unit_square(axes: Axes) -> None:
    # A little more than 0 to 1, or half of a line on the border is cut off.
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")


# ---- whether probabilities mean what they say


def plot_reliability(reliability: Reliability, ax: Axes | None = None) -> Axes:
    """Draw how often a head was right against how sure it was.

    Parameters
    ----------
    reliability : Reliability
    ax : Axes, optional

    Returns
    -------
    Axes
        Dots below the diagonal: too sure. The bars at the bottom are the numbers of images.
    """
    with drawing(ax, _WIDTH, 4.3) as axes:
        low, high = reliability.edges[:, 0], reliability.edges[:, 1]
        most = int(reliability.counts.max())
        axes.bar(
            low, 0.12 * reliability.counts / most, 0.94 * (high - low), align="edge", zorder=1,
            color=COLORS["muted"], alpha=0.35, linewidth=0, label=f"images, up to {most:,} a bin",
        )  # fmt: skip
        axes.plot([0, 1], [0, 1], **_CHANCE, label="perfectly calibrated")
        x, y = reliability.confidence, reliability.right
        bottom, top = reliability.intervals.T
        axes.vlines(x, bottom, top, colors=COLORS["accent"], linewidth=1.2)
        axes.plot(x, y, "o-", color=COLORS["accent"], markersize=4.5, linewidth=1,
                  label="seen, with 95 % interval")  # fmt: skip
        axes.set(xlim=(float(low.min()) - 0.02, 1.01), ylim=(0, 1.01))
        axes.set_xlabel("probability of the most probable class")
        axes.set_ylabel("share of images that are of it")
        title = f"expected calibration error {reliability.error:.3f}"
        # Above the bars: where a head is sure, few are wrong.
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.13), title=title, alignment="left",
                    ncols=2, columnspacing=1)  # fmt: skip
    return axes


# ---- more images, more epochs


def plot_learning_curve(curve: LearningCurve, ax: Axes | None = None) -> Axes:
    """Draw accuracy against images a class, and as far as it is to be believed the forecast.

    Parameters
    ----------
    curve : LearningCurve
    ax : Axes, optional

    Returns
    -------
    Axes
        The law is drawn through the sizes that it was fitted to. Its forecast is there unless
        the verdict is "unknown".
    """
    with drawing(ax, _WIDTH, 3.4) as axes:
        seen = np.array([[p.images_per_class, p.accuracy, *p.interval] for p in curve.points])
        last, believed = seen[-1, 0], curve.verdict != "unknown"
        _draw_points(axes, seen, COLORS["accent"], "measured, with 95 % interval")
        if curve.law is not None:
            # A little below an eighth: sizes are met as nearly as whole images allow.
            fitted = seen[seen[:, 0] >= 0.95 * last / _FITTED, 0]
            _draw_law(axes, curve.law, fitted[0], last, "-", "fitted law")
        if believed and curve.forecasts:
            ahead = np.array(
                [[f.images_per_class, f.accuracy, *f.interval] for f in curve.forecasts]
            )
            if curve.law is not None:
                _draw_law(axes, curve.law, last, ahead[-1, 0], (0, (4, 3)), "_")
            _draw_points(axes, ahead, COLORS["paper"], "forecast, with 95 % interval")
        axes.set_xscale("log")
        _plain_numbers(axes)
        axes.set_xlabel("training images a class")
        axes.set_ylabel("accuracy")
        axes.legend(loc="lower right")
    return axes


def _draw_law(
    axes: Axes, law: dict[str, float], start: float, end: float, dash: Any, words: str
) -> None:
    sizes = np.geomspace(start, end, 60)
    values = law["a"] - law["b"] * sizes ** -law["c"]
    axes.plot(sizes, values, color=COLORS["c1"], linestyle=dash, linewidth=1.5, label=words)


def _draw_points(axes: Axes, rows: Floats, fill: str, words: str) -> None:
    x, y, low, high = rows.T
    axes.vlines(x, low, high, colors=COLORS["accent"], linewidth=1.2, zorder=3)
    axes.plot(x, y, "o", color=COLORS["accent"], markerfacecolor=fill, markersize=5, zorder=4,
              label=words)  # fmt: skip


def _plain_numbers(axes: Axes) -> None:
    """Write 10, 20, 50, 100 on a logarithmic axis, in place of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def plot_training(curve: TrainingCurve, what: str = "accuracy", ax: Axes | None = None) -> Axes:
    """Draw accuracy or loss by epoch, of the training images and of those held back.

    Parameters
    ----------
    curve : TrainingCurve
    what : {"accuracy", "loss"}
    ax : Axes, optional

    Returns
    -------
    Axes
        A thin line is a fold; a thick one the mean, as far as all folds go.

    Raises
    ------
    ParameterError
        For another `what`.
    """
    from matplotlib.ticker import MaxNLocator

    if what not in ("accuracy", "loss"):
        raise ParameterError(f"what must be accuracy or loss; got {what!r}")
    with drawing(ax, _WIDTH, 3.4) as axes:
        _draw_folds(axes, getattr(curve, what), COLORS["c0"], "-", "training")
        held_back = getattr(curve, f"validation_{what}")
        _draw_folds(axes, held_back, COLORS["c1"], (0, (4, 1.5)), "validation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(what)
        axes.legend(loc="best")
    return axes


def _draw_folds(axes: Axes, values: Floats, color: str, dash: Any, words: str) -> None:
    values = np.atleast_2d(np.asarray(values, float))
    values = values[np.isfinite(values).any(axis=1)]
    if not len(values):
        return
    epochs = np.arange(1, values.shape[1] + 1)
    if len(values) > 1:
        words += f", mean of {len(values)} folds"
        for fold in values:
            axes.plot(epochs, fold, color=color, linestyle=dash, linewidth=0.8, alpha=0.4)
    # Where a fold has stopped, the mean of the others would jump.
    mean = values.mean(axis=0)
    marker = "o" if np.isfinite(mean).sum() < 2 else None
    axes.plot(epochs, mean, color=color, linestyle=dash, linewidth=2, marker=marker, label=words)


# ---- images as points


def plot_map(
    map: EmbeddingMap,  # noqa: A002
    labels: ArrayLike,
    ax: Axes | None = None,
    *,
    wrong: ArrayLike | None = None,
) -> Axes:
    """Draw images as points, each class in a colour and with a marker of its own.

    Parameters
    ----------
    map : EmbeddingMap
        Of n images.
    labels : array-like of shape (n,), str
    ax : Axes, optional
    wrong : array-like of shape (n,), bool, optional
        Images to put a ring around.

    Returns
    -------
    Axes
        In an SVG, the points of the k-th class, sorted, are in the group of id ``map-k``, in the
        order of the rows.

    Raises
    ------
    ParameterError
        For labels or marks of another length.
    """
    labels = np.asarray(labels)
    ringed = np.zeros(len(labels), bool) if wrong is None else np.asarray(wrong, bool)
    for name, array in (("labels", labels), ("wrong", ringed)):
        if array.shape != (len(map.points),):
            raise ParameterError(
                f"{name} must have shape ({len(map.points)},), one an image, got {array.shape}"
            )
    classes = np.unique(labels).tolist()
    with drawing(ax, _WIDTH, 4.3 + 0.17 * _legend_rows(len(classes))) as axes:
        for place, label in enumerate(classes):
            named = legend_label(str(label)) if place < _NAMED else "_"
            _draw_class(axes, map.points[labels == label], place, named, _dot(map))
        if ringed.any():
            x, y = map.points[ringed].T
            axes.scatter(x, y, s=3.2 * _dot(map), facecolors="none", edgecolors=COLORS["ink"],
                         linewidths=0.7, alpha=0.7, zorder=4, label="wrong")  # fmt: skip
        axes.set_aspect("equal", adjustable="datalim")
        axes.set(xticks=[], yticks=[])
        _name_axes(axes, map)
        title = f"{_NAMED} of {len(classes):,} classes" if len(classes) > _NAMED else None
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.05), title=title, alignment="left",
                    ncols=_LEGEND, borderaxespad=0, handletextpad=0.1, columnspacing=1)  # fmt: skip
    return axes


def _legend_rows(classes: int) -> int:
    return min(classes, _NAMED) // _LEGEND + 1 + (classes > _NAMED)


def _dot(drawn: EmbeddingMap) -> float:
    return 20 if len(drawn.points) < 2000 else 8


def _draw_class(axes: Axes, points: Floats, place: int, label: str, size: float) -> None:
    color = _CLASS_COLORS[place % len(_CLASS_COLORS)]
    # One marker further with each round of colours, so that 64 classes differ in one or both.
    marker = _MARKERS[(place + place // len(_CLASS_COLORS)) % len(_MARKERS)]
    x, y = points.T
    dots = axes.scatter(x, y, s=size, c=color, marker=marker, alpha=0.75, linewidths=0, zorder=3,
                        label=label)  # fmt: skip
    dots.set_gid(f"map-{place}")


def _name_axes(axes: Axes, drawn: EmbeddingMap) -> None:
    if drawn.explained is None:
        axes.set_xlabel("t-SNE: neighbours are alike; distances between groups mean nothing")
        return
    first, second = drawn.explained
    axes.set_xlabel(f"first principal axis, {first:.1%} of the variance".replace("%", " %"))
    axes.set_ylabel(f"second, {second:.1%}".replace("%", " %"))
