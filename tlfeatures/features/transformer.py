"""The backbone as a scikit-learn transformer: images in, one embedding out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin

from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.backbone import embedding_widths, find_architecture, load_backbone
from tlfeatures.features.batches import batch_size_for, batched
from tlfeatures.features.decoding import decode_content
from tlfeatures.features.few_levels import FewLevels, warn_of_few_levels
from tlfeatures.features.flattening import to_pixels
from tlfeatures.features.plan import Settings, make_spec
from tlfeatures.features.reading import opened
from tlfeatures.features.spec import Spec, parse_size
from tlfeatures.features.value_range import parse_value_range


class Extractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Embed images by a frozen backbone.

    Fitting does nothing and cloning is free: weights load at the first `transform` and are
    shared by every extractor of the process with the same settings.

    Parameters
    ----------
    backbone : {"vgg16", "pixels"}
    layer : str or None
        None is the backbone's own, block5_pool for VGG16.
    pool : {"avg", "max", "flatten", "none"}
    size : int, str or (int, int)
        Side, or height and width, in pixels, to which every image is resized.
    weights : str
        `imagenet`, `random` or the path of a file of Keras weights.
    precision : {"auto", "float32", "bfloat16"}
    engine : {"auto", "keras", "openvino", "ncnn"}
    device : {"auto", "cpu", "gpu"}
    batch_size : int or "auto"
    random_state : int or None
        Seed of random weights.
    value_range : str or (float, float), optional
        The values that become black and white, of image files with more than 8 bits a channel:
        (0, 4095) for a camera of 12 bits. If not given, the range that a file states, or 0 to
        65,535.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(Extractor(size=150), LogisticRegression())
    """

    def __init__(
        self,
        backbone: str = "vgg16",
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
        """Do nothing but check the parameters: the backbone is frozen."""
        self._embedding()
        parse_value_range(self.value_range)
        return self

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
        WeightsError
        """
        _check_input(X)
        name, width = self._embedding()
        trained = find_architecture(self.backbone).trained
        settings = Settings(
            weights=self.weights if trained else None,
            engine=self.engine,
            precision=self.precision,
            random_state=self.random_state,
            value_range=self.value_range,
        )
        size = parse_size(self.size)
        spec = make_spec(settings, self.backbone, size, [name], self.device)
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

    def _embedding(self) -> tuple[str, int]:
        layer = self.layer or find_architecture(self.backbone).default_layer
        widths = embedding_widths(self.backbone, [layer], [self.pool], parse_size(self.size))
        return next(iter(widths.items()))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
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
