"""The ranking of heads and its verdict as text, for `fit` and `benchmark`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tlfeatures.names import chance, counted, missing_lines, number
from tlfeatures.terminal.groups_text import group_lines
from tlfeatures.terminal.tables import filled, score_words, spread, table

if TYPE_CHECKING:
    from tlfeatures.benchmarking.comparison import Comparison, Rank

_MOST_SENTENCES = 4  # of the verdict; the page has all
_INTERVAL = "[95 %]: of very many new images, the head would probably reach a score in this range."
_CORRECTED = "expect this on new images; the luck of being the best on these is left out."
_SPREAD = "std of folds: how much the first score differs between the folds (standard deviation)."
_MARK = (
    "*: the best head, or not significantly worse. p: probability of so large a difference by "
    "chance if all heads are equally good; it is significant if p is at most 0.05."
)
_UNTESTED = " ?: can't be tested."
_WITHIN = "within 1 point: probability that the head is at most 1 percentage point better or worse."
_MARKS = {"best": "*", "not different": "*", "different": "", "untested": "?"}


def ranking_lines(comparison: Comparison) -> list[str]:
    """Give the table of heads, the reasons for what is missing, and the methods."""
    ranking, scoring = comparison.ranking, comparison.scoring
    missing = missing_lines([*_missing_of_chosen(comparison), *_missing_of(ranking, scoring)])
    of = comparison.name_of(ranking[0]) if len(ranking) > 1 else ""
    groups = group_lines(comparison.group_scores, of)
    return [_ranks(comparison), *missing, *groups, *_notes(comparison)]


def _notes(comparison: Comparison) -> list[str]:
    """Explain the columns and rows of the table, each in a line or two."""
    from tlfeatures.heads.forms import form_sentence

    ranking, scoring = comparison.ranking, comparison.scoring
    corrected = comparison.corrected(scoring)
    notes = [_INTERVAL] if any(rank.scores[scoring]["interval"] for rank in ranking) else []
    if corrected is not None:
        notes.append(f"{corrected.title}: {_CORRECTED}")
    if comparison.folds > 1:
        notes.append(_SPREAD)
    if len(ranking) > 1:
        is_untested = any(rank.standing == "untested" for rank in ranking)
        notes.append(_MARK + (_UNTESTED if is_untested else ""))
    if comparison.has_within:
        notes.append(_WITHIN)
    form = form_sentence({rank.label: (rank.classifier, rank.params) for rank in ranking})
    if form is not None:
        notes.append(f"{form}.")
    return ["", *map(filled, notes)] if notes else []


def verdict_lines(comparison: Comparison) -> list[str]:
    """Give the cautions and the next four sentences of the verdict, each on lines of its own."""
    cautions = sum(sentence.startswith("Caution:") for sentence in comparison.verdict)
    most = cautions + _MOST_SENTENCES
    lines = [filled(sentence) for sentence in comparison.verdict[:most]]
    more = len(comparison.verdict) - most
    if more > 0:
        rest = counted(more, "more sentence")
        lines.append(filled(f"The verdict has {rest}: see --report PAGE.html or --json."))
    return lines


def _missing_of_chosen(comparison: Comparison) -> Iterator[tuple[str, str, str | None]]:
    """Give row, score and reason if the corrected score or its interval is none."""
    corrected = comparison.corrected(comparison.scoring)
    if corrected is not None and corrected.score is None:
        yield corrected.title, score_words(comparison.scoring), corrected.reason


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
            elif name == scoring:
                if record["interval"] is None and record["groups_range"] is None:
                    yield rank.label, f"interval of {score_words(name)}", record["reason"]
                if record["mean"] is None:
                    what = f"std of folds of {score_words(name)}"
                    yield rank.label, what, record["folds_reason"]


def _ranks(comparison: Comparison) -> str:
    ranking, scoring = comparison.ranking, comparison.scoring
    names = list(dict.fromkeys([scoring, *ranking[0].scores]))
    embeddings = len({rank.embedding for rank in ranking}) > 1
    repeats = len({rank.repeats for rank in ranking}) > 1
    several, folds = len(ranking) > 1, comparison.folds > 1
    few = any(rank.scores[scoring]["groups_range"] for rank in ranking)
    header = [
        *([""] if several else []),
        "head",
        *(["embedding"] if embeddings else []),
        score_words(scoring) + ("" if few else " [95 %]"),
        *(["std of folds"] if folds else []),
        *map(score_words, names[1:]),
        *(["p"] if several else []),
        *(["within 1 point"] if comparison.has_within else []),
        *(["repeats"] if repeats else []),
        "fit seconds",
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
    best = _best(comparison, names, embeddings=embeddings, repeats=repeats)
    return table(header, [*best, *rows], left=several + 1 + embeddings)


def _best(
    comparison: Comparison, names: list[str], *, embeddings: bool, repeats: bool
) -> list[list[str]]:
    """Give the row of the best head's corrected scores, if it was chosen among several."""
    ranking_score = comparison.corrected(comparison.scoring)
    if ranking_score is None:
        return []
    corrected = {name: comparison.corrected(name) for name in names}
    shown = [score and score.as_pooled() for score in corrected.values()]
    values = [number(score["score"]) if score else "" for score in shown]
    first = shown[0]
    if first and first["interval"]:
        values[0] += f" {spread(first)}"
    return [
        [
            "",
            ranking_score.title,
            *([""] if embeddings else []),
            values[0],
            *([""] if comparison.folds > 1 else []),
            *values[1:],
            "",  # no test
            *([""] if comparison.has_within else []),
            *([""] if repeats else []),
            "",
        ]
    ]


def _with_interval(rank: Rank, name: str) -> str:
    record = rank.scores[name]
    if record["groups_range"] is not None:
        return f"{number(record['score'])} ({spread(record)})"
    return number(record["score"]) + (f" {spread(record)}" if record["interval"] else "")


def _spread(rank: Rank, name: str) -> str:
    return number(rank.scores[name]["std"])


def _number(rank: Rank, name: str) -> str:
    record = rank.scores.get(name)
    return number(None if record is None else record["score"])


def _p_value(rank: Rank) -> str:
    if rank.p is None:
        return "none" if rank.standing == "untested" else ""
    return "<0.001" if rank.p < 0.001 else number(rank.p)
