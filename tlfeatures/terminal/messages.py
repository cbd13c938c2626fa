"""Messages of the library's logger on standard error."""

from __future__ import annotations

import logging
import sys
import warnings


class LabelMessagesOnce(logging.Filter):
    """Shows each message about labels once: a benchmark loads them for every embedding."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show the message."""
        line = record.getMessage()
        of_labels = record.name.startswith(("tlfeatures.dataset.", "tlfeatures.features.sources."))
        again = of_labels and line in self._shown
        self._shown.add(line)
        return not again


def show_messages(verbose: bool) -> None:
    """Show the warnings of the package or, if `verbose`, all of its messages."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handler.addFilter(LabelMessagesOnce())
    package = logging.getLogger("tlfeatures")
    package.handlers = [handler]
    package.setLevel(logging.INFO if verbose else logging.WARNING)
    # Messages that explain a wait, give an address, or say which column is taken for what.
    for name in ("backbones", "calibrate", "cluster", "measure_engines", "sources.tables"):
        logging.getLogger(f"tlfeatures.features.{name}").setLevel(logging.INFO)
    # Messages that say how long a search still takes, and whether rows of a sharded file are read.
    for name in ("dataset.pair_search", "benchmarking.trainers"):
        logging.getLogger(f"tlfeatures.{name}").setLevel(logging.INFO)
    # Pillow warns of unusual metadata, which doesn't matter: only the pixels are used.
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
