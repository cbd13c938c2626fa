"""Targets of operating points, and how many images they need."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.conformal import units_needed

Bools = NDArray[np.bool_]
Groups = NDArray[np.int64] | NDArray[np.str_]

SHARES = ("recall", "precision", "specificity")
_EXPECTED = (
    "recall=0.95, precision=0.9, specificity=0.99, or cost=10:1 (cost of a missed image : cost of "
    "a false alarm)"
)


@dataclass(frozen=True)
class Target:
    """What an operating point is chosen for.

    Attributes
    ----------
    name : {"recall", "precision", "specificity", "cost"}
    value : float
        Least value of the score, between 0 and 1; for `cost`, the cost of a missed image divided by
        the cost of a false alarm.
    text : str
        The target as the user wrote it, without spaces.
    """

    name: str
    value: float
    text: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read a target such as `recall=0.95` or `cost=10:1`.

        Raises
        ------
        ParameterError
            If the text has another form, or its numbers are out of range.
        """
        plain = "".join(text.split()) if isinstance(text, str) else ""
        name, _, given = plain.partition("=")
        parts = [_number(part) for part in given.split(":")]
        if name in SHARES and len(parts) == 1 and 0 < parts[0] < 1:
            return cls(name, parts[0], plain)
        if name == "cost" and len(parts) == 2 and all(0 < part < math.inf for part in parts):
            return cls(name, parts[0] / parts[1], plain)
        between = " The value must be between 0 and 1, without both." if name in SHARES else ""
        raise ParameterError(f"--at is {text!r}; expected {_EXPECTED}.{between}")

    @property
    def fewest(self) -> int:
        """Number of independent images (or groups) that the target needs at least.

        These are positive images for recall, negative images for specificity, and images labelled
        positive for precision.
        """
        if self.name == "cost":
            return 1
        return units_needed(self.value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def check_enough(target: Target, positive: Bools, groups: Groups | None, name: str) -> None:
    """Check that there are enough images for a target.

    Parameters
    ----------
    target : Target
    positive : ndarray of shape (n,), bool
        Whether each image is of the positive class.
    groups : ndarray of shape (n,) or None
        Group of each image. Images of a group are not independent.
    name : str
        Name of the positive class, for the message.

    Raises
    ------
    ParameterError
        If there are too few images, or groups of them.
    """
    negative = target.name == "specificity"
    rows = ~positive if negative else positive
    units = count_units(rows, groups)
    if units < target.fewest:
        of = f"of other classes than {name}" if negative else f"of {name}"
        noun = "images" if groups is None else "groups of images"
        raise ParameterError(
            f"{target.text} needs {target.fewest:,} {noun} {of} that are tested, and there "
            f"{'is' if units == 1 else 'are'} {units:,}; add images or choose a target that is "
            "further from 1"
        )


def count_units(rows: Bools, groups: Groups | None) -> int:
    """Count the independent images among some rows: the groups, if there are groups."""
    return int(rows.sum()) if groups is None else len(np.unique(groups[rows]))
