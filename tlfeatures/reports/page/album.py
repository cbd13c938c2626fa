"""The images that the page contains, with their labels and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.samples import MOST_IMAGES
from tlfeatures.reports.diagnostics import OutOfFold

GALLERY = 24  # images of a gallery


@dataclass(frozen=True)
class Album:
    """Images that the page's script can show: behind a cell of the matrix, or a point of the map.

    Attributes
    ----------
    ids : list of str
        First the images of the galleries, then mistakes, then a random sample of all others, and
        the images of the map.
    labels : list of str
    rows : list of int
        Rows of the predictions; -1 for an image that was never tested.
    """

    ids: list[str]
    labels: list[str]
    rows: list[int]

    @classmethod
    def of(cls, predictions: OutOfFold, mapped: Mapping[str, str]) -> Album:
        """Choose images; `mapped` has the images of the map with their labels."""
        mistakes = predictions.mistakes()
        first = [*mistakes[:GALLERY], *predictions.uncertain()[:GALLERY]]
        others = np.random.default_rng(0).permutation(len(predictions.ids))
        tested = dict(zip(predictions.ids.tolist(), range(len(predictions.ids)), strict=True))
        # Of many images, the others are those of the map, which are a random sample, too.
        if len(tested) > MOST_IMAGES:
            others = np.array([tested[id_] for id_ in mapped if id_ in tested] or others, int)
        chosen = dict.fromkeys([*first, *mistakes[: MOST_IMAGES // 2], *others])
        rows = {str(predictions.ids[row]): int(row) for row in list(chosen)[:MOST_IMAGES]}
        rows |= {id_: tested.get(id_, -1) for id_ in mapped if id_ not in rows}
        names = predictions.classes
        labels = [
            names[predictions.y[row]] if row >= 0 else mapped[id_] for id_, row in rows.items()
        ]
        return cls(list(rows), labels, list(rows.values()))

    def to_dict(self, predictions: OutOfFold, pictures: Mapping[str, str]) -> dict[str, Any]:
        """Give JSON-ready columns; a class is its position in `classes`."""
        code = {name: place for place, name in enumerate(predictions.classes)}
        given, confidence = predictions.given, predictions.confidence
        return {
            "classes": predictions.classes,
            "ids": self.ids,
            "label": [code[label] for label in self.labels],
            "predicted": [int(predictions.predicted[row]) if row >= 0 else -1 for row in self.rows],
            "given": [_rounded(given[row]) if row >= 0 else None for row in self.rows],
            "confidence": [_rounded(confidence[row]) if row >= 0 else None for row in self.rows],
            "pictures": [pictures.get(id_) for id_ in self.ids],
        }

    def places(self, ids: Sequence[str], labels: Sequence[str]) -> dict[str, list[int]]:
        """Return the positions in the album of the images that the map shows.

        The keys are the ids of the map's SVG groups. There is one group for each class.
        """
        place = {id_: number for number, id_ in enumerate(self.ids)}
        groups: dict[str, list[int]] = {f"map-{k}": [] for k in range(len(set(labels)))}
        code = {label: k for k, label in enumerate(sorted(set(labels)))}
        for id_, label in zip(ids, labels, strict=True):
            groups[f"map-{code[label]}"].append(place[id_])
        return groups


def gallery(
    predictions: OutOfFold, rows: NDArray[np.int_], pictures: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Give label, prediction and probabilities of the first images."""
    given, confidence = predictions.given, predictions.confidence
    return [
        {
            "id": str(predictions.ids[row]),
            "label": predictions.classes[predictions.y[row]],
            "predicted": predictions.classes[predictions.predicted[row]],
            "given": _rounded(given[row]),
            "confidence": _rounded(confidence[row]),
            "picture": pictures.get(str(predictions.ids[row])),
        }
        for row in rows[:GALLERY]
    ]


def _rounded(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None
