"""The controls of a benchmark as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tlfeatures.names import SURELY, number
from tlfeatures.terminal.tables import interval, table

if TYPE_CHECKING:
    from tlfeatures.benchmarking.comparison import Comparison
    from tlfeatures.benchmarking.control import Control


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
    header = ["simple rule (control)", "what it knows", _accuracy(shown), "best head better"]
    lines = ["", table(header, rows, left=2)]
    lines += [f"no {', no '.join(names)}: {reason}" for reason, names in missing.items()]
    return lines + _sampled(comparison)


def _accuracy(shown: Sequence[Control]) -> str:
    """Return the title of the column of accuracies; with few groups, they have no intervals."""
    return "accuracy [95 %]" if any(control.interval for control in shown) else "accuracy"


def _sampled(comparison: Comparison) -> list[str]:
    """Give a line with the size of the sample, if the controls were tested on one."""
    largest, *others = comparison.controls
    images = max((control.images for control in others), default=0)
    if not 0 < images < largest.images:
        return []
    return [
        f"A sample of {images:,} of {largest.images:,} tested images was used for the controls."
    ]
