"""How a ranking of heads is shown in a notebook."""

from __future__ import annotations

from collections.abc import Sequence

from tlfeatures.benchmarking.comparison import WITHIN, Comparison, Rank
from tlfeatures.html_tables import MOST_ROWS, Cell, table_html, text_html
from tlfeatures.metrics.scores import bounds_text, score_text, score_title
from tlfeatures.names import chance

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
    table = table_html(
        header,
        rows,
        caption="Heads and their scores over all tested images, with 95 % intervals",
        total=len(ranking),
    )
    return [
        *map(text_html, comparison.verdict),
        table,
        text_html(_LEGEND if tested else "", "note"),
        text_html(f"{WITHIN}." if within else "", "note"),
    ]


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
    return score_text(name, record["score"]) or "none", bounds_text(name, record["interval"])


def _p_value(rank: Rank) -> Cell:
    if rank.p is None:
        return None
    return "< 0.001" if rank.p < 0.001 else f"{rank.p:.3f}"
