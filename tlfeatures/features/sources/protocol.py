"""What every source of images does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeAlias

from tlfeatures.errors import SourceError
from tlfeatures.features.sources.folder_labels import LabelRow
from tlfeatures.features.sources.records import ImageRecord

Columns: TypeAlias = Mapping[str, str]  # role -> name of the column of a table


class Source(Protocol):
    """Where images come from.

    Attributes
    ----------
    location : str
        Path or URL, as the user wrote it.
    """

    location: str

    def images(self) -> Iterator[ImageRecord]:
        """Yield the images in the order of their ids, each id once.

        What the source has in addition to images is counted in warnings at the end.

        Raises
        ------
        SourceError
            If the source can't be read: its images would seem to be gone.
        """
        ...

    def labels(self) -> dict[str, LabelRow] | None:
        """Return label, group and split of images by their ids.

        None if the source doesn't state labels. Those of a folder are the names of its subfolders.
        """
        ...

    def no_images_error(self, expected: str) -> SourceError:
        """Create the error for a source without images; it says what there is instead."""
        ...
