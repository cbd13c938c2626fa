"""The ranking of heads and its verdict as text, for `fit` and `benchmark`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tlfeatures.names import chance, number
from tlfeatures.terminal.shared_lines import missing_lines
from tlfeatures.terminal.tables import filled, interval, score_words, table

if TYPE_CHECKING:
    from tlfeatures.benchmarking.comparison import Comparison, Rank

_MARK = (
    "*: the best head, or a head not significantly different from the best. No mark: significantly "
    "different from the best. ?: can't be tested against the best."
)
_SPREAD = "std of folds: standard deviation of the first score over the folds."
_SECONDS = "fit s: seconds to fit the head, mean over the folds."
_MARKS = {"best": "*", "not different": "*", "different": "", "untested": "?"}


def ranking_lines(comparison: Comparison) -> list[str]:
    """Give the table of heads, the reasons for what is missing, and the methods."""
    from tlfeatures.benchmarking.comparison import INTERVALS, WITHIN

    ranking, scoring = comparison.ranking, comparison.scoring
    notes = [f"{INTERVALS}."]
    if comparison.folds > 1:
        notes.append(_SPREAD)
    if len(ranking) > 1:
        notes += [f"{comparison.test_method}.", _MARK]
    if comparison.has_within:
        notes.append(f"{WITHIN}.")
    notes.append(_SECONDS)
    missing = missing_lines(_missing_of(ranking, scoring))
    return [_ranks(comparison), *missing, "", *map(filled, notes)]


def verdict_lines(comparison: Comparison) -> list[str]:
    """Give the sentences of the verdict, each on lines of its own."""
    return [filled(sentence) for sentence in comparison.verdict]


def _missing_of(ranking: list[Rank], scoring: str) -> Iterator[tuple[str, str, str | None]]:
    """Give head, score and reason of each score and each shown interval that is none."""
    for rank in ranking:
        for name in dict.fromkeys([scoring, *ranking[0].scores]):
            record = rank.scores.get(name)
            if record is None:
                yield (
                    rank.label,
                    score_words(name),
                    "it was not asked for when this head was tested",
                )
            elif record["score"] is None:
                yield rank.label, score_words(name), record["reason"]
            elif name == scoring and record["interval"] is None:
                yield rank.label, f"interval of {score_words(name)}", record["reason"]
            elif name == scoring and record["mean"] is None:
                yield rank.label, f"std of folds of {score_words(name)}", record["reason"]


def _ranks(comparison: Comparison) -> str:
    ranking, scoring = comparison.ranking, comparison.scoring
    names = list(dict.fromkeys([scoring, *ranking[0].scores]))
    embeddings = len({rank.embedding for rank in ranking}) > 1
    repeats = len({rank.repeats for rank in ranking}) > 1
    several, folds = len(ranking) > 1, comparison.folds > 1
    header = [
        *([""] if several else []),
        "head",
        *(["embedding"] if embeddings else []),
        f"{score_words(scoring)} [95 %]",
        *(["std of folds"] if folds else []),
        *map(score_words, names[1:]),
        *(["p"] if several else []),
        *(["within 1 point"] if comparison.has_within else []),
        *(["repeats"] if repeats else []),
        "fit s",
    ]
    rows = [
        [
            *([_MARKS[rank.standing]] if several else []),
            rank.label,
            *([rank.embedding] if embeddings else []),
            _with_interval(rank, scoring),
            *([_spread(rank, scoring)] if folds else []),
            *(_number(rank, name) for name in names[1:]),
            *([_p_value(rank)] if several else []),
            *([chance(rank.within)] if comparison.has_within else []),
            *([str(rank.repeats)] if repeats else []),
            f"{rank.fit_seconds:.2f}",
        ]
        for rank in ranking
    ]
    return table(header, rows, left=several + 1 + embeddings)


def _with_interval(rank: Rank, name: str) -> str:
    record = rank.scores[name]
    bounds = record["interval"]
    return number(record["score"]) + (f" {interval(bounds)}" if bounds else "")


def _spread(rank: Rank, name: str) -> str:
    return number(rank.scores[name]["std"])


def _number(rank: Rank, name: str) -> str:
    record = rank.scores.get(name)
    return number(None if record is None else record["score"])


def _p_value(rank: Rank) -> str:
    if rank.p is None:
        return "none" if rank.standing == "untested" else ""
    return "<0.001" if rank.p < 0.001 else number(rank.p)
