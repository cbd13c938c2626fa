"""Figures of learning curves (by the number of images) and of training curves (by epoch)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.reports.drawing.display import Display
from tlfeatures.reports.drawing.style import COLORS, WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tlfeatures.model_selection.learning_curve.results import LearningCurve
    from tlfeatures.model_selection.training_curve import TrainingCurve

Floats = NDArray[np.float64]

_FITTED = 8  # the law is fitted to sizes within this factor of the largest size


@dataclass(eq=False, repr=False)
class LearningCurveDisplay(Display):
    """Figure of a learning curve, with its forecast if the forecast is reliable.

    The law is drawn for the sizes that it was fitted to. The forecast is drawn unless the verdict
    is "unknown".

    Parameters
    ----------
    curve : LearningCurve

    Attributes
    ----------
    ax_, figure_
        See `plot`.
    """

    curve: LearningCurve

    @classmethod
    def from_learning_curve(cls, curve: LearningCurve, *, ax: Axes | None = None) -> Self:
        """Draw a learning curve.

        Parameters
        ----------
        curve : LearningCurve
            Result of `learning_curve`.
        ax : Axes, optional
            Axes to draw on. By default, a new figure is created.
        """
        return cls(curve).plot(ax)

    def _size(self) -> tuple[float, float]:
        return WIDTH, 3.4

    def _draw(self, axes: Axes) -> None:
        curve = self.curve
        seen = np.array(
            [
                [p.images_per_class, p.accuracy, *(p.interval or (np.nan, np.nan))]
                for p in curve.points
            ]
        )
        between = "" if np.isnan(seen[:, 2]).all() else ", with 95 % interval"
        last, believed = seen[-1, 0], curve.verdict != "unknown"
        _draw_points(axes, seen, COLORS["accent"], f"measured{between}")
        if curve.law is not None:
            # Sizes are rounded to whole images, so a size may be a little below an eighth.
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
        axes.set_xlabel("training images per class")
        axes.set_ylabel("accuracy")
        axes.legend(loc="lower right")


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
    """Label a logarithmic axis with 10, 20, 50, 100 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


@dataclass(eq=False, repr=False)
class TrainingCurveDisplay(Display):
    """Figure of accuracy or loss of training and validation images by epoch.

    A thin line is a fold. The thick line is the mean of the folds. It ends with the shortest fold.

    Parameters
    ----------
    curve : TrainingCurve
    what : {"accuracy", "loss"}

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Raises
    ------
    ParameterError
        If `what` has another value.
    """

    curve: TrainingCurve
    what: str = "accuracy"

    def __post_init__(self) -> None:
        if self.what not in ("accuracy", "loss"):
            raise ParameterError(f"what must be accuracy or loss; got {self.what!r}")

    @classmethod
    def from_training_curve(
        cls, curve: TrainingCurve, *, what: str = "accuracy", ax: Axes | None = None
    ) -> Self:
        """Draw a training curve.

        Parameters
        ----------
        curve : TrainingCurve
            Result of `training_curve`.
        what : {"accuracy", "loss"}
        ax : Axes, optional
            Axes to draw on. By default, a new figure is created.

        Raises
        ------
        ParameterError
            If `what` has another value.
        """
        return cls(curve, what).plot(ax)

    def _size(self) -> tuple[float, float]:
        return WIDTH, 3.4

    def _draw(self, axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        _draw_folds(axes, getattr(self.curve, self.what), COLORS["c0"], "-", "training")
        held_back = getattr(self.curve, f"validation_{self.what}")
        _draw_folds(axes, held_back, COLORS["c1"], (0, (4, 1.5)), "validation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(self.what)
        axes.legend(loc="best")


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
    # The mean is NaN after the end of the shortest fold, where it would jump otherwise.
    mean = values.mean(axis=0)
    marker = "o" if np.isfinite(mean).sum() < 2 else None
    axes.plot(epochs, mean, color=color, linestyle=dash, linewidth=2, marker=marker, label=words)
