"""Which form of a head is used: the exact one, or the form for many training rows.

The form depends on the number of rows of the whole dataset only, never on that of a fold. So all
folds, the heads that are fitted for tuning, and the saved head have the same form on every machine.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

from tlfeatures.errors import ParameterError

MANY_ROWS = 20_000  # training rows from which heads have their forms for many rows

_PACKAGE = "tlfeatures.heads."
_MODULES = ("block_coordinates.", "classifiers.block_", "classifiers.calibrated_block_")
_LANDMARKS = "calibrated_landmark_svm."


def has_many_rows(rows: int, scale_from: int = MANY_ROWS) -> bool:
    """Return whether heads have their forms for many rows.

    Parameters
    ----------
    rows : int
        Number of training rows of the dataset: its images and their variants.
    scale_from : int
        Smallest number of training rows (images and their variants) for these forms.

    Raises
    ------
    ParameterError
        If `scale_from` is not a whole number from 0 up.
    """
    if not isinstance(scale_from, numbers.Integral) or scale_from < 0:
        raise ParameterError(f"scale_from must be a whole number from 0 up, got {scale_from!r}")
    return rows >= scale_from


def is_for_many_rows(classes: str) -> bool:
    """Return whether a head has its form for many rows, by its classes (see `class_path`)."""
    parts = [part.removeprefix(_PACKAGE) for part in classes.split(", ")]
    return any(part.startswith(_MODULES) for part in parts)


def form_sentence(heads: Mapping[str, tuple[str, Mapping[str, Any]]]) -> str | None:
    """Say which heads have their forms for many rows, and what is approximate.

    Parameters
    ----------
    heads : mapping of name to (classes, parameters)
        See `class_path` and `plain_params`.

    Returns
    -------
    str or None
        None if no head has such a form.
    """
    own = {name: head for name, head in heads.items() if is_for_many_rows(head[0])}
    if not own:
        return None
    differences = [text for name, head in own.items() if (text := _difference(name, *head))]
    what = f"; {' and '.join(differences)}" if differences else ""
    subject = "the heads" if len(own) == len(heads) > 1 else ", ".join(own)
    has = "has its form" if len(own) == 1 else "have their forms"
    return f"{subject} {has} for many training rows (see --scale-from){what}"


def _difference(name: str, classes: str, params: Mapping[str, Any]) -> str:
    if _LANDMARKS in classes:
        count = params.get("n_landmarks", 0)
        return f"{name} approximates its kernel by at most {count:,} landmarks (Nystroem)"
    if "calibrated_block_svm." in classes:
        return f"{name} has the squared hinge loss"
    return ""
