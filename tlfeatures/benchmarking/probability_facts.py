"""How the probabilities of a benchmarked head are calibrated, and how good they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tlfeatures.benchmarking.comparison import Rank
from tlfeatures.benchmarking.entries import Entry
from tlfeatures.heads.calibration_methods import calibration_method
from tlfeatures.metrics.out_of_fold import OutOfFold
from tlfeatures.metrics.reliability import reliability
from tlfeatures.models.probabilities import Probabilities


def probability_facts(
    rank: Rank, entry: Entry, predictions: OutOfFold, saved_on: int | None
) -> Probabilities | None:
    """Return how the probabilities of a head are calibrated, and how good they are.

    Parameters
    ----------
    rank : Rank
    entry : Entry
        An entry of the rank.
    predictions : OutOfFold
        Predictions of the entry.
    saved_on : int or None
        Number of images that the saved head is fitted on.

    Returns
    -------
    Probabilities, or None if the head gives no probabilities
    """
    if not predictions.has_probabilities:
        return None
    method = calibration_method(rank.classifier, rank.params, len(predictions.classes))
    score = entry.facts["scores"].get("log_loss")
    found = Probabilities(
        method=method,
        fold_images=None,
        images=None,
        log_loss=None if score is None else score["score"],
        calibration_error=reliability(predictions).error,
    )
    if method is None:
        return found
    tested = len(predictions.y) / len(np.unique(predictions.fold))  # in each fold
    return replace(found, fold_images=round(tested / entry.facts["test_fraction"]), images=saved_on)
