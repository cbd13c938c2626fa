"""The model: a fitted head that is fitted on a dataset and labels image files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.errors import ModelError, ParameterError
from tlfeatures.features.batches import check_batch_size
from tlfeatures.features.embed import ComputeOptions, Progress
from tlfeatures.features.images.decoding import MAX_PIXELS
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.incoming import in_batches
from tlfeatures.models.input_images import as_location, list_images
from tlfeatures.models.labelling import Labeller, Prediction

if TYPE_CHECKING:
    from tlfeatures.model_selection.fit_warnings import Notices
    from tlfeatures.models.evaluate import Trial


class Model(FittedHead):
    """A fitted head that knows how its embedding is made.

    Attributes
    ----------
    head : fitted scikit-learn classifier
    spec : Spec
    embedding : str
        `LAYER.POOLING`, or several side by side, `A+B`.
    info : dict
        JSON-ready facts: classes, counts, images, columns, head, versions, and what `fit` adds.
    outliers : OutlierDetector or None
        Tells images unlike those that the head was fitted on.
    digests : ndarray of shape (images, 32), uint8, or None
        sha256 of the image files that the head was fitted on.
    """

    @classmethod
    def fit(
        cls,
        head: Any,
        data: Dataset,
        *,
        name: str | None = None,
        facts: Any = None,
        notices: Notices | None = None,
    ) -> Model:
        """Fit a head on all of a dataset.

        Warnings that the fit raises are logged, each once, with the name of the head.

        Parameters
        ----------
        head : scikit-learn classifier
            A clone of it is fitted; what is kept of a linear one are its coefficients.
        data : Dataset
        name : str, optional
            What `info` calls the head; its class if not given.
        facts : dict, optional
            More to be kept in `info`, JSON-ready: parameters, scores, how they were reached.
        notices : Notices, optional
            Has logged warnings before, which are not logged again.

        Raises
        ------
        ModelError
            If the head gives no probabilities.
        """
        if not hasattr(head, "predict_proba"):
            raise ModelError(
                f"{type(head).__name__} has no predict_proba, which a model needs: wrap it in "
                "sklearn.calibration.CalibratedClassifierCV"
            )
        # `info` reads model files by way of this package, and needs no scikit-learn.
        from sklearn.base import clone

        from tlfeatures.heads.coordinate_step import compact
        from tlfeatures.model_selection.head_fit import fit_on_all
        from tlfeatures.models.outliers import OutlierDetector

        name = name or type(head).__name__
        head = compact(fit_on_all(clone(head), data, name, notices))
        info = {
            "classes": data.classes,
            "counts": {label: int((data.y == label).sum()) for label in data.classes},
            "images": len(data.y),
            "columns": data.X.shape[1],
            "variants": data.n_variants,
            "head": name,
            **(facts or {}),
            "versions": {
                package: metadata.version(package)
                for package in ("tlfeatures", "scikit-learn", "numpy")
            },
        }
        outliers = OutlierDetector.fit(data.X, data.together)
        return cls(head, data.spec, data.embedding, info, outliers, data.digests)

    def predict(
        self,
        inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        batch_size: int | str = "auto",
        weights: str | None = None,
        device: str = "auto",
        max_pixels: int = MAX_PIXELS,
        min_confidence: float = 0.0,
        outliers: bool = False,
    ) -> Iterator[Prediction]:
        """Label image files, embedding them exactly as those that the head was fitted on.

        Parameters
        ----------
        inputs : path or URL, or iterable of them
            Image files, and folders to be searched for them.
        batch_size : int or "auto"
        weights : str, optional
            Where the backbone's weights are, if not where they were when the head was fitted.
        device : {"auto", "cpu", "gpu"}
        max_pixels : int
            An image that has more can't be read.
        min_confidence : float, default 0
            Probability below which the model abstains: the label is None.
        outliers : bool, default False
            Whether to flag images unlike those that the head was fitted on.

        Returns
        -------
        iterator of Prediction
            In the order of `inputs`, one for each image, also for those that can't be read.

        Raises
        ------
        WeightsError
            If the weights are not those of the spec.
        SpecError
            If the spec asks for what this version doesn't do.
        ParameterError
            If an input does not exist.
        ModelError
            If outliers are asked for, and the model was made before they could be told.
        """
        images = list_images(inputs)
        options = ComputeOptions(device, batch_size, max_pixels, weights)
        labeller = Labeller(self, options, min_confidence=min_confidence, outliers=outliers)
        return labeller.label(images)

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
    ) -> Iterator[Prediction]:
        """Label image files as their paths come in, each as soon as it can be.

        The backbone is loaded before the first path is asked for. A path that waits for no other
        is answered at once; those that came in meanwhile form the next batch.

        Parameters
        ----------
        paths : iterable of str
            Is read in a thread of its own.
        batch_size : int or "auto"
            Largest number of images of a batch.
        weights, device, max_pixels, min_confidence, outliers
            See `predict`.

        Returns
        -------
        iterator of Prediction
            One for each path, in their order; what is no file is an error of its own.
        """
        if isinstance(paths, str | bytes | os.PathLike):
            raise ParameterError(f"expected an iterable of paths, got one: {paths!r}")
        batches = in_batches(paths, check_batch_size(batch_size))
        options = ComputeOptions(device, batch_size, max_pixels, weights)
        labeller = Labeller(self, options, min_confidence=min_confidence, outliers=outliers)
        return (
            prediction
            for batch in batches
            for prediction in labeller.label([as_location(path) for path in batch])
        )

    def evaluate(
        self,
        source: str | os.PathLike[str],
        *,
        labels: str | os.PathLike[str] | Mapping[str, str] | None = None,
        groups: str | os.PathLike[str] | None = None,
        label_level: int | None = None,
        label_columns: Mapping[str, str] | None = None,
        near_duplicates: Similarity = "auto",
        weights: str | None = None,
        device: str = "auto",
        batch_size: int | str = "auto",
        max_pixels: int = MAX_PIXELS,
        random_state: int | None = 0,
        progress: Progress | None = None,
    ) -> Trial:
        """Score the model on labelled images that it wasn't fitted on.

        Parameters
        ----------
        source : path or URL
            A folder with one subfolder for each class, or an embeddings file.
        labels, groups, label_level, label_columns, near_duplicates
            See `load_dataset`.
        weights, device, batch_size, max_pixels
            See `predict`; not needed for an embeddings file.
        random_state : int or None
            Seed of the bootstrap.
        progress : callable (images done, images to do), optional

        Returns
        -------
        Trial

        Raises
        ------
        ModelError, DatasetError, SpecError, ParameterError, SourceError
            See `tlfeatures.models.evaluate.evaluate`.
        """
        from tlfeatures.models.evaluate import evaluate

        return evaluate(
            self,
            source,
            labels=labels,
            groups=groups,
            label_level=label_level,
            label_columns=label_columns,
            near_duplicates=near_duplicates,
            weights=weights,
            device=device,
            batch_size=batch_size,
            max_pixels=max_pixels,
            random_state=random_state,
            progress=progress,
        )
