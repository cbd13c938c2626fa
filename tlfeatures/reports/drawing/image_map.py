"""The figure of an embedding map: images as points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.names import percent
from tlfeatures.reports.drawing.display import Display
from tlfeatures.reports.drawing.style import CLASS_COLORS, COLORS, WIDTH, legend_label
from tlfeatures.reports.embedding_map import EmbeddingMap, sampled_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tlfeatures.dataset.dataset import Dataset

Floats = NDArray[np.float64]

_MARKERS = ["o", "^", "s", "D", "v", "P", "X", "p"]
_NAMED = 20  # maximum number of classes in a legend
_LONGEST = 19  # characters of a name in one of two columns; with few classes, one column has longer
_FEW = 8  # names


@dataclass(eq=False, repr=False)
class EmbeddingMapDisplay(Display):
    """Figure of an embedding map: images as points, each class with its own colour and marker.

    In an SVG, the group with the id ``map-k`` has the points of the k-th class (of the sorted
    classes), in the order of the rows.

    Parameters
    ----------
    map : EmbeddingMap
        Map of n images, see `tlfeatures.reports.diagnostics.embedding_map`.
    labels : array-like of shape (n,), str
        Class of each image.
    wrong : array-like of shape (n,), bool, optional
        Images that are marked with a ring, for example those that are predicted wrong.

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Raises
    ------
    ParameterError
        If `labels` or `wrong` has another length.
    """

    map: EmbeddingMap
    labels: ArrayLike
    wrong: ArrayLike | None = None

    def __post_init__(self) -> None:
        for name, array in (("labels", self.labels), ("wrong", self.wrong)):
            shape = None if array is None else np.shape(array)
            if shape not in (None, (len(self.map.points),)):
                raise ParameterError(
                    f"{name} must have shape ({len(self.map.points)},), one per image, got {shape}"
                )

    @classmethod
    def from_dataset(
        cls,
        data: Dataset,
        *,
        method: str = "pca",
        wrong: ArrayLike | None = None,
        random_state: int | None = 0,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the images of a dataset; of more than 5,000 images, a random sample.

        Parameters
        ----------
        data : Dataset
        method : {"pca", "tsne"}
            Method of the map, see `tlfeatures.reports.diagnostics.embedding_map`.
        wrong : array-like of shape (n,), bool, optional
            Images of the dataset that are marked with a ring.
        random_state : int or None
            Seed of the sample and of t-SNE.
        ax : Axes, optional
            Axes to draw on. By default, a new figure is created.

        Raises
        ------
        ParameterError
            If the method is unknown, there are fewer than 3 images, or `wrong` has another length.
        """
        rows, points = sampled_map(data.X, method, random_state)
        if wrong is not None and np.shape(wrong) != (len(data),):
            raise ParameterError(
                f"wrong must have shape ({len(data)},), one per image, got {np.shape(wrong)}"
            )
        ringed = None if wrong is None else np.asarray(wrong, bool)[rows]
        return cls(points, data.y[rows], ringed).plot(ax)

    def _size(self) -> tuple[float, float]:
        classes = np.unique(np.asarray(self.labels)).tolist()
        rows = min(len(classes), _NAMED) // _columns(classes) + 1 + (len(classes) > _NAMED)
        return WIDTH, 4.3 + 0.17 * rows

    def _draw(self, axes: Axes) -> None:
        drawn, labels = self.map, np.asarray(self.labels)
        classes = np.unique(labels).tolist()
        longest = _LONGEST if len(classes) > _FEW else 26
        for place, label in enumerate(classes):
            named = legend_label(str(label), longest) if place < _NAMED else "_"
            _draw_class(axes, drawn.points[labels == label], place, named, _dot(drawn))
        ringed = np.zeros(len(labels), bool) if self.wrong is None else np.asarray(self.wrong, bool)
        if ringed.any():
            x, y = drawn.points[ringed].T
            axes.scatter(x, y, s=3.2 * _dot(drawn), facecolors="none", edgecolors=COLORS["ink"],
                         linewidths=0.7, alpha=0.7, zorder=4, label="wrong")  # fmt: skip
        axes.set_aspect("equal", adjustable="datalim")
        axes.set(xticks=[], yticks=[])
        _name_axes(axes, drawn)
        title = f"{_NAMED} of {len(classes):,} classes" if len(classes) > _NAMED else None
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.05), title=title, alignment="left",
                    ncols=_columns(classes), borderaxespad=0, handletextpad=0.1,
                    columnspacing=1)  # fmt: skip


def _columns(classes: list[str]) -> int:
    """Return the number of columns of the legend."""
    return 1 if len(classes) <= _FEW and max(map(len, classes)) > _LONGEST else 2


def _dot(drawn: EmbeddingMap) -> float:
    return 20 if len(drawn.points) < 2000 else 8


def _draw_class(axes: Axes, points: Floats, place: int, label: str, size: float) -> None:
    color = CLASS_COLORS[place % len(CLASS_COLORS)]
    # The markers are shifted after each round of colours, so that 64 classes look different.
    marker = _MARKERS[(place + place // len(CLASS_COLORS)) % len(_MARKERS)]
    x, y = points.T
    dots = axes.scatter(x, y, s=size, c=color, marker=marker, alpha=0.75, linewidths=0, zorder=3,
                        label=label)  # fmt: skip
    dots.set_gid(f"map-{place}")


def _name_axes(axes: Axes, drawn: EmbeddingMap) -> None:
    if drawn.explained is None:
        axes.set_xlabel("t-SNE: neighbours are alike; distances between groups mean nothing")
        return
    first, second = drawn.explained
    axes.set_xlabel(f"first principal axis, {percent(first, 1)} of the variance")
    axes.set_ylabel(f"second, {percent(second, 1)}")
