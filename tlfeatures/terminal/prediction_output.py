"""Where predictions go: to standard output line by line, or into a file as a whole."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tlfeatures.errors import OutputError, ParameterError
from tlfeatures.files import file_target, replacing, resolved
from tlfeatures.names import MOST_CLASSES, counted, percent, some_of
from tlfeatures.terminal.prediction_lines import EXCEL, CsvLines, CsvStyle, JsonLines, Lines
from tlfeatures.terminal.streams import print_failure, print_message, writing_output

if TYPE_CHECKING:
    from tlfeatures.models.label_summary import LabelSummary
    from tlfeatures.models.predictions import Prediction

_TABLES = {".csv": CsvStyle(), ".tsv": CsvStyle("\t")}
_JSON_LINES = (".jsonl", ".ndjson")
_LONGEST = 2**20  # bytes of a line
_FIRST, _LAST = (b"path", b"label", b"confidence"), b"error"  # columns of a table


class PredictionOutput:
    """Writes predictions, and summarises them in the end.

    Parameters
    ----------
    output : str or None
        File for the predictions; None is standard output.
    as_json : bool
        Whether to write JSON lines whatever the name of the file.
    excel : {"comma", "semicolon"} or None
        Write the table for a spreadsheet, see `EXCEL`.

    Raises
    ------
    ParameterError
        If the file has the ending of another kind of file, can't be made, or would replace a file
        that has no predictions.
    """

    def __init__(self, output: str | None, as_json: bool, excel: str | None) -> None:
        ending = Path(output).suffix.lower() if output is not None else ""
        self._as_json = as_json or ending in _JSON_LINES
        if excel is not None and (output is None or self._as_json):
            raise ParameterError("--excel is for a table in a file: add -o labels.csv")
        self._style = EXCEL[excel] if excel is not None else _TABLES.get(ending, CsvStyle())
        self._target = None if output is None else _target(output, ending, self._as_json)
        self._failures: list[tuple[str, str]] = []
        self._summary: LabelSummary | None = None

    @property
    def fills_screen(self) -> bool:
        """Whether the lines go to a terminal, where a progress bar would be in their way."""
        return self._target is None and sys.stdout.isatty()

    def check_other_file(self, page: str | None) -> None:
        """Raise `ParameterError` if a page would replace the table."""
        if page is not None and self._target is not None and resolved(page) == self._target:
            raise ParameterError(
                f"--report {page} is the file of -o, {self._target}; give two names of files"
            )

    def write(
        self,
        predictions: Iterable[Prediction],
        classes: list[str],
        note: dict[str, str],
        *,
        outliers: bool,
        sets: bool = False,
        immediately: bool,
    ) -> Generator[Prediction, None, None]:
        """Write predictions, and yield each one. A file is complete when the iterator has ended.

        Parameters
        ----------
        predictions : iterable of Prediction
        classes : list of str
        note : dict
            Further columns, with the same value for each image.
        outliers : bool
            Whether to write the outliers.
        sets : bool
            Whether to write the sets of labels.
        immediately : bool
            Whether each line leaves the process before the next prediction is computed, and
            failures are named at once: a program may wait for the answer. Then the header is
            written before the first prediction is computed.
        """
        from tlfeatures.models.label_summary import LabelSummary

        summary = self._summary = LabelSummary()
        lines: Lines = (
            JsonLines(note, outliers)
            if self._as_json
            else CsvLines(classes, note, outliers, self._style, sets)
        )
        into = _standard_output(immediately) if self._target is None else _file(self._target)
        with into as write:
            write(lines.header())
            for prediction in predictions:
                write(lines.line(prediction))
                summary.add(prediction)
                if prediction.error is not None and immediately:
                    print_failure(prediction.path, prediction.error)
                elif prediction.error is not None:  # of a stream, which may never end, none is kept
                    self._failures.append((prediction.path, prediction.error))
                yield prediction

    def finish(self) -> bool:
        """Print the summary and the failures; return whether an image could not be read."""
        if self._summary is None:
            return False
        for line in summary_lines(self._summary):
            print_message(line)
        for path, reason in self._failures:
            print_failure(path, reason)
        return self._summary.unreadable > 0


def summary_lines(summary: LabelSummary) -> Iterator[str]:
    """Say how many images have each label, how confident the model is, and what needs a look."""
    from tlfeatures.models.label_summary import UNSURE

    median = summary.median_confidence()
    if median is not None:
        counts = (f"{count:,} {label}" for label, count in summary.labels.most_common())
        unsure = summary.unsure.total()
        yield (
            f"{counted(summary.images, 'image')}: "
            f"{some_of(counts, MOST_CLASSES) or 'no label'}; median confidence {median:.2f}, "
            f"{unsure:,} below {UNSURE}"
        )
    if summary.coverage is not None and summary.images:
        yield (
            f"{100 * summary.coverage:g} % coverage: sets have "
            f"{summary.in_sets / summary.images:.2f} labels on average, "
            f"{percent(summary.single / summary.images)} have one label"
        )
    others = {
        "got no label, because no class reached --min-confidence": summary.abstained,
        "flagged as outliers": summary.outliers,
        "could not be read": summary.unreadable,
    }
    if any(others.values()):
        yield ", ".join(f"{count:,} {what}" for what, count in others.items() if count)


# ---- where lines go


@contextmanager
def _standard_output(immediately: bool) -> Iterator[Callable[[str], None]]:
    def write(text: str) -> None:
        if sys.stdout.errors == "strict":  # a path may have bytes that are no text
            encoding = sys.stdout.encoding
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        with writing_output():
            sys.stdout.write(text)
            if immediately:
                sys.stdout.flush()

    yield write


@contextmanager
def _file(target: Path) -> Iterator[Callable[[str], None]]:
    with (
        replacing(target) as fresh,
        fresh.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):

        def write(text: str) -> None:
            file.write(text)

        yield write


def _target(output: str, ending: str, as_json: bool) -> Path:
    """Check that a file with this name can be made, and replaces none of another kind."""
    suits = (*_JSON_LINES, ".json") if as_json else tuple(_TABLES)
    if ending not in suits:
        what = "JSON lines" if as_json else "a table, or .jsonl for JSON lines"
        raise ParameterError(
            f"output is {output!r}; expected a name ending in {' or '.join(suits)} for {what}"
        )
    target = file_target(output, "labels.csv", "the labels")
    if target.exists() and not target.is_file():
        raise ParameterError(
            f"{output} is no file, but a pipe or device; leave out -o, and redirect the output"
        )
    if target.exists() and not _has_predictions(target):
        raise ParameterError(
            f"{output} exists and is no table of `tlfeatures predict`, or has other columns too: "
            "give another name, or move that file"
        )
    return target


def _has_predictions(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST).removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise OutputError(f"{path} can't be read: {error.strerror or error}") from error
    return not line or _is_header(line) or _is_prediction(line)


def _is_header(line: bytes) -> bool:
    """Whether it is a header without columns that someone has added."""
    return any(
        line.startswith(sep.join(_FIRST)) and line.rstrip().endswith(sep + _LAST)
        for sep in (b",", b";", b"\t")
    )


def _is_prediction(line: bytes) -> bool:
    try:
        keys = json.loads(line)
    except ValueError:
        return False
    return isinstance(keys, dict) and "path" in keys and bool({"confidence", "error"} & set(keys))
