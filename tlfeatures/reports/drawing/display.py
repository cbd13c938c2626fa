"""The base of the displays: figures of results, in the manner of scikit-learn's displays."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.out_of_fold import OutOfFold
from tlfeatures.reports.drawing.figure_files import figure_of, save_figure, to_png
from tlfeatures.reports.drawing.style import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tlfeatures.benchmarking.benchmark_result import Benchmark
    from tlfeatures.benchmarking.fit_result import FitResult
    from tlfeatures.model_selection.evaluation import Evaluation


class Display(ABC):
    """A figure of a result. The constructor draws nothing; `plot` and the `from_` methods draw.

    Without axes, `plot` creates a figure in the style of this package, which pyplot does not
    manage. A notebook shows it if the display is the last expression of a cell, or is given to
    `display`. Axes that are given keep their size and style, and are shown by their owner.

    Attributes
    ----------
    ax_ : Axes
        Axes that `plot` has drawn on.
    figure_ : Figure
        Figure of these axes.
    """

    ax_: Axes
    figure_: Figure
    _has_own_figure: bool

    @abstractmethod
    def _size(self) -> tuple[float, float]:
        """Return width and height of a new figure in inches."""

    @abstractmethod
    def _draw(self, axes: Axes) -> None:
        """Draw on these axes."""

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the figure.

        Parameters
        ----------
        ax : Axes, optional
            Axes to draw on. By default, a new figure is created.

        Returns
        -------
        Display
            The display itself, with the attributes `ax_` and `figure_`.

        Raises
        ------
        ParameterError
            If `ax` is something else, such as a figure.
        """
        _check_axes(ax)
        with drawing(ax, *self._size()) as axes:
            self._draw(axes)
        self.ax_, self.figure_ = axes, figure_of(axes)
        self._has_own_figure = ax is None
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the figure to a file, see `tlfeatures.reports.drawing.figure_files.save_figure`.

        Parameters
        ----------
        path : path
            File whose name ends in .png, .svg or .pdf.

        Raises
        ------
        ParameterError
            If the name has another ending, or the folder does not exist.
        OutputError
            If the file can't be written. An existing file is kept.
        """
        save_figure(self._plotted().ax_, path)

    def __repr__(self) -> str:
        """Name the display only; its data has arrays."""
        return f"<{type(self).__name__}>"

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        """Show the figure in a notebook. A figure of the user is shown by the notebook itself."""
        display = self._plotted()
        return to_png(display.figure_) if display._has_own_figure else None

    def _plotted(self) -> Self:
        return self if hasattr(self, "ax_") else self.plot()


def _check_axes(ax: object) -> None:
    from matplotlib.axes import Axes

    if ax is not None and not isinstance(ax, Axes):
        raise ParameterError(
            f"ax is of type {type(ax).__name__}; expected the axes of a figure, as in "
            "figure, ax = plt.subplots()"
        )


def predictions_in(result: Evaluation | Benchmark | FitResult | OutOfFold) -> OutOfFold:
    """Return the predictions of an evaluation, or of the best head of a benchmark.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    from tlfeatures.benchmarking.benchmark_result import Benchmark
    from tlfeatures.benchmarking.fit_result import FitResult
    from tlfeatures.model_selection.evaluation import Evaluation

    if isinstance(result, OutOfFold):
        return result
    if isinstance(result, FitResult):
        return result.benchmark.predictions_of()
    if isinstance(result, Benchmark):
        return result.predictions_of()
    if isinstance(result, Evaluation):
        return result.predictions
    raise ParameterError(
        f"the result is a {type(result).__name__}; expected an Evaluation, a Benchmark, a FitResult"
        " or the predictions of one head"
    )
