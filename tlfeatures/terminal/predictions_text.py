"""The result of `predictions` as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlfeatures.benchmarking.predictions import PredictionsTable


_TWO_CLASSES = (
    "\nwith the probabilities of the predicted and of the right class; a name that ends in "
    ".parquet gives those of all classes"
)


def render_predictions(table: PredictionsTable) -> str:
    """The path of the table and its size."""
    each = table.rows // table.entries
    all_classes = "" if table.every_class else _TWO_CLASSES
    return (
        f"{table.file}: {table.rows:,} predictions; {each:,} images, each predicted by "
        f"{table.entries:,} entries (an entry is a head on an embedding in a repeat){all_classes}"
    )
