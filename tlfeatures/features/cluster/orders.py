"""Data that is sent to a worker, and that it returns; both are pickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from tlfeatures import __version__
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.images.few_levels import FewLevels
from tlfeatures.features.plan import Task
from tlfeatures.features.spec import Spec


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
    """A shard that a worker creates.

    Attributes
    ----------
    recipe : Recipe
    tasks : list of Task
        The images of the shard, one for each of its rows.
    replace : bool
        Whether the shard is created even if a file of its name exists.
    """

    recipe: Recipe
    tasks: list[Task]
    replace: bool = False

    @property
    def name(self) -> str:
        """Name of the shard's file: a hash of the order.

        The size of a batch is not part of it, although the last bits of some engines depend on it.
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
    """Facts about a shard, so that the client does not have to open it.

    Attributes
    ----------
    name : str
        Name of the shard's file.
    size : int
        Its size in bytes.
    sha256 : bytes
        Hash of its bytes.
    digests : list of bytes
        sha256 of the image of each row; `UNREADABLE` if it could not be embedded.
    failures : dict of row to str
        Reasons why images could not be embedded.
    few_levels : dict of row to FewLevels
        Images with few grey levels; empty for a shard of an earlier run.
    """

    name: str
    size: int
    sha256: bytes
    digests: list[bytes]
    failures: dict[int, str]
    few_levels: dict[int, FewLevels] = field(default_factory=dict)
