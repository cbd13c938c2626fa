"""A frozen backbone as a scikit-learn transformer: images in, embeddings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from tlfeatures.errors import ImageError, ParameterError
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.backbones.table import DEFAULT_BACKBONE, embedding_widths
from tlfeatures.features.calibrate import SAMPLE, calibration_run, measure_ranges, sample_order
from tlfeatures.features.combined import PLUS, join
from tlfeatures.features.embed import ComputeOptions, Embedder, EmbeddingRun
from tlfeatures.features.images.few_levels import FewLevels, warn_of_few_levels
from tlfeatures.features.images.inputs import (
    ImageInput,
    images_in_parts,
    is_single,
    name_of,
    to_read,
    total_of,
)
from tlfeatures.features.images.value_range import parse_value_range
from tlfeatures.features.settings import (
    Chosen,
    Settings,
    choose_backbone,
    make_spec,
    record_of,
)
from tlfeatures.features.spec import Spec
from tlfeatures.names import as_list
from tlfeatures.progress import Progress, shown_progress

_NOT_CALIBRATED = (
    "This %(name)s of precision int8 is not fitted yet: fit(X) measures the ranges of its layers "
    "on images X"
)


class Extractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Embed images by a frozen backbone.

    Cloning is free: weights load at the first `transform`, and all extractors of a process with the
    same settings share them. Fitting opens a network of a file or of Keras, once for all later
    calls. For int8 it also measures the ranges of the layers on the images.

    Parameters
    ----------
    backbone : str, default `DEFAULT_BACKBONE`
        Name of the frozen network, one of `tlfeatures.features.backbones.table.BACKBONES`, or the
        path of an ONNX file or of its declaration.
    layers : str or sequence of str, optional
        `LAYER`, pooled by each of `pools`, or `LAYER.POOLING`. None is the backbone's default
        layer. Several embeddings are combined: every row of every embedding is scaled to length 1
        (see `tlfeatures.features.combined.join`).
    pools : str or sequence of str, optional
        "avg", "max" or "flatten"; "cls" for tokens. None is the default pooling of each layer: cls
        for tokens with a class token, else avg.
    size : int, str or (int, int), optional
        Side, or height and width, in pixels, to which every image is resized. None is the size of
        the backbone: the one that its weights were trained on, or that its file states, else 224.
    weights : str, default "imagenet"
        "imagenet", "random", or the path of a file of Keras weights. For a network of your own: the
        path of its ONNX file, if it isn't in the folder of the declaration.
    precision : {"auto", "float32", "bfloat16", "int8"}
        Precision of the forward pass; "auto" is float32, or bfloat16 where it is faster and the
        embeddings are nearly the same. With int8, `fit` must see images like those to be
        transformed.
    engine : {"auto", "keras", "openvino", "ncnn", "onnxruntime"}
        Library that computes the forward pass; "auto" is the fastest one that is installed, as
        `extract` measured it on this machine, else by a fixed order.
    device : {"auto", "cpu", "gpu"}
        Where the forward pass is computed.
    batch_size : int or "auto"
        Largest number of images of a forward pass.
    random_state : int or None
        Seed of random weights.
    value_range : str or (float, float), optional
        The values that become black and white, for image files with more than 8 bits a channel:
        (0, 4095) for a camera of 12 bits. If not given, the range that a file states, or 0 to
        65,535.
    progress : bool or callable of (done, total), optional
        Counts images; the total is 0 for an iterator. See `extract`.

    Attributes
    ----------
    quantization_ : Quantization
        Ranges of the layers' inputs, after `fit` with int8.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(Extractor(size=150), LogisticRegression())
    """

    _opened: tuple[str, Chosen] | None = None  # settings, and the backbone that they name

    def __init__(
        self,
        backbone: str = DEFAULT_BACKBONE,
        layers: str | Sequence[str] | None = None,
        pools: str | Sequence[str] | None = None,
        size: int | str | Sequence[int] | None = None,
        weights: str = "imagenet",
        precision: str = "auto",
        engine: str = "auto",
        device: str = "auto",
        batch_size: int | str = "auto",
        random_state: int | None = None,
        value_range: str | Sequence[float] | None = None,
        progress: bool | Progress | None = None,
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.pools = pools
        self.size = size
        self.weights = weights
        self.precision = precision
        self.engine = engine
        self.device = device
        self.batch_size = batch_size
        self.random_state = random_state
        self.value_range = value_range
        self.progress = progress

    def fit(self, X: Iterable[ImageInput] | None = None, y: object = None) -> Self:
        """Check the parameters, and measure the ranges of int8.

        Parameters
        ----------
        X : sequence of images
            As for `transform`; only int8 needs it. A sample of 64 images, drawn by a fixed seed, is
            measured.
        y : None
            Ignored.

        Raises
        ------
        ParameterError
            For a parameter that is out of range, and for int8 without images, or with an iterator,
            of which nothing would be left for `transform`.
        SourceError
            If the images leave a layer of int8 without a range.
        ImageError
            Naming the first image of the sample that cannot be read.
        """
        self._opened = None  # its file may be another one by now
        self._widths()
        parse_value_range(self.value_range)
        if self.precision == "int8":
            self.quantization_ = self._measure(X)
        return self

    def _measure(self, X: Iterable[ImageInput] | None) -> Quantization:
        if X is None:
            raise ParameterError("precision int8 needs images: fit(X) measures its ranges on them")
        if isinstance(X, Iterator):
            raise ParameterError("precision int8 reads its images twice; give a list of them")
        _check_several(X)
        (items,) = images_in_parts(X)
        if not items:
            raise ParameterError("precision int8 needs images to measure its ranges on, got none")
        sample = [(row, items[row]) for row in sample_order(len(items))[:SAMPLE]]
        spec = self._spec()
        images = [to_read(item, name_of(item, row)) for row, item in sample]
        run = calibration_run(spec, images, self._options())
        try:
            return measure_ranges(spec.find_backbone(), run)
        finally:
            _raise_failure(run)

    def transform(self, X: Iterable[ImageInput]) -> NDArray[np.float32]:
        """Embed images.

        Parameters
        ----------
        X : sequence or iterator of images
            Paths, URLs, uint8 arrays of shape (h, w), (h, w, 3) or (h, w, 4), and images of Pillow;
            or one array of shape (n, h, w, 3), uint8, RGB. An iterator is read in parts.

        Returns
        -------
        ndarray of shape (n, d), float32

        Raises
        ------
        ParameterError
            If something isn't an image, such as an array of floating-point numbers.
        ImageError
            Naming the first image that cannot be read: `image 0` is the first image in memory.
        NotFittedError
            If int8 is not fitted.
        WeightsError
            If the weights cannot be obtained.
        """
        _check_several(X)
        widths, spec = self._widths(), self._spec()
        if self.precision == "int8":
            check_is_fitted(self, "quantization_", msg=_NOT_CALIBRATED)
            spec = replace(spec, quantization=self.quantization_)
        embedder = Embedder(spec, list(widths), self._options())
        rows = [np.empty((0, sum(widths.values())), np.float32)]
        parts = images_in_parts(X)
        total = total_of(parts)
        done = 0
        few_levels: list[tuple[str, FewLevels]] = []
        with shown_progress(self.progress, "embedding", "images") as show:
            for items in parts:
                images = [to_read(item, name_of(item, done + i)) for i, item in enumerate(items)]
                run = EmbeddingRun(embedder, images, len(images))
                for batch in run.batches():
                    _raise_failure(run)
                    rows.append(join(batch.images, PLUS.join(widths)))
                    done += len(rows[-1])
                    show(done, total)
                _raise_failure(run)
                few_levels += run.few_levels
        warn_of_few_levels(few_levels, "value_range=({})")
        return np.concatenate(rows)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Name the columns `LAYER.POOLING_0`, `LAYER.POOLING_1` and so on."""
        widths = self._widths().items()
        names = [f"{name}_{column}" for name, width in widths for column in range(width)]
        return np.array(names, object)

    def _options(self) -> ComputeOptions:
        return ComputeOptions(device=self.device, batch_size=self.batch_size)

    def _spec(self) -> Spec:
        """Return the spec of the backbone, without the ranges of int8."""
        backbone, size = self._backbone()
        settings = Settings(
            weights=self.weights if record_of(backbone).trained else None,
            engine=self.engine,
            precision=self.precision,
            random_state=self.random_state,
            value_range=self.value_range,
        )
        return make_spec(settings, backbone, size, list(self._widths()), self.device)

    def _backbone(self) -> Chosen:
        """Return the backbone and the size of the images; a network is opened once."""
        weights = None if self.weights == "imagenet" else self.weights
        layers = tuple(as_list(self.layers or ()))
        settings = Settings(
            self.backbone,
            layers,
            size=self.size,
            weights=weights,
            random_state=self.random_state,
        )
        key = repr(settings)
        if self._opened is None or self._opened[0] != key:
            self._opened = key, choose_backbone(settings)
        return self._opened[1]

    def _widths(self) -> dict[str, int]:
        """Return the width of each embedding."""
        backbone, size = self._backbone()
        record = record_of(backbone)
        layers = record.default_layer if self.layers is None else self.layers
        pools = as_list(self.pools or ())
        if not as_list(layers) or (self.pools is not None and not pools):
            raise ParameterError(
                f"layers and pools name no embedding: they are {layers!r} and {self.pools!r}"
            )
        return embedding_widths(record, as_list(layers), pools, size)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = self.precision == "int8"
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


def _check_several(X: object) -> None:
    """Refuse a single image: a transformer takes several samples."""
    if is_single(X):
        value = f"an array of shape {X.shape}" if isinstance(X, np.ndarray) else repr(X)
        raise ParameterError(
            "expected a sequence of paths or images, or an array (n, h, w, 3), got "
            f"{value}; for one image, give [image]"
        )


def _raise_failure(run: EmbeddingRun[str]) -> None:
    """Raise the error of the first image that cannot be read."""
    for name, error in run.failures:
        raise ImageError(f"{name}: {error}") from error
