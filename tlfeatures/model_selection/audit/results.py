"""The findings of an audit as plain data."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.files import replace_file

KINDS = ("near-duplicate", "label", "outlier", "unreadable")


@dataclass(frozen=True)
class Finding:
    """A probable error in the label of an image, or in the image.

    Attributes
    ----------
    kind : {"near-duplicate", "label", "outlier", "unreadable"}
    id : str
        The image to check. Of two copies it is the one whose label is less probable, or the one
        in train.
    label : str
        Its given class; empty for an unreadable image without a class.
    other : str or None
        The more probable class, or the id of the image's copy; None for other kinds.
    score : float
        0 to 1, how sure the finding is; see `tlfeatures.model_selection.audit.audit`.
    reason : str
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
    """Return a finding on one row of a dataset, with its score cut to 0 to 1."""
    clipped = float(min(max(score, 0.0), 1.0))
    return Finding(kind, str(data.ids[row]), str(data.y[row]), other, clipped, reason)


@dataclass(frozen=True)
class Audit:
    """The findings on one dataset.

    Attributes
    ----------
    file, embedding : str
    weights : str
        Weights of the backbone that computed the embeddings.
    images : int
        Labelled images in the file.
    head : str
        The head that judged the labels.
    accuracy : float
        Its out-of-fold accuracy on the given labels. If it is low, suggested labels mean little.
    findings : list of Finding
        Worst first.
    judged : bool
        Whether labels were judged; False if the head is not surely better than always naming the
        largest class.
    output : str or None
        The file that the findings were written to.
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

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings of each kind."""
        return {kind: sum(found.kind == kind for found in self.findings) for kind in KINDS}

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
            "counts": self.counts,
            "findings": [asdict(finding) for finding in self.findings],
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Audit:
        """Read what `to_dict` returned."""
        parts = {name: value for name, value in facts.items() if name not in ("counts", "findings")}
        return cls(findings=[Finding(**row) for row in facts["findings"]], **parts)

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write every finding as a row; the columns are the fields of `Finding`.

        Raises
        ------
        OutputError
            If the file can't be written; an existing file stays unchanged.
        """
        table = io.StringIO()
        writer = csv.DictWriter(
            table, [field.name for field in fields(Finding)], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(asdict(finding) for finding in self.findings)
        replace_file(path, table.getvalue().encode("utf-8", "backslashreplace"))

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write what `to_dict` returns.

        Raises
        ------
        OutputError
            If the file can't be written; an existing file stays unchanged.
        """
        replace_file(path, f"{json.dumps(self.to_dict(), indent=1)}\n".encode())
