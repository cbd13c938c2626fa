"""The backbone as a scikit-learn transformer: images in, one embedding out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.backbones.table import (
    DEFAULT_BACKBONE,
    embedding_widths,
    find_backbone,
)
from tlfeatures.features.batches import batch_size_for, batched
from tlfeatures.features.calibrate import IMAGES, in_order_of_sample, measure_ranges
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.images.decoding import decode_content
from tlfeatures.features.images.few_levels import FewLevels, warn_of_few_levels
from tlfeatures.features.images.flattening import to_pixels
from tlfeatures.features.images.reading import opened
from tlfeatures.features.images.value_range import parse_value_range
from tlfeatures.features.plan import Settings, make_spec
from tlfeatures.features.spec import Spec, parse_size

_NOT_CALIBRATED = (
    "This %(name)s of precision int8 is not fitted yet: fit(X) measures the ranges of its layers "
    "on images X"
)


class Extractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Embed images by a frozen backbone.

    Cloning is free: weights load at the first `transform` and are shared by every extractor of the
    process with the same settings. Fitting does nothing, but for int8: there it measures the
    ranges of the layers on the images that it is given.

    Parameters
    ----------
    backbone : str
        Of the table `tlfeatures.features.backbones.table.BACKBONES`.
    layer : str or None
        None is the backbone's default layer.
    pool : {"avg", "max", "flatten", "none"}
    size : int, str or (int, int)
        Side, or height and width, in pixels, to which every image is resized.
    weights : str
        `imagenet`, `random` or the path of a file of Keras weights.
    precision : {"auto", "float32", "bfloat16", "int8"}
        int8 must be fitted before it can transform, on images like those to be transformed.
    engine : {"auto", "keras", "openvino", "ncnn"}
    device : {"auto", "cpu", "gpu"}
    batch_size : int or "auto"
    random_state : int or None
        Seed of random weights.
    value_range : str or (float, float), optional
        The values that become black and white, of image files with more than 8 bits a channel:
        (0, 4095) for a camera of 12 bits. If not given, the range that a file states, or 0 to
        65,535.

    Attributes
    ----------
    quantization_ : Quantization
        Ranges of the layers' inputs; of a fitted int8 extractor alone.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(Extractor(size=150), LogisticRegression())
    """

    def __init__(
        self,
        backbone: str = DEFAULT_BACKBONE,
        layer: str | None = None,
        pool: str = "avg",
        size: Any = 224,
        weights: str = "imagenet",
        precision: str = "auto",
        engine: str = "auto",
        device: str = "auto",
        batch_size: int | str = "auto",
        random_state: int | None = None,
        value_range: Any = None,
    ) -> None:
        self.backbone = backbone
        self.layer = layer
        self.pool = pool
        self.size = size
        self.weights = weights
        self.precision = precision
        self.engine = engine
        self.device = device
        self.batch_size = batch_size
        self.random_state = random_state
        self.value_range = value_range

    def fit(self, X: Any = None, y: Any = None) -> Extractor:
        """Check the parameters, and calibrate int8; else nothing, as the backbone is frozen.

        Parameters
        ----------
        X : sequence of path, or of uint8 arrays
            As for `transform`; needed for int8 alone. A sample of 64 of them is measured, drawn by
            a fixed seed.
        y : None
            Ignored.

        Raises
        ------
        ParameterError
            For a parameter that can't be, and for int8 without images.
        SourceError
            If the images leave a layer of int8 without a range.
        ImageError
            Naming the first image of the sample that can't be read.
        """
        self._embedding()
        parse_value_range(self.value_range)
        if self.precision == "int8":
            self.quantization_ = self._measured(X)
        return self

    def _measured(self, X: Any) -> Quantization:
        if X is None:
            raise ParameterError("precision int8 needs images: fit(X) measures its ranges on them")
        _check_input(X)
        if not len(X):
            raise ParameterError("precision int8 needs images to measure its ranges on, got none")
        items, spec = list(X), self._spec()
        sample = in_order_of_sample(len(items))[:IMAGES]
        images = ((place, _pixels(items[place], spec, [])) for place in sample)
        return measure_ranges(spec, images, self.device)

    def transform(self, X: Sequence[Any] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed images.

        Parameters
        ----------
        X : sequence of path, or of uint8 arrays of shape (h, w), (h, w, 3) or (h, w, 4)
            Or one array of shape (n, h, w, 3), uint8, RGB.

        Returns
        -------
        ndarray of shape (n, d), float32

        Raises
        ------
        ImageError
            Naming the first image that can't be read.
        NotFittedError
            For int8, if it is not fitted.
        WeightsError
        """
        _check_input(X)
        name, width = self._embedding()
        spec = self._spec()
        if self.precision == "int8":
            check_is_fitted(self, "quantization_", msg=_NOT_CALIBRATED)
            spec = replace(spec, quantization=self.quantization_)
        backbone = load_backbone(spec, [name], device=self.device)
        few_levels: list[tuple[str, FewLevels]] = []
        images = ((None, _pixels(item, spec, few_levels)) for item in X)
        batch_size = batch_size_for(len(X), self.batch_size, backbone.most)
        made = [
            backbone.embed(batch)[name][rows]
            for _, rows, batch in batched(images, batch_size, one_shape=backbone.one_shape)
        ]
        warn_of_few_levels(few_levels, "value_range=({})")
        return np.concatenate(made) if made else np.empty((0, width), np.float32)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the columns `LAYER.POOLING_0`, `LAYER.POOLING_1` and so on."""
        name, width = self._embedding()
        return np.array([f"{name}_{column}" for column in range(width)], object)

    def _spec(self) -> Spec:
        """Describe the backbone; without the ranges of int8."""
        trained = find_backbone(self.backbone).trained
        settings = Settings(
            weights=self.weights if trained else None,
            engine=self.engine,
            precision=self.precision,
            random_state=self.random_state,
            value_range=self.value_range,
        )
        name, _ = self._embedding()
        return make_spec(settings, self.backbone, parse_size(self.size), [name], self.device)

    def _embedding(self) -> tuple[str, int]:
        layer = self.layer or find_backbone(self.backbone).default_layer
        widths = embedding_widths(self.backbone, [layer], [self.pool], parse_size(self.size))
        return next(iter(widths.items()))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = self.precision == "int8"
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


def _check_input(X: Any) -> None:
    """Refuse what would be taken for a sequence of images and is none."""
    numbers = isinstance(X, np.ndarray) and X.dtype.kind not in "OUS"
    if isinstance(X, str | os.PathLike) or not hasattr(X, "__len__") or (numbers and X.ndim != 4):
        found = f"an array of shape {X.shape}" if numbers else repr(X)
        raise ParameterError(
            f"expected a sequence of paths or images, or an array (n, h, w, 3), got {found}"
        )


def _pixels(item: Any, spec: Spec, few_levels: list[tuple[str, FewLevels]]) -> NDArray[np.uint8]:
    if not isinstance(item, np.ndarray):
        try:
            with opened(Path(item)) as content:
                decoded = decode_content(content, spec.size, value_range=spec.value_range)
        except ImageError as error:
            raise ImageError(f"{item}: {error}") from error
        if decoded.few_levels is not None:
            few_levels.append((str(item), decoded.few_levels))
        return decoded.pixels
    if item.dtype != np.uint8 or item.ndim not in (2, 3) or item.shape[2:] not in ((), (3,), (4,)):
        raise ParameterError(
            f"an image must be a path or a uint8 array (h, w, 3), got {item.dtype} {item.shape}"
        )
    return to_pixels(Image.fromarray(item), spec.size)
