"""Figures of a ranking: the scores of heads, and a heat map of heads and embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from tlfeatures.metrics.score_records import Score
from tlfeatures.metrics.scores import less_is_better, score_name
from tlfeatures.names import shortened
from tlfeatures.reports.drawing.cells import (
    COLOR_MAP,
    draw_cells,
    name_cells,
    room_for,
    write_cells,
)
from tlfeatures.reports.drawing.display import Display
from tlfeatures.reports.drawing.style import COLORS, WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tlfeatures.benchmarking.benchmark_result import Benchmark
    from tlfeatures.benchmarking.comparison import Comparison, Rank
    from tlfeatures.benchmarking.fit_result import FitResult

Floats = NDArray[np.float64]

_ROWS = 40  # maximum number of heads in a figure


@dataclass(eq=False, repr=False)
class RankingDisplay(Display):
    """Figure of the scores of heads with 95 % intervals, with the best head at the top.

    Filled dots are the best head and heads that are not significantly different from the best. Open
    dots are significantly different heads. Open grey dots are heads without a test.

    Parameters
    ----------
    comparison : Comparison
        A ranking (`Benchmark.comparison`), of which the first 40 heads are drawn.

    Attributes
    ----------
    ax_, figure_
        See `plot`.

    Examples
    --------
    >>> RankingDisplay.from_benchmark(benchmark("photos.h5"))  # doctest: +SKIP
    """

    comparison: Comparison

    @classmethod
    def from_benchmark(cls, benchmark: Benchmark | FitResult, *, ax: Axes | None = None) -> Self:
        """Draw the ranking of a benchmark.

        Parameters
        ----------
        benchmark : Benchmark or FitResult
        ax : Axes, optional
            Axes to draw on. By default, a new figure is created.
        """
        return cls(_comparison_of(benchmark)).plot(ax)

    def _size(self) -> tuple[float, float]:
        return WIDTH, 1.15 + 0.23 * min(len(self.comparison.ranking), _ROWS)

    def _draw(self, axes: Axes) -> None:
        scoring, every = self.comparison.scoring, self.comparison.ranking
        ranking = every[:_ROWS]
        for row, rank in enumerate(ranking):
            _draw_rank(axes, row, rank, rank.scores[scoring])
        best = ranking[0].scores[scoring]["score"]
        if best is not None:
            axes.axvline(best, color=COLORS["muted"], linewidth=0.8, linestyle=(0, (2, 2)))
        several = len({rank.embedding for rank in every}) > 1
        names = [_rank_name(rank, several) for rank in ranking]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        # Its right end is that of the axes: long names leave these less width than the label has.
        intervals = any(rank.scores[scoring]["interval"] for rank in ranking)
        label = _axis_name(scoring) + (", with 95 % interval" if intervals else "")
        axes.set_xlabel(label, loc="right")
        if len(every) > len(ranking):
            axes.set_ylabel(f"the first {_ROWS} of {len(every):,} heads")
        if axes.has_data():
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.1,
                        handletextpad=0.2, columnspacing=1.2)  # fmt: skip


def _comparison_of(benchmark: Benchmark | FitResult) -> Comparison:
    from tlfeatures.benchmarking.fit_result import FitResult

    result = benchmark.benchmark if isinstance(benchmark, FitResult) else benchmark
    return result.comparison


def _rank_name(rank: Rank, several: bool) -> str:
    label = shortened(rank.label)
    return f"{label} on {shortened(rank.embedding)}" if several else label


def _draw_rank(axes: Axes, row: int, rank: Rank, score: Score) -> None:
    if score["score"] is None:
        return
    if rank.standing in ("best", "not different"):
        words, color, fill = "best, or not significantly different", *(COLORS["accent"],) * 2
    elif rank.standing == "different":
        words, color, fill = "significantly different", COLORS["accent"], COLORS["paper"]
    else:
        words, color, fill = "can't be tested", COLORS["muted"], COLORS["paper"]
    if score["interval"] is not None:
        low, high = score["interval"]
        axes.hlines(row, low, high, colors=color, linewidth=1.4, zorder=2)
    labels = axes.get_legend_handles_labels()[1]
    axes.plot(
        [score["score"]], [row], "o", markersize=6, zorder=3,
        color=color, markerfacecolor=fill, markeredgewidth=1.4,
        label="_" if words in labels else words,
    )  # fmt: skip


@dataclass(eq=False, repr=False)
class HeatMapDisplay(Display):
    """Figure of the score of each head on each embedding. Cells without a score are empty.

    The head `dummy` has numbers without colours. With its low score, the colours of the other heads
    would be too similar.

    Parameters
    ----------
    comparison : Comparison
        A ranking (`Benchmark.comparison`). Rows are heads and columns are embeddings, in the order
        of their best ranks.

    Attributes
    ----------
    ax_, figure_
        See `plot`.
    """

    comparison: Comparison

    @classmethod
    def from_benchmark(cls, benchmark: Benchmark | FitResult, *, ax: Axes | None = None) -> Self:
        """Draw the heat map of a benchmark.

        Parameters
        ----------
        benchmark : Benchmark or FitResult
        ax : Axes, optional
            Axes to draw on. By default, a new figure is created.
        """
        return cls(_comparison_of(benchmark)).plot(ax)

    def _names(self) -> tuple[list[str], list[str]]:
        ranking = self.comparison.ranking
        rows = list(dict.fromkeys(rank.label for rank in ranking))
        return rows, list(dict.fromkeys(rank.embedding for rank in ranking))

    def _size(self) -> tuple[float, float]:
        rows, columns = ([shortened(name) for name in names] for names in self._names())
        width = 0.5 + room_for(rows) + 0.56 * len(columns)
        return max(width, 3.6), 0.7 + 0.36 * len(rows) + 0.6 * room_for(columns)

    def _draw(self, axes: Axes) -> None:
        scoring, (rows, columns) = self.comparison.scoring, self._names()
        values = np.full((len(rows), len(columns)), np.nan)
        for rank in reversed(self.comparison.ranking):
            score = rank.scores[scoring]["score"]
            if score is not None:
                values[rows.index(rank.label), columns.index(rank.embedding)] = score
        colored = values.copy()
        colored[[label == "dummy" for label in rows]] = np.nan
        flipped = "_r" if less_is_better(scoring) else ""
        mesh = draw_cells(axes, colored, COLOR_MAP + flipped, *_span(colored))
        write_cells(axes, mesh, colored, [[_three(v) for v in row] for row in values], 9)
        name_cells(axes, "x", columns)
        name_cells(axes, "y", rows)
        axes.set_title(_axis_name(scoring), loc="left")


def _span(values: Floats) -> tuple[float, float] | tuple[None, None]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (None, None)


def _three(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _axis_name(scoring: str) -> str:
    return score_name(scoring) + (" (less is better)" if less_is_better(scoring) else "")
