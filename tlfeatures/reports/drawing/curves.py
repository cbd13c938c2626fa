"""Figures of probabilities: ROC curves, precision-recall curves, reliability diagrams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tlfeatures.metrics.out_of_fold import OutOfFold
from tlfeatures.metrics.reliability import Reliability, reliability
from tlfeatures.reports.drawing.display import Display, predictions_in
from tlfeatures.reports.drawing.style import CLASS_COLORS, COLORS, WIDTH, legend_label
from tlfeatures.reports.threshold_curves import Curve, Curves, precision_recall, roc

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tlfeatures.benchmarking.benchmark_result import Benchmark
    from tlfeatures.benchmarking.fit_result import FitResult
    from tlfeatures.model_selection.evaluation import Evaluation

_LINES = 8  # maximum number of classes in a figure of curves

REFERENCE_LINE: dict[str, Any] = {
    "color": COLORS["muted"],
    "linewidth": 0.9,
    "linestyle": (0, (4, 3)),
}


@dataclass(eq=False, repr=False)
class RocDisplay(Display):
    """Figure of ROC curves with their areas.

    Parameters
    ----------
    curves : tuple of Curve
        Result of `tlfeatures.reports.diagnostics.roc`. If there are more than 8 curves, the 8
        curves with the smallest areas are drawn.

    Attributes
    ----------
    ax_, figure_
        See `plot`.
    """

    curves: Curves

    @classmethod
    def from_evaluation(
        cls, evaluation: Evaluation | Benchmark | FitResult | OutOfFold, *, ax: Axes | None = None
    ) -> Self:
        """Draw the ROC curves of an evaluation.

        Parameters
        ----------
        evaluation, ax
            See `ConfusionDisplay.from_evaluation`.

        Raises
        ------
        ParameterError
            If the head gives no probabilities.
        """
        return cls(roc(predictions_in(evaluation))).plot(ax)

    def _size(self) -> tuple[float, float]:
        return _curves_size(self.curves)

    def _draw(self, axes: Axes) -> None:
        for place, curve in enumerate(_worst(self.curves)):
            axes.plot(curve.x, curve.y, **_line(place), label=_with_area(curve), zorder=3)
        axes.plot([0, 1], [0, 1], **REFERENCE_LINE, label="chance")
        _unit_square(axes)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        _name_curves(axes, self.curves, "area", "lower right")


@dataclass(eq=False, repr=False)
class PrecisionRecallDisplay(Display):
    """Figure of precision-recall curves with their average precisions.

    The chance level is the share of positives. It is a band if it differs between classes.

    Parameters
    ----------
    curves : tuple of Curve
        Result of `tlfeatures.reports.diagnostics.precision_recall`. If there are more than 8
        curves, the 8 curves with the smallest average precisions are drawn.

    Attributes
    ----------
    ax_, figure_
        See `plot`.
    """

    curves: Curves

    @classmethod
    def from_evaluation(
        cls, evaluation: Evaluation | Benchmark | FitResult | OutOfFold, *, ax: Axes | None = None
    ) -> Self:
        """Draw the precision-recall curves of an evaluation.

        Parameters
        ----------
        evaluation, ax
            See `ConfusionDisplay.from_evaluation`.

        Raises
        ------
        ParameterError
            If the head gives no probabilities.
        """
        return cls(precision_recall(predictions_in(evaluation))).plot(ax)

    def _size(self) -> tuple[float, float]:
        return _curves_size(self.curves)

    def _draw(self, axes: Axes) -> None:
        worst = _worst(self.curves)
        for place, curve in enumerate(worst):
            axes.plot(curve.x, curve.y, **_line(place), label=_with_area(curve), zorder=3,
                      drawstyle="steps-pre")  # fmt: skip
        if worst:
            _draw_shares(axes, [c.positives / (c.positives + c.negatives) for c in worst])
        _unit_square(axes)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        _name_curves(axes, self.curves, "average precision", "lower left")


@dataclass(eq=False, repr=False)
class ReliabilityDisplay(Display):
    """Figure of reliability: the share of right predictions against their probability.

    If dots are below the diagonal, the probabilities are too high. The bars at the bottom show the
    numbers of images.

    Parameters
    ----------
    reliability : Reliability
        Result of `tlfeatures.reports.diagnostics.reliability`.

    Attributes
    ----------
    ax_, figure_
        See `plot`.
    """

    reliability: Reliability

    @classmethod
    def from_evaluation(
        cls,
        evaluation: Evaluation | Benchmark | FitResult | OutOfFold,
        *,
        bins: int = 10,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the reliability of an evaluation.

        Parameters
        ----------
        evaluation, ax
            See `ConfusionDisplay.from_evaluation`.
        bins : int
            Number of bins of the probability.

        Raises
        ------
        ParameterError
            If the head gives no probabilities, or bins is below 1.
        """
        return cls(reliability(predictions_in(evaluation), bins)).plot(ax)

    def _size(self) -> tuple[float, float]:
        return WIDTH, 4.3

    def _draw(self, axes: Axes) -> None:
        found = self.reliability
        low, high = found.edges[:, 0], found.edges[:, 1]
        most = int(found.counts.max())
        axes.bar(
            low, 0.12 * found.counts / most, 0.94 * (high - low), align="edge", zorder=1,
            color=COLORS["muted"], alpha=0.35, linewidth=0, label=f"up to {most:,} images",
        )  # fmt: skip
        axes.plot([0, 1], [0, 1], **REFERENCE_LINE, label="perfectly calibrated")
        x, y = found.confidence, found.right
        bottom, top = found.intervals.T
        axes.vlines(x, bottom, top, colors=COLORS["accent"], linewidth=1.2)
        axes.plot(x, y, "o-", color=COLORS["accent"], markersize=4.5, linewidth=1,
                  label="seen, with 95 % interval")  # fmt: skip
        axes.set(xlim=(float(low.min()) - 0.02, 1.01), ylim=(0, 1.01))
        axes.set_xlabel("probability of the most probable class")
        axes.set_ylabel("share of images that are of it")
        title = f"expected calibration error {found.error:.3f}"
        # The legend is below the axes, where it covers nothing.
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.13), title=title, alignment="left",
                    ncols=2, columnspacing=1)  # fmt: skip


def _draw_shares(axes: Axes, shares: list[float]) -> None:
    low, high = min(shares), max(shares)
    if high - low < 0.005:
        axes.axhline(low, **REFERENCE_LINE, label="chance")
    else:
        axes.axhspan(low, high, color=COLORS["muted"], alpha=0.3, linewidth=0, label="chance")


def _worst(curves: Curves) -> list[Curve]:
    """Return all curves; if there are many, the curves with the smallest areas, sorted by area."""
    if len(curves) <= _LINES:
        return list(curves)
    return sorted(curves, key=lambda curve: curve.area)[:_LINES]


def _line(place: int) -> dict[str, Any]:
    """Return the style of a line. From the fifth line on, lines are dashed."""
    dash = "-" if place < 4 else (0, (5, 1.2))
    return {"color": CLASS_COLORS[place], "linewidth": 1.5, "linestyle": dash}


def _with_area(curve: Curve) -> str:
    return f"{legend_label(curve.label)}  {curve.area:.3f}"


def _curves_size(curves: Curves) -> tuple[float, float]:
    named = min(len(curves), _LINES) if len(curves) > 3 else 0
    return WIDTH, 4.3 + (0.4 if named else 0) + 0.17 * named


def _name_curves(axes: Axes, curves: Curves, area: str, corner: str) -> None:
    """Draw the legend: for up to three curves in a free corner, for more below the axes."""
    title = f"class, {area}"
    if len(curves) > _LINES:
        title = f"{_LINES} of {len(curves):,} classes, smallest {area}"
    where: dict[str, Any] = {"loc": corner}
    if len(curves) > 3:
        where = {"loc": "upper left", "bbox_to_anchor": (0, -0.14)}
    if axes.has_data():
        axes.legend(title=title, alignment="left", **where)


def _unit_square(axes: Axes) -> None:
    # Limits of 0 and 1 would cut off half of a line at the border.
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
