"""Finding probable label errors by confident learning."""

from __future__ import annotations

import logging
import warnings

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.metrics.scores import Floats
from tlfeatures.model_selection.audit.results import Finding, finding_of

logger = logging.getLogger(__name__)


def find_label_errors(data: Dataset, probabilities: Floats) -> dict[int, Finding]:
    """Find probable label errors. The suggested class is the most probable class.

    Parameters
    ----------
    data : Dataset
    probabilities : ndarray of shape (n, k)
        Out-of-fold probabilities.

    Returns
    -------
    dict of row to Finding
    """
    classes = np.array(data.classes)
    rows = np.flatnonzero(~np.isin(data.y, _classes_of_one_group(data)))
    table, given = probabilities[rows], np.searchsorted(classes, data.y[rows])
    if len(np.unique(given)) < 2:
        return {}
    suggested, (wrong, quality) = table.argmax(axis=1), _issues(given, table)
    findings = {}
    for place in np.flatnonzero(wrong & (suggested != given)).tolist():
        p_given, p_other = table[place, given[place]], table[place, suggested[place]]
        other = str(classes[suggested[place]])
        row = int(rows[place])
        reason = (
            f"labelled {data.y[row]} (probability {p_given:.2f}), more probably {other} "
            f"({p_other:.2f})"
        )
        findings[row] = finding_of("label", data, row, other, 1 - float(quality[place]), reason)
    return findings


def _classes_of_one_group(data: Dataset) -> list[str]:
    """Return the classes whose images are all of one group.

    A fold either trains on such a class or tests it. So no head learns it and is tested on it.
    """
    if data.together is None:
        return []
    names = [name for name in data.classes if len(set(data.together[data.y == name])) == 1]
    if names:
        logger.warning(
            "all images of %s are of one group, so no head can be trained on other images of this "
            "class: no label errors are searched among them",
            ", ".join(names),
        )
    return names


def _issues(given: NDArray[np.int_], table: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Return whether each label is an issue for cleanlab, and the label's quality from 0 to 1."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cleanlab warns about classes with few images
        wrong = find_label_issues(
            given, table, filter_by="confident_learning", n_jobs=1, verbose=False
        )
        return wrong, get_label_quality_scores(given, table, method="normalized_margin")
