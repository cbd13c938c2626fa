"""The base of results of functions that write one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tlfeatures.data_frames import data_frame
from tlfeatures.html_tables import Cell, facts_html, result_html

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class FileResult(ABC):
    """Facts about a file that was written.

    A subclass is a dataclass with `repr=False`, so that it has the `repr` of this class.

    Attributes
    ----------
    file : str
        Path of the file.
    """

    file: str

    @abstractmethod
    def _about(self) -> str:
        """Return what a person wants to know first."""

    def _facts(self) -> Mapping[str, Cell]:
        """Return further facts, for a notebook."""
        return {}

    def __repr__(self) -> str:
        """Describe it in one line."""
        return f"<{type(self).__name__}: {self._about()}; {self.file}>"

    def _repr_html_(self) -> str:
        """Show the facts in a notebook."""
        facts = facts_html({"file": self.file, **self._facts()})
        return result_html(type(self).__name__, facts, about=self._about())

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready plain data."""
        return asdict(self)

    def to_frame(self) -> DataFrame:
        """Return a data frame of one row with the attributes as columns. It needs pandas.

        Raises
        ------
        ParameterError
            If pandas is not installed.
        """
        return data_frame({name: [value] for name, value in self.to_dict().items()})
