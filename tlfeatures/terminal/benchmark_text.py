"""The result of `benchmark` as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlfeatures.names import counted
from tlfeatures.terminal.controls_text import controls_lines
from tlfeatures.terminal.ranking_text import ranking_lines, verdict_lines
from tlfeatures.terminal.shared_lines import RANDOM_WEIGHTS, images_line, validation

if TYPE_CHECKING:
    from tlfeatures.benchmarking.benchmark_result import Benchmark


def render_benchmark(result: Benchmark) -> str:
    """The images, the ranking with intervals, and the verdict."""
    study, ranking = result.study.facts, result.comparison.ranking
    embeddings = list(dict.fromkeys(rank.embedding for rank in ranking))
    lines = [images_line(study["images"], study["classes"])]
    repeats = max(rank.repeats for rank in ranking)
    how = validation(study["split"], study["folds"], study["groups"], study["copies"], repeats)
    how += f" ({study['tested']:,} images tested)"
    lines.append(f"{embeddings[0]}; {how}" if len(embeddings) == 1 else how)
    if study["weights"] == "random":
        lines.append(RANDOM_WEIGHTS)
    lines += ["", *ranking_lines(result.comparison), *controls_lines(result.comparison)]
    lines += ["", *verdict_lines(result.comparison)]
    if result.out:
        reused = len(result.entries) - result.computed
        counts = f"{counted(result.computed, 'entry')} computed"
        counts += f", {reused} reused from before" if reused else ""
        lines.append(f"\n{counts} (an entry is a head on an embedding in a repeat)")
        lines.append(f"saved in {result.out}/results.json")
    return "\n".join(lines)
