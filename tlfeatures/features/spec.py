"""The spec: what makes two embeddings comparable, as plain data in every file and model."""

from __future__ import annotations

import json
import operator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from tlfeatures.errors import FormatError, ParameterError, SpecError
from tlfeatures.features.backbones.declaration import Declaration, has_unknown_format
from tlfeatures.features.backbones.quantization import Quantization
from tlfeatures.features.backbones.record import LARGEST_SIDE, Backbone
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.images.augment import Augmentation
from tlfeatures.features.images.value_range import ValueRange, parse_value_range
from tlfeatures.features.imported import IMPORTED, UNKNOWN, Imported

PRECISIONS = ("float32", "bfloat16", "int8")

# Entries that are recorded, but are no reason to recompute: the hash of the tensors decides, and
# variants are stored separately from the images. Declarations and imported embeddings have their
# own comparison.
_NOT_COMPARED = {"weights", "random_state", "augmentation", "declaration", "imported"}
_NOT_WRITTEN = {"unknown_declaration", "imported"}
_OBJECTS = {"size", "augmentation", "quantization", "value_range", "declaration"}

# What happens to every image: this version has one value for each of these entries.
IMAGE_RULES = ("resize", "crop", "color", "orientation", "alpha")


@dataclass(frozen=True)
class Spec:
    """The settings that two embeddings must share to be compared.

    Library versions are not part of the spec: they are provenance.

    Attributes
    ----------
    backbone : str
    size : (int, int)
        Height and width of the images that enter the backbone, in pixels.
    precision : {"float32", "bfloat16", "int8"}
        Number format of the forward pass. The values in a file have a format of their own.
    weights : str
        `imagenet`, `random`, `none` or the path of a file. Not compared: the hash decides.
    weights_sha256 : str or None
        Hash over the bytes of the convolution tensors in layer order (kernel, then bias), so
        that one set of weights has one hash whatever file it came in. For a network of
        `keras.applications`: the same over all of its weights, as float32. For an ONNX or `.keras`
        file: the hash of the file.
    top_sha256 : str or None
        The same over the tensors of the fully connected layers, where an embedding needs them.
    random_state : int or None
        Seed of random weights. Not compared.
    preprocessing, resize, crop, color, orientation, alpha : str
        What happens to an image between its file and the backbone.
    value_range : (float, float) or None
        The values that become black and white in images with more than 8 bits a channel. None: the
        range that each image file states, or 0 to 65,535.
    engine : str
        Library that computes the forward pass, see `tlfeatures.features.engines.choose.ENGINES`;
        `none` for a backbone without weights.
    quantization : Quantization or None
        Ranges of an int8 backbone's inputs.
    augmentation : Augmentation or None
        How variants of the images are drawn, on which heads are trained, too. None: no variants.
        Not compared: the images themselves are embedded without it.
    declaration : Declaration or None
        Declaration of a user's own backbone. Input and common layers are compared. Source, licence,
        check vector and further layers aren't, because they don't change an embedding.
    unknown_declaration : str or None
        JSON of a declaration in a format that a newer version has. The rows can be used, but this
        version can't compute others.
    imported : Imported or None
        What is known of embeddings that another program has computed; see `of_imported`. Nothing
        else of such a spec is known: its other fields are placeholders, which `to_dict` leaves out.
    """

    backbone: str
    size: tuple[int, int]
    precision: str
    weights: str
    weights_sha256: str | None
    top_sha256: str | None = None
    random_state: int | None = None
    preprocessing: str = "none"
    resize: str = "bilinear, antialiased, aspect ratio not kept"
    crop: str = "none"
    color: str = "8-bit RGB, embedded profiles ignored"
    orientation: str = "exif"
    alpha: str = "over white"
    value_range: ValueRange | None = None
    engine: str = "keras"
    quantization: Quantization | None = None
    augmentation: Augmentation | None = None
    declaration: Declaration | None = None
    unknown_declaration: str | None = None
    imported: Imported | None = None

    @classmethod
    def of_imported(cls, imported: Imported) -> Spec:
        """Return the spec of embeddings that another program has computed."""
        return cls(
            backbone=IMPORTED,
            size=(0, 0),
            precision=UNKNOWN,
            weights=UNKNOWN,
            weights_sha256=None,
            preprocessing=UNKNOWN,
            resize=UNKNOWN,
            crop=UNKNOWN,
            color=UNKNOWN,
            orientation=UNKNOWN,
            alpha=UNKNOWN,
            engine="none",
            imported=imported,
        )

    @property
    def variants(self) -> int:
        """Number of variants of each image."""
        return 0 if self.augmentation is None else self.augmentation.variants

    @property
    def known_backbone(self) -> Backbone | None:
        """The record of the backbone; None for one that this version doesn't have."""
        if self.declaration is not None:
            return self.declaration.record
        return None if self.imported or self.unknown_declaration else BACKBONES.get(self.backbone)

    def find_backbone(self) -> Backbone:
        """Return the record of the backbone.

        Raises
        ------
        SpecError
            If this version doesn't have it.
        """
        backbone = self.known_backbone
        if backbone is None:
            raise SpecError(no_such_backbone(self))
        return backbone

    def in_float32(self) -> Spec:
        """Return the same spec without the rounding of a smaller precision."""
        return replace(self, precision="float32", quantization=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-ready plain data; of imported embeddings, only what is known."""
        if self.imported is not None:
            return {"backbone": IMPORTED, "imported": self.imported.to_dict()}
        ranges = None if self.quantization is None else self.quantization.to_dict()
        value_range = None if self.value_range is None else list(self.value_range)
        declaration = None if self.declaration is None else self.declaration.to_dict()
        if self.unknown_declaration is not None:
            declaration = json.loads(self.unknown_declaration)
        lists = {"size": list(self.size), "value_range": value_range}
        data = {**asdict(self), **lists, "quantization": ranges, "declaration": declaration}
        del data["unknown_declaration"], data["imported"]
        return data

    @classmethod
    def from_dict(cls, data: Any) -> Spec:
        """Read what `to_dict` wrote.

        Raises
        ------
        FormatError
            If a key is missing or unknown: the file was written by something else.
        """
        if isinstance(data, dict) and "imported" in data:
            return cls.of_imported(_imported(data))
        _check_plain(data, {field.name for field in fields(cls)} - _NOT_WRITTEN)
        augmentation, quantization = data["augmentation"], data["quantization"]
        declaration, unknown = data["declaration"], None
        if augmentation is not None:
            augmentation = Augmentation.from_dict(augmentation)
        if quantization is not None:
            quantization = Quantization.from_dict(quantization, BACKBONES.get(data["backbone"]))
        if (data["precision"] == "int8") != (quantization is not None):
            raise FormatError(
                "its spec has the precision int8 without ranges, or ranges without it"
            )
        if has_unknown_format(declaration):
            declaration, unknown = None, json.dumps(declaration)
        if declaration is not None:
            declaration = _declaration(data)
        objects = {
            "size": tuple(data["size"]),
            "augmentation": augmentation,
            "quantization": quantization,
            "value_range": _value_range(data["value_range"]),
            "declaration": declaration,
            "unknown_declaration": unknown,
        }
        return cls(**{**data, **objects})

    def differences(self, other: Spec) -> list[tuple[str, Any, Any]]:
        """Return the settings because of which two specs are not comparable.

        Returns
        -------
        list of (name, own value, other's value)
            Empty if embeddings of both can be stored in one file.
        """
        names = (field.name for field in fields(self) if field.name not in _NOT_COMPARED)
        rows = ((name, getattr(self, name), getattr(other, name)) for name in names)
        # Absent top weights contradict nothing: no embedding needed them yet.
        differences: list[tuple[str, Any, Any]] = [
            (name, mine, theirs)
            for name, mine, theirs in rows
            if mine != theirs and not (name == "top_sha256" and None in (mine, theirs))
        ]
        if self.declaration is not None and other.declaration is not None:
            contradiction = self.declaration.contradiction(other.declaration)
            differences += [] if contradiction is None else [contradiction]
        if self.imported is not None and other.imported is not None:
            stated = self.imported.contradiction(other.imported)
            differences += [] if stated is None else [stated]
        return differences


def no_such_backbone(spec: Spec) -> str:
    """Say why this version can't embed images by a spec, and what to do."""
    if spec.imported is not None:
        return (
            "its embeddings were computed by another program and imported: compute those of other "
            "images by that program, too, and give its features file instead of images"
        )
    return (
        f"this version of tlfeatures has no backbone {spec.backbone}: use a newer version (pip "
        "install --upgrade tlfeatures), or extract the images by another backbone"
    )


def _imported(data: dict[str, Any]) -> Imported:
    if set(data) != {"backbone", "imported"} or data["backbone"] != IMPORTED:
        raise FormatError(f"its spec says that it was imported, but has the keys {sorted(data)}")
    return Imported.from_dict(data["imported"])


def _declaration(data: dict[str, Any]) -> Declaration:
    """Read the declaration, and check that the spec's name and hash go with it."""
    declaration = Declaration.from_dict(data["declaration"])
    name = declaration.name
    if data["backbone"] != name or name in BACKBONES or data["weights_sha256"] is None:
        raise FormatError(f"its spec has the declaration of another backbone, {name}")
    return declaration


def _check_plain(data: Any, names: set[str]) -> None:
    """Refuse other keys than `names`, another size than two sides, and values of other types."""
    if not isinstance(data, dict) or set(data) != names:
        keys = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise FormatError(f"its spec is not one that this version reads: {keys}")
    size = data["size"]
    sides = size if isinstance(size, list) else []
    if [type(side) is int and 0 < side <= LARGEST_SIDE for side in sides] != [True, True]:
        raise FormatError(f"its spec has the size {str(size)[:40]}, expected height and width")
    types = {"weights_sha256": str | None, "top_sha256": str | None, "random_state": int | None}
    for name in names - _OBJECTS:
        if not isinstance(data[name], types.get(name, str)):
            raise FormatError(f"its spec has the {name} {str(data[name])[:40]!r}")
    if data["random_state"] is not None and data["random_state"] < 0:
        raise FormatError(f"its spec has the random_state {data['random_state']}")


def _value_range(data: Any) -> ValueRange | None:
    plain = isinstance(data, list) and all(type(value) in (int, float) for value in data)
    try:
        if data is None or plain:
            return parse_value_range(data)
    except ParameterError:
        pass
    raise FormatError(f"its spec has the value_range {str(data)[:40]}")


def parse_size(size: Any) -> tuple[int, int]:
    """Read `224`, `"224"`, `"150,200"` or `(150, 200)` as (height, width) in pixels.

    Raises
    ------
    ParameterError
        If it is none of these, or out of range.
    """
    parts = size.split(",") if isinstance(size, str) else size
    try:
        listed = parts if isinstance(parts, list | tuple) else [parts]
        numbers = [int(part) if isinstance(part, str) else operator.index(part) for part in listed]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, 2) or min(numbers) < 1:
        raise ParameterError(f"size must be a number of pixels or H,W (224 or 150,200), got {size}")
    if max(numbers) > LARGEST_SIDE:
        raise ParameterError(f"size must be at most {LARGEST_SIDE:,} pixels a side, got {size}")
    return numbers[0], numbers[-1]
