"""Pixels to embeddings, batch by batch, with the variants of an image beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import chain, groupby

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError
from tlfeatures.features.batches import Pixels, batched
from tlfeatures.features.engines.engine import LoadedBackbone
from tlfeatures.features.plan import Task

logger = logging.getLogger(__name__)

_OUT_OF_MEMORY = (
    *("resourceexhausted", "outofmemory", "memoryerror", "badalloc", "allocfailed"),
    *("failedtoallocate", "allocatememory", "enoughmemory"),
)

# Embedding -> (b, parts, d): of each image itself and its variants, or of these alone.
Values = dict[str, NDArray[np.float32]]


class Forward:
    """A backbone and the batches that it takes.

    Parameters
    ----------
    backbone : LoadedBackbone
    batch_size : int
        Images and variants of a forward pass; halved where the device has no memory for them.
    """

    def __init__(self, backbone: LoadedBackbone, batch_size: int) -> None:
        self._backbone = backbone
        self._batch_size = batch_size

    def all(self, images: Iterable[tuple[Task, Pixels]]) -> Iterator[tuple[list[Task], Values]]:
        """Embed batch by batch.

        Parameters
        ----------
        images : iterable of (Task, ndarray of shape ([1 + variants,] h, w, 3))

        Yields
        ------
        (list of Task, Values)
            Either all of them are embedded already, and these are their variants, or none is.
        """
        for embedded, group in groupby(images, key=lambda item: item[0].embedded):
            stacks = ((task, each if each.ndim == 4 else each[None]) for task, each in group)
            wanted = ((task, stack[1:] if embedded else stack) for task, stack in stacks)
            first = next(wanted)
            for tasks, rows, batch in batched(
                chain([first], wanted),
                max(1, self._batch_size // len(first[1])),
                one_shape=self._backbone.one_shape,
                place=lambda task: task.place,
            ):
                yield tasks, {name: made[rows] for name, made in self._pass(batch).items()}

    def _pass(self, batch: Pixels) -> Values:
        """(b, parts, h, w, 3) to (b, parts, d): one forward pass, or several of one shape."""
        try:
            return self._passes(batch)
        except Exception as error:  # each engine has its own
            if not _out_of_memory(error):
                raise
            if self._batch_size == 1:
                height, width = batch.shape[-3:-1]
                raise EngineError(
                    f"no memory for one image of {height} x {width}: give a smaller --size"
                ) from error
        self._batch_size //= 2
        logger.warning("no memory for larger batches: going on with %d images", self._batch_size)
        return self._pass(batch)

    def _passes(self, batch: Pixels) -> Values:
        count, parts = batch.shape[:2]
        images = batch.reshape(-1, *batch.shape[2:])
        passes = -(-len(images) // self._batch_size)
        size = -(-len(images) // passes)
        if passes * size > len(images):  # the last pass is padded by the first images
            images = np.resize(images, (passes * size, *images.shape[1:]))
        made = [
            self._backbone.embed(images[start : start + size])
            for start in range(0, len(images), size)
        ]
        return {
            name: np.concatenate([each[name] for each in made])[: count * parts].reshape(
                count, parts, -1
            )
            for name in made[0]
        }


def _out_of_memory(error: Exception) -> bool:
    """TensorFlow, JAX, PyTorch, OpenVINO, ncnn and NumPy say it in these words."""
    said = f"{type(error).__name__} {error}".lower().replace("_", "").replace(" ", "")
    return any(word in said for word in _OUT_OF_MEMORY)
