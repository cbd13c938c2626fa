"""The dataset that heads are fitted on: embeddings, labels, groups, ids and splits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.data_frames import data_frame
from tlfeatures.dataset.dataset_html import class_table
from tlfeatures.dataset.grouping import chained, merge_groups, photograph_pairs
from tlfeatures.dataset.row_selection import RowSelection, selected_rows
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import DatasetError
from tlfeatures.features.combined import BackbonePart
from tlfeatures.features.imported import STATED
from tlfeatures.features.spec import Spec
from tlfeatures.html_tables import Cell, facts_html, result_html
from tlfeatures.names import MOST_CLASSES, counted, shortened, some_of

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Unreadable:
    """An image of an embeddings file that could not be read.

    Attributes
    ----------
    id : str
    label : str or None
        Class of the image, if the folders or the labels have one.
    reason : str
        Why the image could not be read.
    """

    id: str
    label: str | None
    reason: str


_BLOCK = 8192  # number of rows that are checked in one step
BETWEEN_FILES = " + "  # between the files of a joined embedding, and the names of its backbones


@dataclass(frozen=True)
class FilePart(BackbonePart):
    """The part of an embedding that comes from one embeddings file.

    Attributes
    ----------
    name, spec, embedding
        See `BackbonePart`.
    file : str
        Path of the embeddings file.
    near_duplicates : float or None
        See `Dataset`.
    """

    file: str
    near_duplicates: float | None = None


@dataclass(frozen=True, eq=False)
class Dataset(EqualByValue):
    """Labelled embeddings, made by `load_dataset` or `Dataset.from_arrays`.

    `len(data)` is the number of images. `data[:10]`, `data[mask]` and `data[row_numbers]` are
    datasets with some of the images.

    Attributes
    ----------
    X : ndarray of shape (n, d), float32
        Embeddings, one row for each image.
    y : ndarray of shape (n,), str
        Class of each image.
    groups : ndarray of shape (n,), str, or None
        Group of each image, given by the user: for example a patient, a site or a video.
    ids : ndarray of shape (n,), str
        Id of each image: its POSIX path relative to the source folder.
    split : ndarray of shape (n,), str, or None
        train, val or test, if the folders or the labels have splits.
    embedding : str
        Name of the embedding: `LAYER.POOLING`, or several joined as `A+B`. Parts of several
        backbones have the name of their backbone: `vgg16:A+mobilenetv2:B`.
    spec : Spec or None
        Settings with which X was computed; None if several backbones computed it.
    file : str
        Path of the embeddings file; of several files, their paths with ` + ` between them.
    copies : ndarray of shape (p, 2), int
        Pairs of rows that are the same image, or nearly.
    near_duplicates : float or None
        Smallest similarity of two images that count as copies. None means that only identical
        files are copies. Each part of an embedding of several files has its own, in `joined`.
    digests : ndarray of shape (n, 32), uint8, or None
        sha256 of each image file; of the values, if `has_file_digests` is False.
    variants : ndarray of shape (n, v, d), float32, or None
        Embeddings of v variants of each image. Heads are also fitted on the variants of their
        training images, but they are never scored on variants.
    looks : ndarray of shape (n, d'), float32, or None
        Embedding in which copies are searched, if it is not X and was requested.
    properties : ndarray of shape (n, q), float32, or None
        File size, width, height, colours and so on of each image, in the order of the names in
        `tlfeatures.features.images.properties.PROPERTIES`; NaN if unknown. None if the rows are
        not of images that `extract` has read.
    unreadable : tuple of Unreadable
        Images of the file that have no embedding because they could not be read.
    joined : tuple of FilePart
        The parts of an embedding that is joined over several files; empty for one file.
    """

    X: NDArray[np.float32]
    y: NDArray[np.str_]
    groups: NDArray[np.str_] | None
    ids: NDArray[np.str_]
    split: NDArray[np.str_] | None
    embedding: str
    spec: Spec | None
    file: str
    copies: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    digests: NDArray[np.uint8] | None = None
    variants: NDArray[np.float32] | None = None
    looks: NDArray[np.float32] | None = None
    properties: NDArray[np.float32] | None = None
    unreadable: tuple[Unreadable, ...] = ()
    near_duplicates: float | None = None
    joined: tuple[FilePart, ...] = ()

    @classmethod
    def from_arrays(
        cls,
        X: ArrayLike,
        y: ArrayLike | Sequence[Any],
        *,
        ids: ArrayLike | Sequence[Any] | None = None,
        groups: ArrayLike | Sequence[Any] | None = None,
        split: ArrayLike | Sequence[Any] | None = None,
        digests: ArrayLike | Sequence[Any] | None = None,
        embedding: str = "features",
        near_duplicates: float | None = None,
    ) -> Dataset:
        """Make a dataset of arrays, which all functions for datasets take.

        Parameters
        ----------
        X : array of shape (n, d), or pandas DataFrame
            Finite numbers. They are stored as float32.
        y : array, list or pandas Series of n values
            Class of each row: texts, whole numbers, True or False, which are converted to texts.
        ids : array or list of n different values, optional
            Id of each row, converted to a text. By default the index of a DataFrame, or the
            number of the row.
        groups : array or list of n values, optional
            Rows of a group are never separated by a fold.
        split : array or list of n values, optional
            train, val or test.
        digests : array of shape (n, 32), uint8, or list of n bytes or texts, optional
            sha256 of each image file; texts are hexadecimal. Rows with the same digest are copies.
            By default, rows with equal values are.
        embedding : str
            Name of the embedding.
        near_duplicates : float, optional
            Smallest similarity of two rows that count as copies. None: only equal rows are copies.

        Returns
        -------
        Dataset

        Raises
        ------
        ParameterError
            If the arrays don't fit together, or values are missing or not finite. It is a
            ValueError.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> data = Dataset.from_arrays(X, y)
        >>> data.X.shape
        (1797, 64)
        """
        from tlfeatures.dataset.from_arrays import check_arrays

        arrays = check_arrays(
            X,
            y,
            ids=ids,
            groups=groups,
            split=split,
            digests=digests,
            embedding=embedding,
            near_duplicates=near_duplicates,
        )
        return cls(**vars(arrays))

    def __repr__(self) -> str:
        """Describe it in one line; the arrays would fill the screen."""
        counts = [f"{shortened(name)} {count:,}" for name, count in self.counts.items()]
        listed = f": {some_of(counts, MOST_CLASSES)}" if counts else ""
        return f"<Dataset: {self._size()}{listed}; {self.embedding} of {self.file}>"

    def _size(self) -> str:
        size = f"{counted(len(self), 'image')} x {self.X.shape[-1]:,}"
        return f"{size}, {counted(len(self.counts), 'class')}"

    def _repr_html_(self) -> str:
        """Show the embedding, the numbers of groups and copies, and the classes, in a notebook."""
        table = class_table(self.y, self.split, self.counts)
        return result_html("Dataset", facts_html(self._facts()), table, about=self._size())

    def _facts(self) -> dict[str, Cell]:
        return {
            "embedding": self.embedding,
            "file": self.file,
            "groups": None if self.groups is None else len(np.unique(self.groups)),
            "pairs of copies": len(self.copies) or None,
            "variants of each image": self.n_variants or None,
            "unreadable images": len(self.unreadable) or None,
            "weights": "random" if self.weights == "random" else None,
        }

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.ids)

    __iter__ = None  # rows have no type of their own, so a loop over them is an error

    def __getitem__(self, rows: RowSelection) -> Dataset:
        """Return a dataset with some of the images.

        Parameters
        ----------
        rows : slice, mask of n bool, or row numbers
            For example `data[:10]` or `data[data.y == "mountain"]`. Copies and groups among these
            rows remain copies and groups.

        Raises
        ------
        ParameterError
            If a mask has another length, or a row does not exist or is given twice.
        """
        return self.take(selected_rows(rows, len(self)))

    def to_frame(self, *, X: bool = False) -> DataFrame:
        """Return a data frame with one row for each image. It needs pandas.

        Parameters
        ----------
        X : bool, default False
            Whether to add the columns of the embedding.

        Returns
        -------
        DataFrame
            Columns `id`, `label`, and, if the dataset has them, `group` and `split`. The columns
            of the embedding are named `EMBEDDING.0`, `EMBEDDING.1` and so on, and are float32.

        Raises
        ------
        ParameterError
            If pandas is not installed.
        """
        columns: dict[str, NDArray[Any]] = {"id": self.ids, "label": self.y}
        if self.groups is not None:
            columns["group"] = self.groups
        if self.split is not None:
            columns["split"] = self.split
        if X:
            columns |= {f"{self.embedding}.{i}": column for i, column in enumerate(self.X.T)}
        return data_frame(columns)

    def check(self) -> None:
        """Check a dataset that was made in Python.

        Raises
        ------
        DatasetError
            If its arrays don't fit together, or X has values that are not finite.
        """
        if self.X.ndim != 2 or not self.X.size:
            raise DatasetError(
                f"X of the Dataset has the shape {self.X.shape}; expected (images, columns)"
            )
        for name in ("y", "ids", "groups", "split", "digests", "variants", "looks", "properties"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.X):
                raise DatasetError(
                    f"{name} of the Dataset has {len(values)} values and X has {len(self.X)} rows; "
                    "expected one value for each row"
                )
        for name in ("y", "ids"):
            if getattr(self, name).dtype.kind != "U":
                raise DatasetError(
                    f"{name} of the Dataset has the type {getattr(self, name).dtype}; expected "
                    f"texts, as in {name}.astype(str)"
                )
        if not self.parts:
            raise DatasetError("spec of the Dataset is None; expected a Spec")
        bad = rows_not_finite(self.X)
        if len(bad):
            raise DatasetError(f"X of the Dataset is not finite in {len(bad)} rows, {bad[0]} first")

    @property
    def parts(self) -> tuple[FilePart, ...]:
        """The part of each backbone, in the order of the columns. Often there is only one."""
        if self.joined or self.spec is None:
            return self.joined
        return (FilePart("", self.spec, self.embedding, self.file, self.near_duplicates),)

    @property
    def has_file_digests(self) -> bool:
        """Whether the digests are those of image files, and not of imported values.

        An embedding that is joined over several files has those of image files if one part does.
        """
        imported = [part.spec.imported for part in self.parts]
        return self.digests is not None and any(
            facts is None or facts.digests == STATED for facts in imported
        )

    @property
    def weights(self) -> str:
        """Weights of the backbones: `random` if one of them has random weights."""
        return weights_of(part.spec.weights for part in self.parts)

    @property
    def n_variants(self) -> int:
        """Number of variants of each image."""
        return 0 if self.variants is None else self.variants.shape[1]

    @cached_property
    def together(self) -> NDArray[np.int64] | None:
        """Group number of each row, of shape (n,). A fold never separates rows of a group.

        Rows of a user's group have the same number. Rows that are copies, directly or through other
        rows, and parts of one photograph have the same number too. None if no two rows belong
        together.
        """
        pairs = [self.copies, photograph_pairs(self.ids.tolist())]
        return merge_groups(len(self.y), self.groups, pairs)

    @property
    def classes(self) -> list[str]:
        """Names of the classes, sorted."""
        return list(self.counts)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of images of each class, sorted by the name of the class."""
        names, counts = np.unique(self.y, return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))

    def take(self, rows: NDArray[np.int_]) -> Dataset:
        """Return a dataset with some of the rows, in the given order.

        Parameters
        ----------
        rows : ndarray of int
            Indices of the rows. Copies among these rows remain copies.
        """
        if np.array_equal(rows, np.arange(len(self.ids))):
            return self
        # If i, j and k are copies and j is removed, i and k are still copies.
        same = merge_groups(len(self.ids), None, [self.copies])
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            ids=self.ids[rows],
            groups=None if self.groups is None else self.groups[rows],
            split=None if self.split is None else self.split[rows],
            copies=self.copies if same is None else chained(same[rows].tolist()),
            digests=None if self.digests is None else self.digests[rows],
            variants=None if self.variants is None else self.variants[rows],
            looks=None if self.looks is None else self.looks[rows],
            properties=None if self.properties is None else self.properties[rows],
        )


def weights_of(weights: Iterable[str]) -> str:
    """Return one text for the weights of several backbones: `random` if one of them is random."""
    different = list(dict.fromkeys(weights))
    return "random" if "random" in different else ", ".join(different)


def rows_not_finite(X: NDArray[np.float32]) -> NDArray[np.int_]:
    """Return the indices of the rows of X, of shape (n, d), that have a value that isn't finite."""
    # The sum of a row is finite only if all its values are. This needs no mask as large as X.
    blocks = (X[start : start + _BLOCK] for start in range(0, max(len(X), 1), _BLOCK))
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.concatenate([block.sum(axis=1, dtype=np.float64) for block in blocks])
        return np.flatnonzero(~np.isfinite(sums))
