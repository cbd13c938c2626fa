"""The result of `report` as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlfeatures.reports.report import Report


def render_report(report: Report) -> str:
    """The page's path, its size and its sections."""
    sections = ", ".join(name.replace("_", " ") for name in report.sections)
    return (
        f"{report.file}: {report.bytes / 1e6:.1f} MB, {report.images:,} pictures\n"
        f"sections: {sections}\nOpen the page in any browser."
    )
