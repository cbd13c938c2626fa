"""The results of an audit: its findings, and how they are written to files."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from tlfeatures.data_frames import frame_of_rows
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.files import replace_file
from tlfeatures.html_tables import MOST_ROWS, facts_html, result_html, table_html, text_html
from tlfeatures.names import counted, percent, sample_words

if TYPE_CHECKING:
    from pandas import DataFrame

KINDS = ("near-duplicate", "label", "outlier", "unreadable")


@dataclass(frozen=True)
class Finding:
    """A probable error in the label of an image, or in the image.

    Attributes
    ----------
    kind : {"near-duplicate", "label", "outlier", "unreadable"}
        Kind of the finding; see `tlfeatures.model_selection.audit.audit`.
    id : str
        Id of the image to check. Of two copies, this is the image whose label is less probable, or
        the image in train.
    label : str
        Given class of the image; empty for an unreadable image without a class.
    other : str or None
        The more probable class, or the id of the copy; None for the other kinds.
    score : float
        Certainty of the finding, from 0 to 1; see `tlfeatures.model_selection.audit.audit`.
    reason : str
        Explanation in words.
    """

    kind: str
    id: str
    label: str
    other: str | None
    score: float
    reason: str


def finding_of(
    kind: str, data: Dataset, row: int, other: str | None, score: float, reason: str
) -> Finding:
    """Create a finding about a row of a dataset. The score is clipped to 0 to 1."""
    clipped = float(min(max(score, 0.0), 1.0))
    return Finding(kind, str(data.ids[row]), str(data.y[row]), other, clipped, reason)


@dataclass(frozen=True)
class Audit:
    """The findings about one dataset.

    Attributes
    ----------
    file, embedding : str
        Path of the embeddings file, and name of the embedding.
    weights : str
        Weights of the backbone that computed the embeddings.
    images : int
        Number of labelled images.
    head : str
        The head that judged the labels.
    accuracy : float
        Out-of-fold accuracy of the head on the given labels. If it is low, suggested labels are
        not reliable.
    findings : list of Finding
        Findings, worst first.
    judged : bool
        Whether labels were judged. False if the head is not surely better than always predicting
        the largest class.
    output : str or None
        Path of the file that the findings were written to.
    sample : int or None
        Number of images whose labels were judged and among which outliers were searched, if it
        was a sample; None if all images were.
    """

    file: str
    embedding: str
    weights: str
    images: int
    head: str
    accuracy: float
    findings: list[Finding]
    judged: bool = True
    output: str | None = None
    sample: int | None = None

    def __repr__(self) -> str:
        """Describe it in one line."""
        counts = [f"{kind} {count:,}" for kind, count in self.counts.items() if count]
        found = f": {', '.join(counts)}" if counts else ""
        return f"<Audit: {self._about()}{found}; {self.embedding} of {self.file}>"

    def _about(self) -> str:
        return f"{counted(self.images, 'image')}, {counted(len(self.findings), 'finding')}"

    def _repr_html_(self) -> str:
        """Show the numbers of findings, and the first findings, in a notebook."""
        judged = f"{self.head}, agrees with {percent(self.accuracy, 1)} of the labels"
        facts = {
            "file": self.file,
            "embedding": self.embedding,
            "labels judged by": judged,
            "labels and outliers of": sample_words(self.sample, self.images),
            **{f"findings: {kind}": count or None for kind, count in self.counts.items()},
            "written to": self.output,
        }
        rows = [
            (each.id, each.kind, each.label, each.reason, each.score)
            for each in self.findings[:MOST_ROWS]
        ]
        unsure = "The labels could not be judged: the head is not surely better than chance."
        return result_html(
            "Audit",
            facts_html(facts),
            text_html("" if self.judged else unsure, "warning"),
            table_html(
                ["image", "kind", "label", "reason", "score"], rows, total=len(self.findings)
            ),
            about=self._about(),
        )

    def to_frame(self) -> DataFrame:
        """Return a data frame with one row for each finding, worst first. It needs pandas.

        Returns
        -------
        DataFrame
            Columns `kind`, `id`, `label`, `other`, `score` and `reason`, see `Finding`.

        Raises
        ------
        ParameterError
            If pandas is not installed.
        """
        types = {field.name: float if field.name == "score" else str for field in fields(Finding)}
        return frame_of_rows([asdict(finding) for finding in self.findings], types)

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings of each kind."""
        return {kind: sum(finding.kind == kind for finding in self.findings) for kind in KINDS}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready plain data."""
        return {
            "file": self.file,
            "embedding": self.embedding,
            "weights": self.weights,
            "images": self.images,
            "head": self.head,
            "accuracy": self.accuracy,
            "judged": self.judged,
            "sample": self.sample,
            "counts": self.counts,
            "findings": [asdict(finding) for finding in self.findings],
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Audit:
        """Create an audit from the result of `to_dict`."""
        parts = {name: value for name, value in facts.items() if name not in ("counts", "findings")}
        return cls(findings=[Finding(**row) for row in facts["findings"]], **parts)

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file with one row for each finding. The columns are the fields of `Finding`.

        Raises
        ------
        OutputError
            If the file can't be written. An existing file is not changed.
        """
        table = io.StringIO()
        writer = csv.DictWriter(
            table, [field.name for field in fields(Finding)], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(asdict(finding) for finding in self.findings)
        replace_file(path, table.getvalue().encode("utf-8", "backslashreplace"))

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write the result of `to_dict` as a JSON file.

        Raises
        ------
        OutputError
            If the file can't be written. An existing file is not changed.
        """
        replace_file(path, f"{json.dumps(self.to_dict(), indent=1)}\n".encode())
