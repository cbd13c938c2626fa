"""The result of `benchmark` as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tlfeatures.terminal.shared_lines import (
    RANDOM_WEIGHTS,
    images_line,
    missing_lines,
    validation,
)
from tlfeatures.terminal.tables import interval, number, score_words, table

if TYPE_CHECKING:
    from tlfeatures.benchmarking.benchmark import Benchmark
    from tlfeatures.benchmarking.comparison import Rank


def render_benchmark(result: Benchmark) -> str:
    """The images, the ranking with intervals, and the verdict."""
    from tlfeatures.benchmarking.comparison import INTERVALS

    study, ranking = result.study.facts, result.comparison.ranking
    embeddings = list(dict.fromkeys(rank.embedding for rank in ranking))
    lines = [images_line(study["images"], study["classes"])]
    how = validation(study["split"], study["folds"], study["groups"], study["copies"])
    how += f" ({study['tested']:,} images tested)"
    lines.append(f"{embeddings[0]}; {how}" if len(embeddings) == 1 else how)
    if study["weights"] == "random":
        lines.append(RANDOM_WEIGHTS)
    lines += ["", _ranks(ranking, result.comparison.scoring)]
    lines += [*missing_lines(_missing_of(ranking, result.comparison.scoring)), ""]
    notes = [f"{INTERVALS}.", f"{result.comparison.test_method}.", _MARK, ""]
    lines += [textwrap.fill(note, 100) for note in [*notes, *result.comparison.verdict]]
    if result.out:
        reused = len(result.entries) - result.computed
        counts = f"{result.computed} entries computed" + (f", {reused} reused" if reused else "")
        lines.append(f"\n{counts}: {result.out}/results.json")
    return "\n".join(lines)


_MARK = (
    "*: the best, or not significantly different from it; ?: can't be tested; no mark: "
    "significantly different. Scores are pooled over folds; `fit` shows their means."
)
_MARKS = {"best": "*", "not different": "*", "different": "", "untested": "?"}


def _missing_of(ranking: list[Rank], scoring: str) -> Iterator[tuple[str, str, str | None]]:
    """Give head, score and reason of each score and each shown interval that is none."""
    for rank in ranking:
        for name in dict.fromkeys([scoring, *ranking[0].scores]):
            facts = rank.scores.get(name)
            if facts is None:
                yield rank.label, score_words(name), "not among the scores when it was computed"
            elif facts["score"] is None:
                yield rank.label, score_words(name), facts["reason"]
            elif name == scoring and facts["interval"] is None:
                yield rank.label, f"interval of {score_words(name)}", facts["reason"]


def _ranks(ranking: list[Rank], scoring: str) -> str:
    names = list(dict.fromkeys([scoring, *ranking[0].scores]))
    several = len({rank.embedding for rank in ranking}) > 1
    named = ["head", "embedding"] if several else ["head"]
    header = ["", *named, *map(score_words, names), "p", "fit s"]
    rows = [_rank_row(rank, names, several) for rank in ranking]
    return table(header, rows, left=1 + len(named))


def _rank_row(rank: Rank, names: list[str], several: bool) -> list[str]:
    first, *others = [rank.scores.get(name, {}) for name in names]
    bounds = first.get("interval")
    return [
        _MARKS[rank.standing],
        rank.label,
        *([rank.embedding] if several else []),
        number(first.get("score")) + (f" {interval(bounds)}" if bounds else ""),
        *(number(score.get("score")) for score in others),
        _p_value(rank),
        f"{rank.fit_seconds:.2f}",
    ]


def _p_value(rank: Rank) -> str:
    if rank.p is None:
        return "none" if rank.standing == "untested" else ""
    return "<0.001" if rank.p < 0.001 else number(rank.p)
