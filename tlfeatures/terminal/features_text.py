"""The results of `import` and `export-features` as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlfeatures.names import counted, some_of

if TYPE_CHECKING:
    from tlfeatures.dataset.export_features import FeaturesFile
    from tlfeatures.features.import_features import Importing

_CLASSES_SHOWN = 12


def render_importing(result: Importing) -> str:
    """Rows and embeddings, and what the features file says of its rows."""
    digits = len(str(result.images - 1))
    lines = [
        f"{result.file}: {counted(result.images, 'row')} imported from {result.source} in "
        f"{result.seconds:.1f} s",
        _embeddings(result.embeddings, result.dtype),
        _labels(result),
    ]
    if result.numbered:
        lines.append(
            f"{result.source} has no ids: the rows are named by their numbers, {0:0{digits}d} to "
            f"{result.images - 1}"
        )
    if result.unused:
        lines.append(f"not used: {some_of(result.unused, 10)}")
    if result.digests == "values":
        lines.append("rows with equal values count as copies of one image")
    return "\n".join(lines)


def _embeddings(embeddings: dict[str, int], dtype: str) -> str:
    listed = ", ".join(f"{name} ({width:,})" for name, width in embeddings.items())
    return f"embeddings: {listed}, {dtype}"


def _labels(result: Importing) -> str:
    if not result.classes:
        return "no labels: give them to `fit` with --labels FILE, if folders in the ids name none"
    listed = some_of(
        (f"{name} {count:,}" for name, count in result.classes.items()), _CLASSES_SHOWN
    )
    splits = ", ".join(f"{name} {count:,}" for name, count in result.splits.items())
    without = result.images - sum(result.classes.values())
    return (
        f"{counted(len(result.classes), 'class')}: {listed}"
        + (f" ({splits})" if splits else "")
        + (f"; {counted(result.groups, 'group')}" if result.groups else "")
        + (f"; {counted(without, 'row')} without a label" if without else "")
        + f"; the labels stay in {result.source}, where `fit` reads them"
    )


def render_features_file(result: FeaturesFile) -> str:
    """The file, its rows and its embeddings."""
    return (
        f"{result.file}: {counted(result.images, 'row')} ({result.labelled:,} with a label), "
        f"{result.bytes / 1e6:,.1f} MB\n{_embeddings(result.embeddings, result.dtype)}"
    )
