"""Print which promises each kind of source keeps, for docs/sources.md.

Run it as `python -m tests.contract.sources_table`: it runs the contract suite of sources.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pytest

PROMISES = ("find", "identify", "add", "move", "damage", "cluster")


class Outcomes:
    """A plugin of pytest that notes which tests of which kind of source passed."""

    def __init__(self) -> None:
        self.kinds: dict[str, dict[str, set[str]]] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note the kinds in the order in which they are written."""
        title = getattr(item.getparent(pytest.Class).obj, "title", None)
        if title is not None:
            self.kinds.setdefault(title, defaultdict(set))
            item.user_properties.append(("title", title))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note an outcome: that of the test itself, or of a fixture that failed."""
        title = dict(report.user_properties).get("title")
        if title is not None and (report.when == "call" or report.outcome != "passed"):
            name = report.nodeid.rpartition("::test_")[2].partition("_")[0]
            self.kinds[str(title)][name].add(report.outcome)


def table_of(outcomes: Outcomes) -> str:
    """Write the table in Markdown: yes, no, or a dash for what a kind has no test of."""
    words = {frozenset(): "-", frozenset({"passed"}): "yes"}
    lines = [["source", *PROMISES], ["---"] * (1 + len(PROMISES))]
    for title, kept in outcomes.kinds.items():
        lines.append([title, *(words.get(frozenset(kept[name]), "no") for name in PROMISES)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    noted = Outcomes()
    paths = sorted(map(str, Path(__file__).parent.glob("test_sources*.py")))
    options = [*paths, "-q", "-n0", "-p", "no:cacheprovider"]
    code = pytest.main(options, plugins=[noted])
    print(table_of(noted))
    sys.exit(code)
