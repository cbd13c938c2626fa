"""The class `Model`: a head that is fitted on a dataset, labels images, and is tested."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.features.images.decoding import MAX_PIXELS
from tlfeatures.features.images.inputs import Images
from tlfeatures.features.sources.open_source import Location
from tlfeatures.models.labelling_head import LabellingHead
from tlfeatures.progress import Progress

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

    from tlfeatures.dataset.labels import Groups, Labels
    from tlfeatures.features.sources.open_source import Location, Locations
    from tlfeatures.model_selection.fit_warnings import Notices
    from tlfeatures.models.evaluate import ModelEvaluation
    from tlfeatures.models.export.export import Export


class Model(LabellingHead):
    """A fitted head with the spec of its embedding, which labels images and embeddings.

    Attributes
    ----------
    head, spec, embedding, info, outliers, digests, joined, sketch, sets
        See `tlfeatures.models.fitted_head.FittedHead`.
    """

    @classmethod
    def fit(
        cls,
        head: BaseEstimator,
        data: Dataset,
        *,
        name: str | None = None,
        facts: dict[str, Any] | None = None,
        notices: Notices | None = None,
    ) -> Model:
        """Fit a head on all images of a dataset.

        Each warning of the fit is logged once, with the name of the head.

        Parameters
        ----------
        head : scikit-learn classifier
            A clone of the head is fitted. A linear head is converted; see `compact`.
        data : Dataset
        name : str, optional
            Name of the head in `info`; by default the name of its class.
        facts : dict, optional
            JSON-ready facts that are added to `info`: parameters, folds and scores.
        notices : Notices, optional
            Logger of warnings. Warnings that it has logged before are not logged again.

        Raises
        ------
        ModelError
            If the head gives no probabilities.
        """
        from tlfeatures.models.fit_model import fit_model  # imports scikit-learn

        return cls(**vars(fit_model(head, data, name, facts, notices)))

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        weights: str | None = None,
        check: Images | None = None,
    ) -> Export:
        """Write the model as one ONNX file; see `tlfeatures.export`.

        Parameters
        ----------
        path, weights, check
            See `tlfeatures.export`.

        Returns
        -------
        Export
        """
        from tlfeatures.models.export.export import export

        return export(self, path, weights=weights, check=check)

    def evaluate(
        self,
        source: Locations | Dataset,
        *,
        images: Location | None = None,
        labels: Labels = None,
        groups: Groups = None,
        label_level: int | None = None,
        columns: Mapping[str, str] | None = None,
        near_duplicates: Similarity = "auto",
        weights: str | None = None,
        device: str = "auto",
        batch_size: int | str = "auto",
        max_pixels: int = MAX_PIXELS,
        random_state: int | None = 0,
        progress: bool | Progress | None = None,
    ) -> ModelEvaluation:
        """Score the model on labelled images that it wasn't fitted on.

        Parameters
        ----------
        source : path, URL, sequence of them, or Dataset
            A folder with one subfolder for each class or other sources of labelled images, an
            embeddings file, or a dataset of its embeddings.
        images : path or URL, optional
            Folder that the paths in a table are relative to.
        labels, groups, label_level, columns, near_duplicates
            See `load_dataset`. Not for a dataset.
        weights, device, batch_size, max_pixels
            See `predict`. They are needed for images only.
        random_state : int or None
            Seed of the bootstrap.
        progress : bool or callable of (done, total), optional
            Counts images. See `extract`.

        Returns
        -------
        ModelEvaluation

        Raises
        ------
        ModelError, DatasetError, SpecError, ParameterError, SourceError
            See `tlfeatures.models.evaluate.evaluate`.
        """
        from tlfeatures.models.evaluate import evaluate

        return evaluate(
            self,
            source,
            images=images,
            labels=labels,
            groups=groups,
            label_level=label_level,
            columns=columns,
            near_duplicates=near_duplicates,
            weights=weights,
            device=device,
            batch_size=batch_size,
            max_pixels=max_pixels,
            random_state=random_state,
            progress=progress,
        )
