"""The result of `audit` as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlfeatures.names import counted, sample_words
from tlfeatures.terminal.shared_lines import RANDOM_WEIGHTS, SAMPLING
from tlfeatures.terminal.tables import table

if TYPE_CHECKING:
    from tlfeatures.model_selection.audit.results import Audit


def render_audit(result: Audit, top: int = 20) -> str:
    """Counts by kind, the first rows, and what to do with them."""
    findings = result.findings
    counts = ", ".join(f"{count:,} {kind}" for kind, count in result.counts.items())
    lines = [f"{result.embedding} of {result.file}: {result.images:,} images"]
    nothing = "no problems found" if result.judged else "no copies and no outliers found"
    lines.append(f"{counted(len(findings), 'finding')}: {counts}" if findings else nothing)
    if not result.judged:
        lines.append("The labels could not be judged: see the warning.")
    lines.append(
        f"{result.head} agrees with {100 * result.accuracy:.1f} % of the labels, the mean of three "
        "cross-validations; each image was judged by a head that was not trained on it"
    )
    if result.sample is not None:
        lines.append(
            f"labels and outliers are those of {sample_words(result.sample, result.images)} "
            f"({SAMPLING}); copies and unreadable images are those of all"
        )
    if result.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    if findings[:top]:
        rows = [
            [finding.kind, finding.id, f"{finding.score:.3f}", finding.reason]
            for finding in findings[:top]
        ]
        lines += ["", table(["kind", "image", "score", "reason"], rows, left=4)]
    if len(findings) > top:
        lines.append(
            f"and {len(findings) - top:,} more: -o FILE.csv writes all findings, --top N prints "
            "more of them"
        )
    if result.output is not None:
        lines.append(f"\nall findings: {result.output}")
    if findings:
        lines.append(_AUDIT_NEXT)
    return "\n".join(lines)


_AUDIT_NEXT = """
The audit changes no image and no label. Open each image. If its label is wrong, move the image to
the right folder or correct the table of --labels. Remove superfluous copies. Then run
`tlfeatures extract` again, which computes only what is new, and then `tlfeatures fit`."""
