"""Predictions as lines of a CSV table, or as JSON lines."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tlfeatures.names import one_line

if TYPE_CHECKING:
    from tlfeatures.models.predictions import Prediction

# A spreadsheet runs a cell that begins with one of these as a formula; some take the wide forms.
_STARTS_FORMULA = tuple("=+-@＝＋－＠\t\r\n")
# The same for a program that splits the table at another separator, which need not heed our quotes.
_FORMULA_INSIDE = re.compile(r"""([,;\t\r\n]"*)(?=[=+\-@＝＋－＠])""")
_HARMLESS = re.compile(r"[+-]?[\d.,]*")  # a number, or a sign alone


class Lines(Protocol):
    """The text of predictions, line by line."""

    def header(self) -> str:
        """Return the text before the first prediction."""

    def line(self, prediction: Prediction) -> str:
        """Return the line of one prediction, with its end."""


class JsonLines:
    """One JSON object a line. Names are exact.

    Parameters
    ----------
    note : mapping
        Further keys of each object.
    outliers : bool
        Whether the objects have the keys outlier and distance.

    An object has the key label_set if its prediction has a set of labels.
    """

    def __init__(self, note: Mapping[str, str], outliers: bool) -> None:
        self._note, self._outliers = note, outliers

    def header(self) -> str:
        """Return an empty text."""
        return ""

    def line(self, prediction: Prediction) -> str:
        """Return the object of one prediction."""
        row: dict[str, Any] = {"path": prediction.path}
        if prediction.error is not None:
            return json.dumps(row | {"error": prediction.error}) + "\n"
        row |= {
            "label": prediction.label,
            "confidence": prediction.confidence,
            **({} if prediction.label_set is None else {"label_set": prediction.label_set}),
            "probabilities": prediction.probabilities,
            **self._note,
        }
        if self._outliers:
            distance = prediction.distance
            finite = distance is not None and math.isfinite(distance)
            # JSON has no infinity
            row |= {"outlier": prediction.outlier, "distance": distance if finite else None}
        return json.dumps(row) + "\n"


@dataclass(frozen=True)
class CsvStyle:
    """How a table is written.

    Attributes
    ----------
    separator : str
        Character between two cells.
    decimal : str
        Decimal point or comma.
    mark : bool
        Whether the file begins with a byte order mark. Excel reads a file without it in an old
        encoding, in which only English letters are right.
    """

    separator: str = ","
    decimal: str = "."
    mark: bool = False


EXCEL = {"comma": CsvStyle(mark=True), "semicolon": CsvStyle(";", ",", mark=True)}


class CsvLines:
    """A CSV table with a row for each image.

    The probabilities are in columns `p_CLASS`, so that no class has the name of another column.
    No cell is run as a formula: a relative path that begins like one gets `./` in front and stays a
    path of the same file, other texts get an apostrophe.

    Parameters
    ----------
    classes : sequence of str
    note : mapping
        Further columns, with the same value in each row.
    outliers : bool
        Whether there are columns outlier and distance.
    style : CsvStyle
    sets : bool
        Whether there is a column label_set. The labels in a cell are separated by `|`, at which
        `Series.str.get_dummies` of pandas splits, too.
    """

    def __init__(
        self,
        classes: Sequence[str],
        note: Mapping[str, str],
        outliers: bool,
        style: CsvStyle,
        sets: bool = False,
    ) -> None:
        self._classes, self._note, self._style = classes, note, style
        self._outliers, self._sets = outliers, sets

    def header(self) -> str:
        """Return the names of the columns, after a byte order mark if the style has one."""
        outliers = ["outlier", "distance"] if self._outliers else []
        probabilities = [_safe_text(f"p_{name}") for name in self._classes]
        first = ["path", "label", "confidence", *(["label_set"] if self._sets else [])]
        columns = [*first, *probabilities, *outliers, *self._note, "error"]
        return "\ufeff" * self._style.mark + self._joined(columns)

    def line(self, prediction: Prediction) -> str:
        """Return the row of one prediction."""
        path = _safe_path(prediction.path)
        if prediction.error is not None:
            empty = 2 + self._sets + len(self._classes) + 2 * self._outliers + len(self._note)
            return self._joined([path, *[""] * empty, _safe_text(one_line(prediction.error))])
        outlier = [
            "yes" if prediction.outlier else "no",
            self._number(prediction.distance, 3),
        ]
        label_set = "|".join(map(_safe_text, prediction.label_set or ()))
        cells = [
            *(path, _safe_text(prediction.label or ""), self._number(prediction.confidence, 6)),
            *([label_set] if self._sets else []),
            *(self._number(prediction.probabilities[name], 6) for name in self._classes),
            *(outlier if self._outliers else []),
            *self._note.values(),
        ]
        return self._joined([*cells, ""])

    def _number(self, value: float | None, digits: int) -> str:
        if value is None:
            return ""
        return f"{value:.{digits}f}".replace(".", self._style.decimal)

    def _joined(self, cells: Sequence[str]) -> str:
        return self._style.separator.join(map(self._quoted, cells)) + "\n"

    def _quoted(self, cell: str) -> str:
        """Quote a text with any separator: a spreadsheet may split the table at another one."""
        special = any(char in cell for char in '",;\t\r\n') and not _HARMLESS.fullmatch(cell)
        if special or self._style.separator in cell:
            return '"' + cell.replace('"', '""') + '"'
        return cell


def _safe_path(path: str) -> str:
    return f"./{path}" if path.startswith(_STARTS_FORMULA) else path


def _safe_text(text: str) -> str:
    text = _FORMULA_INSIDE.sub(r"\1'", text)
    if text.startswith(_STARTS_FORMULA) and not _HARMLESS.fullmatch(text):
        return f"'{text}"
    return text
