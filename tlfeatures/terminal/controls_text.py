"""The controls of a benchmark as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlfeatures.names import SURELY, number
from tlfeatures.terminal.tables import filled, interval, table

if TYPE_CHECKING:
    from tlfeatures.benchmarking.comparison import Comparison

_NOTE = (
    "Controls are simple rules on the same folds, which the best head must beat. better: whether "
    "the best head is surely better, by a paired bootstrap over images or groups."
)


def controls_lines(comparison: Comparison) -> list[str]:
    """Give the table of controls, and the reasons for those that were not computed."""
    shown = [control for control in comparison.controls if control.score is not None]
    if not shown:
        return []
    rows = [
        [
            control.name,
            control.about,
            number(control.score) + (f" {interval(control.interval)}" if control.interval else ""),
            SURELY[control.beaten],
        ]
        for control in shown
    ]
    missing: dict[str, list[str]] = {}
    for control in comparison.controls:
        if control.reason is not None:
            missing.setdefault(control.reason, []).append(control.name)
    lines = ["", table(["control", "what it knows", "accuracy [95 %]", "better"], rows, left=2)]
    lines += [f"no {', no '.join(names)}: {reason}" for reason, names in missing.items()]
    return [*lines, "", filled(_sampled(comparison) or _NOTE)]


def _sampled(comparison: Comparison) -> str:
    """Return the note with the size of the sample, if the controls were tested on one."""
    largest, *others = comparison.controls
    images = max((control.images for control in others), default=0)
    if not 0 < images < largest.images:
        return ""
    return f"{_NOTE} A sample of {images:,} of {largest.images:,} tested images was used."
