"""The loop that embeds: images in, rows of embeddings out, batch by batch.

Everything that embeds calls it: `extract`, also on a worker, `predict`, `evaluate`, `verify`,
calibration and `Extractor`. So all of them decode ahead, halve a batch that does not fit into
memory, and report their progress.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, groupby
from typing import Generic, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError, ImageError
from tlfeatures.features.batches import check_batch_size, choose_batch_size, fill_batches
from tlfeatures.features.engines.engine import LoadedBackbone
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.images.decoding import MAX_PIXELS, allow_pixels
from tlfeatures.features.images.few_levels import FewLevels
from tlfeatures.features.images.flattening import Decoded
from tlfeatures.features.images.read_ahead import Decoding, ImageToRead, Key, Pixels, read_ahead
from tlfeatures.features.spec import Spec

logger = logging.getLogger(__name__)

# TensorFlow, JAX, PyTorch, OpenVINO, ncnn and NumPy report a lack of memory in these words.
_OUT_OF_MEMORY = (
    *("resourceexhausted", "outofmemory", "memoryerror", "badalloc", "allocfailed"),
    *("failedtoallocate", "allocatememory", "enoughmemory"),
)

_LOG_SECONDS = 10.0  # between two messages about the progress of a long run

Values = dict[str, NDArray[np.float32]]
_Described: TypeAlias = tuple[Key, NDArray[np.float32]]  # an image's key and properties


@dataclass(frozen=True)
class ComputeOptions:
    """Options that do not change the result.

    Attributes
    ----------
    device : {"auto", "cpu", "gpu"}
    batch_size : int or "auto"
        Largest number of images and variants of a forward pass. "auto" takes as many as make it
        faster and fit into memory.
    max_pixels : int
        An image file with more pixels cannot be read.
    weights : str, optional
        Source of the backbone's weights, if they are not where the spec says.
    substitute : bool
        Whether another engine computes where the engine of the spec is not installed.
    threads : int, optional
        Number of CPU threads; all cores if not given.

    Raises
    ------
    ParameterError
        For an option that is out of range.
    """

    device: str = "auto"
    batch_size: int | str = "auto"
    max_pixels: int = MAX_PIXELS
    weights: str | None = None
    substitute: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)
        allow_pixels(self.max_pixels)


@dataclass(frozen=True)
class Batch(Generic[Key]):
    """Embeddings of some images.

    Attributes
    ----------
    keys : list of Key, length b
        The keys of the images.
    values : dict of embedding name to ndarray of shape (b, parts, d), float32
        The parts are the image itself and its variants, or the variants alone.
    properties : ndarray of shape (b, q), float32
        Properties of the images, see `image_properties`.
    variants_only : bool
        Whether the image itself is not among the parts.
    """

    keys: list[Key]
    values: Values
    properties: NDArray[np.float32]
    variants_only: bool = False

    @property
    def parts(self) -> int:
        """Number of embedded parts of each image."""
        return int(next(iter(self.values.values())).shape[1])

    @property
    def images(self) -> Values:
        """Embedding name -> embeddings of the images themselves, (b, d); {} without them."""
        if self.variants_only:
            return {}
        return {name: value[:, 0] for name, value in self.values.items()}

    @property
    def variants(self) -> Values:
        """Embedding name -> embeddings of the variants, (b, variants, d)."""
        first = 0 if self.variants_only else 1
        return {name: value[:, first:] for name, value in self.values.items()}


class Embedder:
    """The backbone of a spec, which is loaded when the first image can be read.

    Parameters
    ----------
    spec : Spec
    names : sequence of str
        The embeddings wanted, `LAYER.POOLING`.
    options : ComputeOptions
    """

    def __init__(
        self, spec: Spec, names: Sequence[str], options: ComputeOptions = ComputeOptions()
    ) -> None:
        self._spec, self._names, self._options = spec, list(names), options
        self._fitting: int | None = None  # size of a batch, after a larger one did not fit
        self.decoding = Decoding(spec.size, spec.augmentation, spec.value_range, options.max_pixels)

    @cached_property
    def backbone(self) -> LoadedBackbone:
        """The backbone, which is loaded at the first use.

        Raises
        ------
        WeightsError, SpecError, EngineError, ParameterError
            See `load_backbone`.
        """
        return load_backbone(
            self._spec,
            self._names,
            device=self._options.device,
            weights=self._options.weights,
            substitute=self._options.substitute,
            threads=self._options.threads,
        )

    def batch_size(self, count: int) -> int:
        """Return the number of images and variants of a forward pass, for a number of images."""
        passes = count * self.decoding.parts
        chosen = choose_batch_size(passes, self._options.batch_size, self.backbone.most)
        return chosen if self._fitting is None else min(chosen, self._fitting)

    def embed_pixels(self, batch: Pixels, size: int) -> Values:
        """Compute (b, parts, d) from (b, parts, h, w, 3), in forward passes of `size` at most.

        Raises
        ------
        EngineError
            If the device has no memory for a single image, or a value isn't finite.
        """
        try:
            values = self._forward(batch, size)
        except Exception as error:  # each engine raises an error of its own
            if not _is_out_of_memory(error):
                raise
            if size == 1:
                height, width = batch.shape[-3:-1]
                raise EngineError(
                    f"no memory for one image of {height} x {width}: give a smaller --size"
                ) from error
        else:
            self._refuse_nan(values)
            return values
        self._fitting = size // 2
        logger.warning("no memory for larger batches: going on with %d images", self._fitting)
        return self.embed_pixels(batch, self._fitting)

    def _refuse_nan(self, values: Values) -> None:
        """Refuse rows of which no head could learn anything."""
        for name, rows in values.items():
            bad = int((~np.isfinite(rows)).any(axis=(1, 2)).sum())
            if bad:
                raise EngineError(
                    f"backbone {self._spec.backbone} gives values of {name} that aren't finite "
                    f"numbers (NaN or infinity) for {bad} of {len(rows)} images: choose another "
                    "layer, or mend the network"
                )

    def _forward(self, batch: Pixels, most: int) -> Values:
        count, parts = batch.shape[:2]
        images = batch.reshape(-1, *batch.shape[2:])
        passes = -(-len(images) // most)
        size = -(-len(images) // passes)
        if passes * size > len(images):  # the first images fill the last pass
            images = np.resize(images, (passes * size, *images.shape[1:]))
        starts = range(0, len(images), size)
        outputs = [self.backbone.embed(images[start : start + size]) for start in starts]
        return {
            name: np.concatenate([output[name] for output in outputs])[: count * parts].reshape(
                count, parts, -1
            )
            for name in outputs[0]
        }


class EmbeddingRun(Generic[Key]):
    """One pass over images that are embedded.

    Parameters
    ----------
    embedder : Embedder
    images : iterable of ImageToRead
    count : int
        Number of images of an uninterrupted run. It decides the size of a batch.
    place : callable (key) -> int, optional
        Position of an image in an uninterrupted run, ascending. The number of images before it if
        not given. The last bits of some backbones depend on it.
    variants_only : callable (key) -> bool, optional
        Whether only the variants of an image are embedded.
    progress : callable (images done), optional
        Called after each batch; an image that cannot be read counts as done.

    Attributes
    ----------
    failures : list of (Key, ImageError)
        Images that could not be read so far, in their order.
    few_levels : list of (Key, FewLevels)
        Images with few grey levels so far, in their order.
    """

    def __init__(
        self,
        embedder: Embedder,
        images: Iterable[ImageToRead[Key]],
        count: int,
        *,
        place: Callable[[Key], int] | None = None,
        variants_only: Callable[[Key], bool] = lambda _: False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.failures: list[tuple[Key, ImageError]] = []
        self.few_levels: list[tuple[Key, FewLevels]] = []
        self._embedder, self._count = embedder, count
        self._place, self._variants_only, self._progress = place, variants_only, progress
        self._decoded = self._readable(read_ahead(images, embedder.decoding))
        self._first: tuple[Key, Decoded] | None = None

    def start(self) -> bool:
        """Read up to the first image that can be read, and load the backbone.

        Returns
        -------
        bool
            False if no image can be read. Then no backbone is loaded.
        """
        if self._first is None:
            self._first = next(self._decoded, None)
        # Loading the backbone takes long: it is done only once there is an image to embed.
        return self._first is not None and self._embedder.backbone is not None

    def batches(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Batch[Key]]:
        """Embed batch by batch, in the order of the images.

        Parameters
        ----------
        stop : callable () -> bool, optional
            Called before each forward pass. True ends the run after the batch at work.

        Yields
        ------
        Batch
        """
        done, logged = 0, time.monotonic()
        try:
            for batch in self._batches(stop):
                yield batch
                done += len(batch.keys)
                self._progress(done + len(self.failures))
                if time.monotonic() - logged > _LOG_SECONDS:
                    logged = time.monotonic()
                    logger.info("%d images are embedded so far", done)
        finally:
            self._decoded.close()  # ends the threads that decode

    def _batches(self, stop: Callable[[], bool]) -> Iterator[Batch[Key]]:
        """Embed in a thread, so that a batch is collected and written while others are embedded."""
        if not self.start() or self._first is None:
            return
        with ThreadPoolExecutor(1) as thread:
            embedding: Future[Batch[Key]] | None = None
            for filled in self._filled_batches(chain([self._first], self._decoded)):
                if stop():
                    break
                following = thread.submit(self._embed, *filled)
                if embedding is not None:
                    yield embedding.result()
                embedding = following
            if embedding is not None:
                yield embedding.result()

    def _filled_batches(
        self, images: Iterable[tuple[Key, Decoded]]
    ) -> Iterator[tuple[list[_Described[Key]], list[int], Pixels, bool]]:
        """Yield images, their rows in the batch, the batch, and whether it has variants only."""
        place = self._place
        for variants_only, group in groupby(images, key=lambda item: self._variants_only(item[0])):
            parts = self._embedder.decoding.parts - variants_only
            stacks = (
                ((key, decoded.properties), decoded.pixels[variants_only:])
                for key, decoded in group
            )
            size = self._embedder.batch_size(self._count)
            for described, rows, batch in fill_batches(
                stacks,
                max(1, size // parts),
                one_shape=self._embedder.backbone.one_shape,
                place=None if place is None else lambda image: place(image[0]),
            ):
                yield described, rows, batch, variants_only

    def _embed(
        self,
        images: list[_Described[Key]],
        rows: list[int],
        batch: Pixels,
        variants_only: bool,
    ) -> Batch[Key]:
        values = self._embedder.embed_pixels(batch, self._embedder.batch_size(self._count))
        return Batch(
            [key for key, _ in images],
            {name: value[rows] for name, value in values.items()},
            np.stack([properties for _, properties in images]),
            variants_only,
        )

    def _readable(
        self, decoded: Iterable[tuple[Key, Decoded | ImageError]]
    ) -> Generator[tuple[Key, Decoded], None, None]:
        """Yield images that can be read, with pixels (parts, h, w, 3); collect the failures."""
        for key, result in decoded:
            if isinstance(result, ImageError):
                self.failures.append((key, result))
                continue
            if result.few_levels is not None:
                self.few_levels.append((key, result.few_levels))
            pixels = result.pixels
            yield key, result if pixels.ndim == 4 else replace(result, pixels=pixels[None])


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or the one that it was raised from and may shorten, says so."""
    text = f"{type(error).__name__} {error}".lower().replace("_", "").replace(" ", "")
    if any(word in text for word in _OUT_OF_MEMORY):
        return True
    return error.__cause__ is not None and _is_out_of_memory(error.__cause__)
