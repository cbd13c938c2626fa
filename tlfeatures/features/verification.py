"""The result of `verify`: what was checked, and the problems that were found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tlfeatures.data_frames import frame_of_rows
from tlfeatures.html_tables import Cell, facts_html, result_html, table_html, text_html
from tlfeatures.names import counted, some_of

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Finding:
    """Images with the same problem.

    Attributes
    ----------
    kind : str
        `done-and-failed`, `not-finite`, `zeros`, `checksum`, `shard`, `differs` (damage),
        `waiting`, `gone`, `new`, `changed` or `unreadable`.
    ids : list of str
        Ids of the images, sorted.
    what : str
        The problem, in words that follow "n images".
    remedy : str
        What to do: a command in backticks, or a sentence with one.
    """

    kind: str
    ids: list[str]
    what: str
    remedy: str


@dataclass(frozen=True)
class Verification:
    """Result of `verify`.

    Attributes
    ----------
    file : str
        Path of the embeddings file.
    images, done, failed, waiting : int
        Number of images in the file; the first is the sum of the others.
    tables : list of str
        The datasets of which every row was read: `embeddings/LAYER.POOLING`, and
        `variants/LAYER.POOLING`.
    source : str or None
        The folder whose images were hashed.
    sampled : int
        Number of images that were embedded again.
    smallest_cosine, largest_difference : float or None
        Comparison of their embeddings, and those of their variants, with the stored ones. None if
        no image was embedded again.
    findings : list of Finding
        Damage first; empty if there is no problem.
    mended : int
        Number of rows that are no longer marked as done.
    seconds : float
        Duration of the whole call.
    """

    file: str
    images: int
    done: int
    failed: int
    waiting: int
    tables: list[str]
    source: str | None
    sampled: int
    smallest_cosine: float | None
    largest_difference: float | None
    findings: list[Finding]
    mended: int
    seconds: float

    def __repr__(self) -> str:
        """Describe it in one line."""
        return f"<Verification: {counted(self.images, 'image')} of {self.file}, {self._about()}>"

    def _about(self) -> str:
        found = [f"{finding.kind} {len(finding.ids):,}" for finding in self.findings]
        return f"problems: {', '.join(found)}" if found else "no problems found"

    def _repr_html_(self) -> str:
        """Show the counts, and each problem with its remedy, in a notebook."""
        facts: dict[str, Cell] = {
            "images": f"{self.images:,} ({self.done:,} embedded, {self.failed:,} that can't be "
            f"read, {self.waiting:,} waiting)",
            "file": self.file,
            "compared with": self.source,
            "embedded again": self.sampled or None,
            "rows marked as missing": self.mended or None,
        }
        rows = [
            (each.kind, f"{counted(len(each.ids), 'image')} {each.what}", some_of(each.ids, 5),
             each.remedy)
            for each in self.findings
        ]  # fmt: skip
        table = table_html(["kind", "problem", "images", "what to do"], rows)
        return result_html(
            "Verification", facts_html(facts), table or text_html("No problems found."),
            about=f"{counted(self.images, 'image')}, {self._about()}",
        )  # fmt: skip

    def to_frame(self) -> DataFrame:
        """Return a data frame with one row for each image with a problem. It needs pandas.

        Returns
        -------
        DataFrame
            Columns `kind`, `id`, `what` and `remedy`, see `Finding`.

        Raises
        ------
        ParameterError
            If pandas is not installed.
        """
        rows = [
            {"kind": each.kind, "id": id_, "what": each.what, "remedy": each.remedy}
            for each in self.findings
            for id_ in each.ids
        ]
        return frame_of_rows(rows, dict.fromkeys(("kind", "id", "what", "remedy"), str))

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-ready plain data."""
        return {**asdict(self), "ok": self.ok}
