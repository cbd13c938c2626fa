"""Ranking heads by their pooled scores, with intervals and tests against the best head."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tlfeatures.benchmarking.backbones import backbones_of, rank_backbones
from tlfeatures.benchmarking.comparison import Comparison, LargestClass, Rank
from tlfeatures.benchmarking.control import Control
from tlfeatures.benchmarking.entries import Entry, groups_of, series_of
from tlfeatures.benchmarking.head_labels import embedding_labels, head_labels
from tlfeatures.benchmarking.study import Study
from tlfeatures.benchmarking.verdict.write import write_verdict
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.against_best import (
    FoldScores,
    Outcome,
    by_images,
    compare_folds,
    compare_images,
)
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, HeadPredictions
from tlfeatures.metrics.chosen import chosen_scores
from tlfeatures.metrics.score_records import PooledScore, Score, score_record
from tlfeatures.metrics.scores import finite_or_none, less_is_better

Scores = dict[str, Score]

_NOT_SCORED = "another repeat of the benchmark was computed without this score"


def compare(
    entries: Sequence[Entry],
    study: Study,
    scoring: str,
    scorer: BootstrapScorer,
    controls: Callable[[Comparison], list[Control]] | None = None,
) -> Comparison:
    """Rank the entries of a study, with an interval and a test against the best for each head.

    Parameters
    ----------
    entries : sequence of Entry
        All repeats of all heads.
    study : Study
    scoring : str
        Name of the score that ranks the heads.
    scorer : BootstrapScorer
        Scorer of the tested images. It scores all heads on the same resamples.
    controls : callable, optional
        Returns the controls of a ranking.

    Returns
    -------
    Comparison

    Raises
    ------
    ParameterError
        If no entry has a value of the score.
    """
    series = _series([entry for entry in entries if scoring in entry.facts["scores"]])
    scored = {key: _scores(repeats, scorer) for key, repeats in series.items()}
    if all(scores[scoring]["score"] is None for scores in scored.values()):
        raise nothing_ranks(scoring, (scores[scoring]["reason"] for scores in scored.values()))
    keys = sorted(series, key=lambda key: _sort_value(scored[key], scoring), reverse=True)
    ranked, scores = [series[key] for key in keys], [scored[key] for key in keys]
    folds: int = study.facts["folds"]
    outcomes, detectable = _tests(ranked, scores, scoring, folds, scorer)
    facts = [entries[0].facts for entries in ranked]
    backbones = backbones_of(facts, study.facts["files"])
    labels = head_labels(ranked, backbones), embedding_labels(facts, backbones)
    columns = zip(ranked, *labels, scores, outcomes, strict=True)
    ranking = [
        _rank(*column, standing=column[-1].standing(first=place == 0))
        for place, column in enumerate(columns)
    ]
    largest = LargestClass.of(scorer.codes, scorer.classes, scorer.units)
    comparison = Comparison(
        scoring,
        ranking,
        finite_or_none(detectable),
        [],
        folds,
        largest,
        rank_backbones(backbones, facts, study.facts["files"]),
        chosen=chosen_scores([_predictions(each) for each in ranked], scores, scoring, scorer),
        group_scores=groups_of(ranked[0], study),
    )
    if controls is not None:
        comparison = replace(comparison, controls=controls(comparison))
    return replace(comparison, verdict=write_verdict(comparison, scorer))


def nothing_ranks(scoring: str, reasons: Iterable[str | None]) -> ParameterError:
    """Return the error for a score that is not defined for any head.

    Parameters
    ----------
    scoring : str
        Name of the score.
    reasons : iterable of str or None
        Why the score is not defined, for each head.
    """
    why = "; ".join(sorted(set(filter(None, reasons))))
    return ParameterError(
        f"{scoring} is not defined for any of the heads on these images{f' ({why})' if why else ''}"
        "; rank the heads by another score, for example with --scoring accuracy"
    )


def _series(entries: Sequence[Entry]) -> dict[tuple[Any, ...], list[Entry]]:
    """Group the entries that differ only in the repeat, in the order of repeats."""
    series: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.facts["repeat"]):
        series.setdefault(series_of(entry), []).append(entry)
    return series


# ---- scores and intervals


def _predictions(entries: Sequence[Entry]) -> list[HeadPredictions]:
    return [HeadPredictions(entry.predicted, entry.probabilities) for entry in entries]


def _scores(entries: list[Entry], scorer: BootstrapScorer) -> Scores:
    """Return the scores of one entry, or the pooled scores of several repeats."""
    own: Scores = entries[0].facts["scores"]
    if len(entries) == 1:
        return own
    pooled = scorer.score(_predictions(entries))
    return {name: _score_of_repeats(entries, name, pooled.get(name)) for name in own}


def _score_of_repeats(entries: list[Entry], name: str, pooled: PooledScore | None) -> Score:
    records = [entry.facts["scores"].get(name) for entry in entries]
    defined = [record for record in records if record is not None]
    folds = [value for record in defined for value in record["folds"]]
    if pooled is None and len(defined) < len(records):
        return score_record([None], reason=_NOT_SCORED)
    reasons = (record["folds_reason"] for record in defined if record["mean"] is None)
    return score_record(folds, pooled, next(reasons, None))


# ---- tests and ranks


def _tests(
    ranked: list[list[Entry]],
    scores: list[Scores],
    scoring: str,
    folds: int,
    scorer: BootstrapScorer,
) -> tuple[list[Outcome], float]:
    """Test all heads against the best; return the outcomes and the detectable difference."""
    if folds > 1 and not by_images(scoring, scorer.units):
        fold_scores = [[_fold_scores(entry, scoring) for entry in repeats] for repeats in ranked]
        return compare_folds(fold_scores, scores[0][scoring], scoring)
    predictions = [_predictions(repeats) for repeats in ranked]
    own = [by_name[scoring] for by_name in scores]
    shared = folds * ranked[0][0].facts["test_fraction"] if folds > 1 else 0.0
    return compare_images(predictions, own, scoring, scorer, shared=shared)


def _fold_scores(entry: Entry, scoring: str) -> FoldScores:
    record: Score = entry.facts["scores"][scoring]
    return FoldScores(
        entry.facts["repeat"],
        np.array(record["folds"], np.float64),  # NumPy turns None into NaN
        entry.facts["test_fraction"],
        record["reason"],
    )


def _sort_value(scores: Scores, scoring: str) -> float:
    """Return a number that is larger for a better head; for log loss, smaller values are better."""
    value: float | None = scores[scoring]["score"]
    if value is None:
        return -math.inf
    return -value if less_is_better(scoring) else value


def _rank(
    entries: list[Entry],
    label: str,
    embedding: str,
    scores: Scores,
    outcome: Outcome,
    standing: str,
) -> Rank:
    facts = entries[0].facts
    return Rank(
        head=facts["head"],
        classifier=facts["classifier"],
        embedding=embedding,
        label=label,
        tuned=facts["tuned"],
        params=facts["params"],
        repeats=len(entries),
        scores=scores,
        fit_seconds=float(np.mean([entry.facts["fit_seconds"] for entry in entries])),
        difference=finite_or_none(outcome.difference),
        p=finite_or_none(outcome.p),
        difference_interval=None if outcome.interval is None else list(outcome.interval),
        best=standing in ("best", "not different"),
        keys=[entry.facts["key"] for entry in entries],
        standing=standing,
        reason=outcome.reason,
        within=finite_or_none(outcome.within),
        worse=finite_or_none(outcome.worse),
    )
