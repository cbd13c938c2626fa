"""A folder with a preset of keras_hub: what it says is checked before keras_hub reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.hdf5_links import check_hdf5

PREFIX = "hub:"
WEIGHTS_FILE = "model.weights.h5"

# Families of networks with an encoder of images, by their module in keras_hub.
FAMILIES = ("clip", "dinov2", "siglip", "vit")

_CONFIGS = ("config.json", "image_converter.json")
_MOST_BYTES = {WEIGHTS_FILE: 2**33, "config.json": 2**20, "image_converter.json": 2**16}
_MODULE = re.compile(rf"keras_hub\.src\.models\.({'|'.join(FAMILIES)})\.\w+")
_CLASS = re.compile(r"\w+(Backbone|VisionEncoder|TextEncoder|ImageConverter)")


def check_preset_folder(folder: Path) -> None:
    """Check the configuration and the weights of a preset in a folder.

    Raises
    ------
    WeightsError
        If a file is missing or too large, the preset is no network with an encoder of images, or
        its weights refer to other files.
    """
    for name in (*_CONFIGS, WEIGHTS_FILE):
        path = folder / name
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MOST_BYTES[name]:
            raise WeightsError(
                f"{path} is missing, a link or too large; expected a preset of keras_hub with "
                "config.json, image_converter.json and model.weights.h5"
            )
    for name in _CONFIGS:
        try:
            data = json.loads((folder / name).read_bytes())
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"{folder / name} is not JSON ({error})") from error
        _check_objects(data, folder / name)
    check_hdf5((folder / WEIGHTS_FILE).read_bytes(), str(folder / WEIGHTS_FILE))


def _check_objects(value: Any, path: Path) -> None:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        if not isinstance(item, dict):
            continue
        pending += item.values()
        if "class_name" in item and not _is_known(item):
            place = f"{item.get('module')}.{item['class_name']}"
            raise WeightsError(
                f"{path} has the object {place[:100]}; expected a network of "
                f"{', '.join(FAMILIES)} in keras_hub"
            )


def _is_known(item: dict[str, Any]) -> bool:
    name, module = str(item["class_name"]), str(item.get("module"))
    if (module, name) == ("keras", "DTypePolicy"):
        return True
    own_name = item.get("registered_name") == f"keras_hub>{name}"
    return own_name and bool(_MODULE.fullmatch(module) and _CLASS.fullmatch(name))
