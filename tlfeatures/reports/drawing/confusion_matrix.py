"""The figure of a confusion matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tlfeatures.dataset.from_arrays import check_same_index, names_of_rows
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.confusion import Confusion, confusion, count_pairs
from tlfeatures.metrics.out_of_fold import OutOfFold
from tlfeatures.names import percent, shortened
from tlfeatures.reports.drawing.cells import (
    COLOR_MAP,
    MOST_CELLS,
    draw_cells,
    draw_scale,
    name_cells,
    room_for,
    write_cells,
)
from tlfeatures.reports.drawing.display import Display, predictions_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tlfeatures.benchmarking.benchmark_result import Benchmark
    from tlfeatures.benchmarking.fit_result import FitResult
    from tlfeatures.model_selection.evaluation import Evaluation


@dataclass(eq=False, repr=False)
class ConfusionDisplay(Display):
    """Figure of a confusion matrix.

    The colour of a cell is the share of the true class. With up to 12 classes, cells that are not 0
    show the number of images and the share. With more classes, there is a colour scale.

    Parameters
    ----------
    confusion : Confusion
        Numbers of images, see `tlfeatures.reports.diagnostics.confusion`.

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> ConfusionDisplay.from_evaluation(cross_validate("logreg", data))  # doctest: +SKIP
    >>> ConfusionDisplay.from_predictions(["a", "b", "b"], ["a", "b", "a"]).figure_.savefig(
    ...     "confusion.png"
    ... )  # doctest: +SKIP
    """

    confusion: Confusion

    @classmethod
    def from_evaluation(
        cls, evaluation: Evaluation | Benchmark | FitResult | OutOfFold, *, ax: Axes | None = None
    ) -> Self:
        """Draw the confusion matrix of an evaluation.

        Parameters
        ----------
        evaluation : Evaluation, Benchmark, FitResult or OutOfFold
            Of a benchmark, the best head is drawn; `Benchmark.predictions_of` gives the predictions
            of another head.
        ax : Axes, optional
            Axes to draw on. By default, a new figure is created.
        """
        return cls(confusion(predictions_in(evaluation))).plot(ax)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        labels: Sequence[Any] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the confusion matrix of labels and predicted labels.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n,)
            Labels, and predicted labels: texts or whole numbers, which are converted to texts.
        labels : sequence, optional
            Names of the classes, in the order of rows and columns. By default, all names in
            `y_true` and `y_pred`, sorted.
        ax : Axes, optional
            Axes to draw on. By default, a new figure is created.

        Raises
        ------
        ParameterError
            If the arrays have different lengths, are empty or lack a value, or a name is not in
            `labels`, or twice.
        """
        check_same_index(y_true, y_pred, "y_true and y_pred")
        shapes = np.shape(y_true), np.shape(y_pred)
        if shapes[0] != shapes[1] or len(shapes[0]) != 1 or not shapes[0][0]:
            raise ParameterError(
                f"y_true has the shape {shapes[0]} and y_pred {shapes[1]}; expected one label and "
                "one predicted label for each image"
            )
        true = names_of_rows(y_true, "y_true", *shapes[0])
        predicted = names_of_rows(y_pred, "y_pred", *shapes[0])
        names = sorted({*true, *predicted}) if labels is None else _names_in(labels)
        unknown = sorted({*true, *predicted} - set(names))
        if unknown:
            raise ParameterError(f"labels lacks {unknown[0]!r}, which y_true or y_pred has")
        place = {name: code for code, name in enumerate(names)}
        codes = [np.array([place[name] for name in each], int) for each in (true, predicted)]
        return cls(count_pairs(names, *codes)).plot(ax)

    def _size(self) -> tuple[float, float]:
        k = len(self.confusion.classes)
        side, scale = (max(0.52 * k, 1.6), 0) if k <= MOST_CELLS else (5.4, 0.8)
        room = room_for([shortened(name) for name in self.confusion.classes])
        return side + 0.6 + room + scale, side + 0.6 + 0.7 * room

    def _draw(self, axes: Axes) -> None:
        classes, rates = self.confusion.classes, self.confusion.rates
        mesh = draw_cells(axes, rates, COLOR_MAP, 0, 1)
        if len(classes) <= MOST_CELLS:
            texts = [
                [f"{count:,}\n{percent(rate)}" if count else ""
                 for count, rate in zip(*row, strict=True)]
                for row in zip(self.confusion.counts, rates, strict=True)
            ]  # fmt: skip
            write_cells(axes, mesh, rates, texts, 9 if len(classes) <= 8 else 8)
        else:
            draw_scale(axes, mesh, "share of the true class")
        axes.set_aspect("equal")
        name_cells(axes, "x", classes)
        name_cells(axes, "y", classes)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")


def _names_in(labels: Sequence[str]) -> list[str]:
    names = names_of_rows(labels, "labels", np.size(labels))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ParameterError(f"labels has {twice[0]!r} twice; expected each class once")
    return names
