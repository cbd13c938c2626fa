"""What is sent to a worker, and what comes back: plain data, which is pickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from tlfeatures import __version__
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.images.few_levels import FewLevels
from tlfeatures.features.images.identify import Known
from tlfeatures.features.plan import Task
from tlfeatures.features.sources.folders import ImageFile
from tlfeatures.features.spec import Spec


@dataclass(frozen=True)
class IdentifyOrder:
    """Images that a worker identifies.

    Attributes
    ----------
    images : list of ImageFile
    known : dict of id to (stamp, digest)
        A file that still has this stamp is not read.
    """

    images: list[ImageFile]
    known: Known


@dataclass(frozen=True)
class EngineOrder:
    """Arguments of `choose_engine`, which a worker calls."""

    engine: str | None
    precision: str | None
    device: str
    size: tuple[int, int]


@dataclass(frozen=True)
class CalibrationOrder:
    """Image files on which a worker calibrates an int8 backbone; see `calibrate`."""

    spec: Spec
    files: list[tuple[str, bytes]]
    options: ComputeOptions


@dataclass(frozen=True)
class Recipe:
    """What all shards of a run have in common.

    Attributes
    ----------
    folder : str
        Path or URL of the folder of the shards, as every worker sees it.
    spec : Spec
    embeddings : dict of name to width
    dtype : str
    extent : int
        Number of images of an uninterrupted run; see `Plan.extent`.
    options : ComputeOptions
    version : str
        Version of this package, as another version could compute something else.
    """

    folder: str
    spec: Spec
    embeddings: dict[str, int]
    dtype: str
    extent: int
    options: ComputeOptions
    version: str = __version__


@dataclass(frozen=True)
class ShardOrder:
    """A shard that a worker makes.

    Attributes
    ----------
    recipe : Recipe
    tasks : list of Task
        Its images, in the order of their rows; each once, whatever rows of the file it has.
    anew : bool
        Whether the shard is made again although there is one of its name.
    """

    recipe: Recipe
    tasks: list[Task]
    anew: bool = False

    @property
    def name(self) -> str:
        """Name of the shard's file: a hash of the order.

        The size of a batch is no part of it, although the last bits of some engines depend on it.
        """
        recipe = self.recipe
        spec = recipe.spec.to_dict()
        del spec["weights"]  # their source may differ; their hash stays
        common = [spec, recipe.embeddings, recipe.dtype, recipe.version]
        digest = hashlib.sha256(json.dumps(common, sort_keys=True).encode())
        for task in self.tasks:
            digest.update(f"\n{task.image.id}\0{task.place}\0".encode() + task.digest)
        return f"{digest.hexdigest()}.h5"


@dataclass(frozen=True)
class Receipt:
    """What the client needs to know of a shard without opening it.

    Attributes
    ----------
    name : str
        Name of the shard's file.
    size : int
        Its size in bytes.
    sha256 : bytes
        Hash of its bytes.
    digests : bytes
        sha256 of the image of each row, 32 bytes a row; zeros where it could not be embedded.
    failures : dict of row to str
        Why images could not be embedded.
    few_levels : dict of row to FewLevels
        Images with few grey levels, if the shard was made just now.
    """

    name: str
    size: int
    sha256: bytes
    digests: bytes
    failures: dict[int, str]
    few_levels: dict[int, FewLevels] = field(default_factory=dict)

    def row_digests(self) -> list[bytes]:
        """Give the sha256 of the image in each row; `UNREADABLE` where there is none."""
        return [self.digests[start : start + 32] for start in range(0, len(self.digests), 32)]
