"""The result of `extract`: numbers of images, embeddings and classes, and the failed images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tlfeatures.data_frames import frame_of_rows
from tlfeatures.html_tables import Cell, facts_html, result_html, table_html
from tlfeatures.names import counted

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Extraction:
    """Result of `extract`.

    Attributes
    ----------
    file : str
        Path of the embeddings file.
    images : int
        Number of images in the folder; the sum of the next three.
    computed : int
        Number of images that passed through the backbone.
    reused : int
        Number of images whose embeddings were in the file already, or are those of another image
        with the same bytes.
    failed : list of {"id", "reason"}
        Images that could not be read.
    few_levels : list of str
        Ids of the images computed now that have 16 grey levels or fewer: nearly black, nearly
        white or of one colour.
    removed : int
        Number of rows left out because their image is no longer in the folder.
    embeddings : dict of name to width
        Number of columns of each embedding in the file.
    variants : int
        Number of variants of each image.
    seconds : float
        Duration of the whole call.
    images_per_second : float
        Number of images and variants that passed through the backbone, divided by `seconds`.
    weights, weights_sha256, precision, engine : str
        See `tlfeatures.features.spec.Spec`.
    shards : str or None
        Name of the folder next to the file that has its rows; None if they are in the file itself.
    classes, splits : dict of name to number of images
        Number of images of each class and of each split, as the source states them, else as the
        folders name them (see `tlfeatures.features.sources.folder_labels`). Images without one are
        not counted.
    """

    file: str
    images: int
    computed: int
    reused: int
    failed: list[dict[str, str]]
    removed: int
    embeddings: dict[str, int]
    variants: int
    seconds: float
    images_per_second: float
    weights: str
    weights_sha256: str | None
    precision: str
    engine: str
    shards: str | None = None
    classes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    few_levels: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        """Describe it in one line."""
        return f"<Extraction: {self._counts()}; {', '.join(self.embeddings)} in {self.file}>"

    def _counts(self) -> str:
        counts = [f"{self.computed:,} computed", f"{self.reused:,} reused"]
        counts += [f"{len(self.failed):,} failed"] if self.failed else []
        counts += [f"{self.removed:,} removed"] if self.removed else []
        return f"{counted(self.images, 'image')} ({', '.join(counts)})"

    def _repr_html_(self) -> str:
        """Show the embeddings, the classes and the failed images in a notebook."""
        by = "" if self.engine == "none" else f" by {self.engine} in {self.precision}"
        speed = f"{self.images_per_second:.1f} images/s{by}" if self.computed else None
        facts: dict[str, Cell] = {
            "file": self.file,
            "embeddings": ", ".join(f"{name} ({d:,})" for name, d in self.embeddings.items()),
            "variants of each image": self.variants or None,
            "time": f"{self.seconds:.1f} s",
            "speed": speed,
            "splits": ", ".join(f"{name} {n:,}" for name, n in self.splits.items()),
            "weights": "random" if self.weights == "random" else None,
        }
        failed = [(item["id"], item["reason"]) for item in self.failed]
        return result_html(
            "Extraction",
            facts_html(facts),
            table_html(["class", "images"], self.classes.items()),
            table_html(["image that can't be read", "reason"], failed),
            about=self._counts(),
        )

    def to_frame(self) -> DataFrame:
        """Return a data frame of the failed images, columns `id` and `reason`. It needs pandas.

        Raises
        ------
        ParameterError
            If pandas is not installed.
        """
        return frame_of_rows(self.failed, {"id": str, "reason": str})

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-ready plain data."""
        return asdict(self)
