"""What is known of embeddings that another program has computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tlfeatures.errors import FormatError

IMPORTED = "imported"  # the backbone in the spec of such embeddings
UNKNOWN = "unknown"

# What the digests of the rows are computed from.
STATED = "stated"  # the features file states them: sha256 of the image files
VALUES = "values"  # the values of the row, so that equal rows count as copies


@dataclass(frozen=True)
class Imported:
    """Where imported embeddings come from. What is not known is None.

    Attributes
    ----------
    digests : {"stated", "values"}
        Whether the features file has stated the sha256 of each image file, or the digest of a row
        is the sha256 of its values.
    file : str or None
        Name of the features file or folder, without the folder that it is in.
    sha256 : str or None
        sha256 of the features file. Of a folder: of the sha256 of its files, in their order.
    backbone : str or None
        Name of the network that has computed the values, as the user has stated it.
    note : str or None
        A text of the user.
    columns : str or None
        Names of the columns of values, separated by commas, if they have names and not numbers:
        another file may have them in another order.
    """

    digests: str
    file: str | None = None
    sha256: str | None = None
    backbone: str | None = None
    note: str | None = None
    columns: str | None = None

    def to_dict(self) -> dict[str, str]:
        """Return what is known as JSON-ready plain data."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, data: Any) -> Imported:
        """Read what `to_dict` wrote.

        Raises
        ------
        FormatError
            If a key is missing or unknown, or a value is no text.
        """
        names = set(cls.__dataclass_fields__)
        texts = isinstance(data, dict) and all(isinstance(text, str) for text in data.values())
        if not texts or not set(data) <= names or data.get("digests") not in (STATED, VALUES):
            raise FormatError(f"its spec says that it was imported, but has {str(data)[:80]}")
        return cls(**data)

    def contradiction(self, other: Imported) -> tuple[str, str, str] | None:
        """Return why the rows of two files can't be compared; None if nothing known says so."""
        for fact in ("backbone", "columns"):
            own, others = getattr(self, fact), getattr(other, fact)
            if own is not None and others is not None and own != others:
                return fact, own, others
        return None
