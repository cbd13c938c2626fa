"""The JSON file in which a user declares a network of their own: `DECLARATION.json`.

It states what the ONNX file can't: order of the colours, mean and standard deviation, which tensor
is a layer, source and licence. docs/own_network.md describes it for users. `file` is the name of a
file in the declaration's own folder, so that a declaration can't refer to other folders.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.declaration import (
    COLOURS,
    LAYOUTS,
    MOST_OUTPUTS,
    TOKENS,
    CheckVector,
    Declaration,
)
from tlfeatures.features.backbones.declaration_values import (
    MOST_VALUES,
    choice_of,
    colours_of,
    first_of,
    known_keys,
    name_of,
    number_of,
    prefix_of,
    shape_of,
    shortened,
    similarity_of,
    text_of,
)
from tlfeatures.features.backbones.keras_preset import PREFIX
from tlfeatures.features.backbones.record import LARGEST_SIDE
from tlfeatures.features.backbones.table import BACKBONES

FORMAT = "tlfeatures backbone"
FORMAT_VERSION = 1
NETWORK_FILES = (".onnx", ".keras")

_MOST_BYTES = 200_000
_KEYS = {
    *("format", "version", "name", "file", "sha256", "input", "layout", "size", "colour"),
    *("mean", "std", "outputs", "check", "near_duplicate", "source", "licence"),
}


@dataclass(frozen=True)
class Wanted:
    """A layer as it is declared.

    Attributes
    ----------
    layer, tensor : str
    layout : {"NCHW", "NHWC", "tokens"} or None
        None if it isn't stated, or the layer is a vector.
    prefix : int
        Number of tokens before those of the patches.
    """

    layer: str
    tensor: str
    layout: str | None = None
    prefix: int = 0


@dataclass(frozen=True)
class DeclarationFile:
    """What a user declares; None where the ONNX file decides.

    Attributes
    ----------
    name, colour, mean, std, near_duplicate, source, licence
        See `Declaration`.
    sha256 : str or None
        Hash that the ONNX file must have; None accepts any file.
    input, layout, size
        Name and axes of the input, height and width in pixels.
    outputs : tuple of Wanted
        Empty: the file's own outputs.
    default_layer : str or None
        None: the first layer.
    check : CheckVector or None
        Its layer is empty for the default layer, its size (0, 0) for the size of the network.
    """

    name: str
    sha256: str | None
    input: str | None
    layout: str | None
    size: tuple[int, int] | None
    colour: str
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    outputs: tuple[Wanted, ...]
    default_layer: str | None
    check: CheckVector | None
    near_duplicate: float | None
    source: str
    licence: str

    @classmethod
    def of(cls, declaration: Declaration, sha256: str | None) -> DeclarationFile:
        """Return what the user of a declaration declared, to read the same ONNX file again."""
        outputs = tuple(
            Wanted(item.layer, item.tensor, item.layout, item.prefix)
            for item in declaration.outputs
        )
        return cls(
            name=declaration.name,
            sha256=sha256,
            input=declaration.input,
            layout=declaration.layout,
            size=None,
            colour=declaration.colour,
            mean=declaration.mean,
            std=declaration.std,
            outputs=outputs,
            default_layer=declaration.default_layer,
            check=declaration.check,
            near_duplicate=declaration.near_duplicate,
            source=declaration.source,
            licence=declaration.licence,
        )


def is_file_name(backbone: str) -> bool:
    """Whether a backbone is given as a file or a preset of keras_hub, and not by its name."""
    return backbone.startswith(PREFIX) or backbone.lower().endswith((*NETWORK_FILES, ".json"))


def read_declaration(backbone: str) -> tuple[DeclarationFile, Path]:
    """Read the declaration of a network, and find its file.

    Parameters
    ----------
    backbone : str
        Path of `DECLARATION.json`, or of `FILE.onnx` or `FILE.keras` with a declaration `FILE.json`
        in its folder.

    Returns
    -------
    declared : DeclarationFile
    path : Path
        The file of the network, which may be missing.

    Raises
    ------
    ParameterError
        If there is no declaration, or it has a wrong key or value.
    """
    given = Path(backbone).expanduser()
    path = given.with_suffix(".json") if given.suffix.lower() in NETWORK_FILES else given
    if not path.is_file():
        if path != given and not given.is_file():
            raise ParameterError(f"there is no file {given}, and no declaration {path}")
        if path != given:
            raise ParameterError(
                f"there is no {path}, and {given.name} doesn't say how its images are prepared: "
                f"declare colour, mean and std in {path.name} (docs/own_network.md has an example)"
            )
        raise ParameterError(f"there is no declaration {path}")
    try:
        data = _read_json(path)
        declared, name = _declared(data)
    except ValueError as error:
        raise ParameterError(f"{path} declares no backbone: {error}") from error
    file = path.with_name(name)
    if path != given and file.name != given.name:
        raise ParameterError(f"{path} declares the file {name}, not {given.name}")
    return declared, file


def _read_json(path: Path) -> Any:
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
    try:
        return json.loads(content, object_pairs_hook=_each_key_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error})") from error


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is there twice: it would be unclear which value holds."""
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shortened(twice)} is there more than once")
    return data


def _declared(data: Any) -> tuple[DeclarationFile, str]:
    known_keys(data, "it", _KEYS)
    if data.get("format") != FORMAT or data.get("version") != FORMAT_VERSION:
        raise ValueError(f'it must have "format": "{FORMAT}" and "version": {FORMAT_VERSION}')
    missing = sorted({"name", "file", "colour"} - set(data))
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    name = name_of(data["name"], "name")
    if name in BACKBONES or name in NAMED:
        raise ValueError(f"the name {name} is that of another backbone")
    layout = data.get("layout")
    outputs = _outputs(data.get("outputs", {}))
    size = _size(data["size"], "size") if "size" in data else None
    declared = DeclarationFile(
        name=name,
        sha256=_sha256(data["sha256"]) if "sha256" in data else None,
        input=text_of(data["input"], "input") if "input" in data else None,
        layout=None if layout is None else choice_of(layout, "layout", LAYOUTS),
        size=size,
        colour=choice_of(data["colour"], "colour", COLOURS),
        mean=colours_of(data["mean"], "mean") if "mean" in data else None,
        std=colours_of(data["std"], "std", positive=True) if "std" in data else None,
        outputs=outputs,
        default_layer=None,
        check=_check(data["check"], size) if "check" in data else None,
        near_duplicate=similarity_of(data["near_duplicate"]) if "near_duplicate" in data else None,
        source=text_of(data.get("source", ""), "source"),
        licence=text_of(data.get("licence", ""), "licence"),
    )
    return declared, _file(data["file"])


def _file(value: Any) -> str:
    text_of(value, "file")
    if value in ("", ".", "..") or re.search(r"[/\\:]", value):
        raise ValueError(f"file must be a name in the same folder, got {value!r}")
    return str(value)


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F]{64}", value):
        raise ValueError("sha256 must be 64 hexadecimal digits")
    return value.lower()


def _size(value: Any, kind: str) -> tuple[int, int]:
    sides = [value, value] if type(value) is int else value
    try:
        height, width = shape_of(sides, (2,), kind)
    except ValueError as error:
        raise ValueError(
            f"{kind} must be one side or [height, width] in pixels, got {shortened(value)}"
        ) from error
    if max(height, width) > LARGEST_SIDE:
        raise ValueError(f"{kind} must be at most {LARGEST_SIDE:,} pixels a side")
    return height, width


def _outputs(data: Any) -> tuple[Wanted, ...]:
    if not isinstance(data, dict) or len(data) > MOST_OUTPUTS:
        raise ValueError(f"outputs must name up to {MOST_OUTPUTS} layers and their tensors")
    return tuple(_wanted(layer, value) for layer, value in data.items())


def _wanted(layer: str, value: Any) -> Wanted:
    name_of(layer, "a layer in outputs")
    if isinstance(value, str):
        return Wanted(layer, text_of(value, f"output {layer}"))
    known_keys(value, f"output {layer}", {"tensor", "layout", "kind", "prefix"})
    tensor, layout = text_of(value.get("tensor"), f"tensor of output {layer}"), value.get("layout")
    if "kind" in value:
        choice_of(value["kind"], f"kind of output {layer}", (TOKENS,))
        if layout is not None:
            raise ValueError(f"output {layer} has tokens: leave out layout")
        return Wanted(layer, tensor, TOKENS, prefix_of(value.get("prefix", 0), MOST_VALUES))
    if "prefix" in value:
        raise ValueError(f'output {layer} has a prefix, so it needs "kind": "tokens", too')
    if layout is not None:
        choice_of(layout, f"layout of output {layer}", LAYOUTS)
    return Wanted(layer, tensor, layout)


def _check(data: Any, size: tuple[int, int] | None) -> CheckVector:
    """Read a check; layer and size that are left out are filled in when the file is read."""
    known_keys(data, "check", {"layer", "size", "norm", "first"})
    norm = number_of(data.get("norm"), "check: norm")
    if norm <= 0:
        raise ValueError(f"check: norm must be above 0, got {norm:g}")
    own = _size(data["size"], "check: size") if "size" in data else size
    layer = name_of(data["layer"], "check: layer") if "layer" in data else ""
    return CheckVector(layer, own or (0, 0), norm, first_of(data.get("first")))
