"""How a ranking of heads is shown in a notebook."""

from __future__ import annotations

from collections.abc import Sequence

from tlfeatures.benchmarking.comparison import CORRECTED, WITHIN, Comparison, Rank
from tlfeatures.html_tables import MOST_ROWS, Cell, table_html, text_html
from tlfeatures.metrics.score_records import PooledScore, spread_text
from tlfeatures.metrics.scores import bounds_text, score_text, score_title
from tlfeatures.model_selection.evaluation_html import group_table
from tlfeatures.names import SURELY, chance

_MARKS = {"best": "● ", "not different": "● ", "different": "○ ", "untested": "? "}
_LEGEND = (
    "●: the best, or not significantly different from the best. ○: significantly different from "
    "the best. ?: can't be tested."
)


def ranking_parts(comparison: Comparison) -> list[str]:
    """Return the verdict and the table of heads, best first."""
    ranking = comparison.ranking
    tested = len(ranking) > 1
    within = comparison.has_within
    several = len({rank.embedding for rank in ranking}) > 1
    names = list(dict.fromkeys([comparison.scoring, *(n for rank in ranking for n in rank.scores)]))
    header = [
        "head",
        *(["embedding"] if several else []),
        *map(score_title, names),
        *(["p"] if tested else []),
        *(["within 1 point"] if within else []),
        "fit seconds",
    ]
    rows = [
        _row(rank, names, several=several, tested=tested, within=within)
        for rank in ranking[:MOST_ROWS]
    ]
    corrected = comparison.corrected(comparison.scoring)
    best = _best(comparison, names, several=several, within=within)
    table = table_html(
        header,
        [*best, *rows],
        caption="Heads and their scores over all tested images"
        + (", with 95 % intervals" if any_interval(ranking) else ""),
        total=len(best) + len(ranking),
    )
    return [
        *map(text_html, comparison.verdict),
        table,
        text_html(f"{corrected.title}: {CORRECTED}." if corrected else "", "note"),
        group_table(comparison.group_scores),
        text_html(_LEGEND if tested else "", "note"),
        text_html(f"{WITHIN}." if within else "", "note"),
        *_controls(comparison),
    ]


def _controls(comparison: Comparison) -> list[str]:
    """Return the table of controls, without those that were not computed."""
    shown = [control for control in comparison.controls if control.score is not None]
    rows: list[list[Cell]] = [
        [
            control.name,
            (
                score_text("accuracy", control.score) or "",
                bounds_text("accuracy", control.interval),
            ),
            SURELY[control.beaten],
        ]
        for control in shown
    ]
    caption = "Controls: simple rules on the same folds, which the best head must beat"
    header = ["control", score_title("accuracy"), "best head is better"]
    return [table_html(header, rows, caption=caption)] if rows else []


def _best(
    comparison: Comparison, names: Sequence[str], *, several: bool, within: bool
) -> list[list[Cell]]:
    """Return the row of the best head's corrected scores, if it was chosen among several."""
    ranking_score = comparison.corrected(comparison.scoring)
    if ranking_score is None:
        return []
    corrected = [comparison.corrected(name) for name in names]
    cells: list[Cell] = [
        None if score is None else _value(name, score.as_pooled())
        for name, score in zip(names, corrected, strict=True)
    ]
    return [
        [
            ranking_score.title,
            *([None] if several else []),
            *cells,
            None,
            *([None] if within else []),
            None,
        ]
    ]


def any_interval(ranking: Sequence[Rank]) -> bool:
    """Whether a score of the heads has an interval; with a few groups, none has."""
    return any(score["interval"] for rank in ranking for score in rank.scores.values())


def _row(
    rank: Rank, names: Sequence[str], *, several: bool, tested: bool, within: bool
) -> list[Cell]:
    mark = _MARKS[rank.standing] if tested else ""
    return [
        mark + rank.label,
        *([rank.embedding] if several else []),
        *(_score(rank, name) for name in names),
        *([_p_value(rank)] if tested else []),
        *([chance(rank.within)] if within else []),
        f"{rank.fit_seconds:.2f}",
    ]


def _score(rank: Rank, name: str) -> Cell:
    record = rank.scores.get(name)
    if record is None:
        return None
    return _value(name, record)


def _value(name: str, record: PooledScore) -> Cell:
    return score_text(name, record["score"]) or "none", spread_text(name, record)


def _p_value(rank: Rank) -> Cell:
    if rank.p is None:
        return None
    return "< 0.001" if rank.p < 0.001 else f"{rank.p:.3f}"
