"""The class `LabellingHead`: a fitted head that labels images and embeddings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, NDArray

from tlfeatures.dataset.from_arrays import check_ids, check_same_index, feature_rows
from tlfeatures.errors import ParameterError
from tlfeatures.features.batches import check_batch_size
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.exchange.open_features import numbered_ids
from tlfeatures.features.images.decoding import MAX_PIXELS
from tlfeatures.features.images.inputs import Images
from tlfeatures.features.sources.open_source import Location
from tlfeatures.features.sources.protocol import Columns
from tlfeatures.models.feature_input import check_columns_of, read_features
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.incoming import in_batches
from tlfeatures.models.input_images import are_embeddings, as_tables, image_of_stream
from tlfeatures.models.joined_predictions import join_predictions
from tlfeatures.models.labelling import EmbeddingLabeller, Labeller, label_inputs, one_by_one
from tlfeatures.models.predictions import Prediction, Predictions
from tlfeatures.progress import Progress

if TYPE_CHECKING:
    from tlfeatures.features.sources.open_source import Location


class LabellingHead(FittedHead):
    """A fitted head with the spec of its embedding, which labels images and embeddings.

    Attributes
    ----------
    head, spec, embedding, info, outliers, digests, joined, sketch, sets
        See `tlfeatures.models.fitted_head.FittedHead`.
    """

    def predict(
        self,
        inputs: Images,
        *,
        images: Location | None = None,
        columns: Columns | None = None,
        batch_size: int | str = "auto",
        weights: str | None = None,
        device: str = "auto",
        max_pixels: int = MAX_PIXELS,
        min_confidence: float = 0.0,
        outliers: bool = False,
        coverage: float | None = None,
        progress: bool | Progress | None = None,
    ) -> Predictions:
        """Label images. They are embedded with the settings of the training images.

        Parameters
        ----------
        inputs : path, URL, array or Pillow image, or iterable of them
            Image files, folders and other sources of images, uint8 arrays of shape (h, w),
            (h, w, 3) or (h, w, 4), and images of Pillow; or one array of shape (n, h, w, 3). They
            give what their files would give. An iterator is read in parts.
        images : path or URL, optional
            Folder that the paths in a table are relative to. The table's own folder if not given.
        columns : mapping of role to column, optional
            Names of the columns of a table, if they aren't the usual ones.
        batch_size : int or "auto"
            Number of images of a batch.
        weights : str, optional
            File of the backbone's weights, if it was moved since the head was fitted. Not for a
            model of several backbones.
        device : {"auto", "cpu", "gpu"}
            Device that computes the embedding.
        max_pixels : int
            Images with more pixels are not read; their predictions have an error.
        min_confidence : float, default 0
            If the label has a smaller probability, the model abstains: the label is None.
        outliers : bool, default False
            Whether to find outliers, images that are not like the training images.
        coverage : float, optional
            Also give a set of labels for each image, `Prediction.label_set`. Of 100 images like the
            training images, the sets of about 95 hold the right label if it is 0.95. The label is
            always in the set. A model that was tested on too few images or groups for a coverage
            refuses it: 0.95 needs 19.
        progress : bool or callable of (done, total), optional
            Counts images; the total is 0 for an iterator. See `extract`.

        Returns
        -------
        Predictions
            A sequence with one prediction for each image in the order of `inputs`, also for images
            that can't be read.

        Raises
        ------
        WeightsError
            If the weights are not the weights of the spec.
        SpecError
            If this version can't compute the embedding of the spec.
        ParameterError
            If an input does not exist, or isn't an image, such as an array of floating-point
            numbers.
        SourceError
            If there are no images.
        ModelError
            If outliers or sets are requested, and the model has no detector or no sets.
        """
        options = ComputeOptions(device, batch_size, max_pixels, weights)
        given = as_tables(inputs, images, columns)
        chosen = (min_confidence, outliers, coverage)
        parts = label_inputs(self, given, options, *chosen, progress)
        return join_predictions(list(parts))

    def iter_predict(
        self,
        inputs: Images,
        *,
        images: Location | None = None,
        columns: Columns | None = None,
        batch_size: int | str = "auto",
        weights: str | None = None,
        device: str = "auto",
        max_pixels: int = MAX_PIXELS,
        min_confidence: float = 0.0,
        outliers: bool = False,
        coverage: float | None = None,
        progress: bool | Progress | None = None,
    ) -> Iterator[Prediction]:
        """Label images batch by batch, so that memory doesn't grow with their number.

        The backbone is loaded before the iterator is returned.

        Parameters
        ----------
        inputs, images, columns, batch_size, weights, device, max_pixels
            See `predict`.
        min_confidence, outliers, coverage, progress
            See `predict`.

        Returns
        -------
        iterator of Prediction
            One prediction for each image in the order of `inputs`, also for images that can't be
            read.

        Raises
        ------
        WeightsError, SpecError, ParameterError, ModelError
            See `predict`.
        """
        options = ComputeOptions(device, batch_size, max_pixels, weights)
        given = as_tables(inputs, images, columns)
        chosen = (min_confidence, outliers, coverage)
        return one_by_one(label_inputs(self, given, options, *chosen, progress))

    def predict_stream(
        self,
        paths: Iterable[str],
        *,
        batch_size: int | str = "auto",
        weights: str | None = None,
        device: str = "auto",
        max_pixels: int = MAX_PIXELS,
        min_confidence: float = 0.0,
        outliers: bool = False,
        coverage: float | None = None,
    ) -> Iterator[Prediction]:
        """Label image files while their paths arrive.

        The backbone is loaded before the first path is read. Paths that arrive while a batch is
        computed form the next batch. No path waits for a later path.

        Parameters
        ----------
        paths : iterable of str
            Paths and URLs of images. They are read in a separate thread.
        batch_size : int or "auto"
            Largest number of images of a batch.
        weights, device, max_pixels, min_confidence, outliers, coverage
            See `predict`.

        Returns
        -------
        iterator of Prediction
            One prediction for each path in the order of `paths`, also for a path without a file.
        """
        if isinstance(paths, str | bytes | os.PathLike):
            raise ParameterError(f"paths is {paths!r}; expected an iterable of paths")
        batches = in_batches(paths, check_batch_size(batch_size))
        options = ComputeOptions(device, batch_size, max_pixels, weights)
        labeller = Labeller(
            self, options, min_confidence=min_confidence, outliers=outliers, coverage=coverage
        )
        return one_by_one(
            part for batch in batches for part in labeller.label(list(map(image_of_stream, batch)))
        )

    def predict_features(
        self,
        features: ArrayLike | str | os.PathLike[str],
        ids: Sequence[Any] | NDArray[Any] | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        min_confidence: float = 0.0,
        outliers: bool = False,
        coverage: float | None = None,
    ) -> Predictions:
        """Label embeddings that are computed already.

        Parameters
        ----------
        features : array of shape (n, d), or path
            The embeddings of n images, as in `Dataset.X`; a features file that `import_features`
            reads; or an embeddings file with the model's settings.
        ids : array or list of n values, optional
            Ids of the rows of an array, which the predictions have as paths. By default the numbers
            of the rows. A file has ids of its own.
        columns : mapping, optional
            Names of arrays or columns of a features file, see `import_features`.
        min_confidence, outliers, coverage
            See `predict`.

        Returns
        -------
        Predictions
            One prediction for each row, in their order.

        Raises
        ------
        ModelError
            If the embedding or its number of columns is another one, or outliers or sets are
            requested and the model has no detector or no sets.
        SpecError
            If an embeddings file was made with other settings.
        ParameterError, DatasetError, StoreError
            If the features can't be read, or the values are not finite.
        """
        labeller = EmbeddingLabeller(
            self, min_confidence=min_confidence, outliers=outliers, coverage=coverage
        )
        if isinstance(features, str | os.PathLike):
            if ids is not None:
                raise ParameterError("ids is for an array; a file has ids of its own")
            return labeller.label(*read_features(self, features, columns))
        if columns is not None:
            raise ParameterError("columns is for a file; an array has no names")
        rows = feature_rows(features)
        check_columns_of(self, rows, "X")
        named = numbered_ids(len(rows)) if ids is None else check_ids(ids, len(rows))
        return labeller.label(named, rows)

    def score(self, X: Images, y: ArrayLike | Sequence[Any]) -> float:
        """Return the accuracy, as classifiers of scikit-learn do.

        `evaluate` leaves out images that the model was fitted on, and gives intervals.

        Parameters
        ----------
        X : array of shape (n, d), or images
            Embeddings as floating-point numbers, as in `Dataset.X`; or n images, see `predict`.
        y : array, list or pandas Series of n values
            Class of each row or image.

        Returns
        -------
        float
            Share of rows with the right label, from 0 to 1.

        Raises
        ------
        ParameterError
            If X and y don't fit together.
        ImageError
            If an image can't be read.
        ModelError
            If the embeddings have another number of columns.
        """
        from tlfeatures.models.accuracy import accuracy

        check_same_index(X, y)
        predictions = self.predict_features(X) if are_embeddings(X) else self.predict(X)
        return accuracy(self, predictions, y)
