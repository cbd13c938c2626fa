"""Compute variants of an image: rotated, flipped, zoomed, shifted, brighter or darker.

A variant depends only on the image's pixels, the sha256 of its file, the seed and the variant's
number: the same image has the same variants in every folder, order and run.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import FormatError, ParameterError
from tlfeatures.names import unknown_name

Floats = NDArray[np.float64]

MOST_VARIANTS = 1000
_LARGEST = {"rotation": 180.0, "zoom": 0.9, "shift": 0.9, "brightness": 0.9}
_FLIPS = ("horizontal_flip", "vertical_flip")


@dataclass(frozen=True)
class Augmentation:
    """How many variants of an image are computed, and from which ranges they are drawn uniformly.

    Attributes
    ----------
    variants : int
        Number of variants of an image, in addition to the image itself.
    rotation : float
        Largest angle in degrees, about the centre and to either side.
    zoom : float
        Height and width are scaled by one factor each, from 1 - zoom to 1 + zoom, as Keras's
        `ImageDataGenerator` does.
    shift : float
        Largest shift as a share of height and of width, which are drawn separately.
    brightness : float
        Values are multiplied by a factor from 1 - brightness to 1 + brightness.
    horizontal_flip, vertical_flip : bool
        Whether half of the variants are flipped, by chance.
    seed : int
        0 or more.
    rule : str
        How pixels are interpolated, and what is beyond the image's edges.

    Raises
    ------
    ParameterError
        If a value has the wrong type or is out of its range.
    """

    variants: int
    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    seed: int = 0
    rule: str = "at the backbone's size; bilinear; beyond the edges the nearest pixel"

    def __post_init__(self) -> None:
        self._check_types()
        if not 1 <= self.variants <= MOST_VARIANTS:
            raise ParameterError(
                f"augment is {self.variants}; expected 0 to {MOST_VARIANTS} variants of each image"
            )
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            if not 0 <= value <= largest:
                raise ParameterError(f"{name} is {value}; expected a number from 0 to {largest:g}")
        if self.seed < 0:
            raise ParameterError(f"seed is {self.seed}; expected 0 or more")

    def _check_types(self) -> None:
        for name in ("variants", "seed"):
            if type(getattr(self, name)) is not int:
                raise ParameterError(f"{name} is {getattr(self, name)!r}; expected a whole number")
        for name in _LARGEST:
            if type(getattr(self, name)) not in (int, float):
                raise ParameterError(f"{name} is {getattr(self, name)!r}; expected a number")
        for name in _FLIPS:
            if type(getattr(self, name)) is not bool:
                raise ParameterError(f"{name} is {getattr(self, name)!r}; expected true or false")

    @classmethod
    def parse(cls, variants: int, options: str | Mapping[str, Any]) -> Augmentation:
        """Read an augmentation from options.

        Parameters
        ----------
        variants : int
        options : str or mapping of str to number or bool
            Attributes by name, except `variants` and `rule`; as a text
            `rotation=30,zoom=0.2,horizontal_flip`.

        Raises
        ------
        ParameterError
            For an unknown name, or a value that an attribute can't have.
        """
        values = _parse_options(options) if isinstance(options, str) else dict(options)
        names = [field.name for field in fields(cls) if field.name not in ("variants", "rule")]
        for name, value in values.items():
            if name not in names:
                raise unknown_name("part of an augment spec", str(name), names)
            if name in _LARGEST and type(value) is int:
                values[name] = float(value)  # 30 and 30.0 are one setting, and one text in the file
        return cls(variants, **values)

    @classmethod
    def from_dict(cls, data: Any) -> Augmentation:
        """Read an augmentation from the dict of `dataclasses.asdict`.

        Raises
        ------
        FormatError
            If it is no such dict, or has another `rule`.
        """
        if not isinstance(data, dict) or set(data) != {field.name for field in fields(cls)}:
            raise FormatError(f"its augmentation is not one that this version knows: {data!r:.80}")
        try:
            augmentation = cls(**data)
        except ParameterError as error:
            raise FormatError(f"its augmentation is damaged: {error}") from error
        if augmentation.rule != cls.rule:
            raise FormatError(f"its augmentation follows another rule: {augmentation.rule!r:.80}")
        return augmentation

    @property
    def has_effect(self) -> bool:
        """Whether a variant differs from its image."""
        return any(getattr(self, name) for name in (*_LARGEST, *_FLIPS))

    def to_text(self) -> str:
        """Write the attributes as a text that `parse` reads, without the number of variants."""
        default = Augmentation(self.variants)
        changed = {
            name: value for name, value in asdict(self).items() if value != getattr(default, name)
        }
        return ",".join(
            name if value is True else f"{name}={value!r}".removesuffix(".0")
            for name, value in changed.items()
        )

    def stack(self, digest: bytes, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Stack an image and its variants.

        Parameters
        ----------
        digest : bytes
            sha256 of the image's file.
        pixels : ndarray of shape (h, w, 3), uint8

        Returns
        -------
        ndarray of shape (1 + variants, h, w, 3), uint8
            The image itself is the first.
        """
        draws = (_draw(digest, self.seed, number) for number in range(1, self.variants + 1))
        return np.stack([pixels, *(self.transform(pixels, draw) for draw in draws)])

    def transform(self, pixels: NDArray[np.uint8], draw: Floats) -> NDArray[np.uint8]:
        """Compute one variant.

        Parameters
        ----------
        pixels : ndarray of shape (h, w, 3), uint8
        draw : ndarray of shape (8,)
            Numbers from -1 to 1: for the rotation, the zoom of height and of width, the shift of
            height and of width, the brightness, the vertical and the horizontal flip. Below 0, an
            image is flipped.

        Returns
        -------
        ndarray of shape (h, w, 3), uint8
        """
        from scipy.ndimage import affine_transform

        size = np.array(pixels.shape[:2])
        angle = math.radians(self.rotation * draw[0])
        rotation = np.array(
            [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
        )
        flips = [
            -1.0 if flip and number < 0 else 1.0
            for flip, number in ((self.vertical_flip, draw[6]), (self.horizontal_flip, draw[7]))
        ]
        matrix = rotation * ((1 + self.zoom * draw[1:3]) * flips)  # where each pixel comes from
        centre = (size - 1) / 2
        offset = centre - matrix @ centre + self.shift * draw[3:5] * size
        moved = np.stack(
            [
                affine_transform(
                    channel, matrix, offset, output=np.float32, order=1, mode="nearest"
                )
                for channel in np.moveaxis(pixels, 2, 0)
            ],
            axis=2,
        )
        moved *= 1 + self.brightness * draw[5]
        pixels_of_variant: NDArray[np.uint8] = np.rint(moved).clip(0, 255).astype(np.uint8)
        return pixels_of_variant


def _draw(digest: bytes, seed: int, number: int) -> Floats:
    """Draw eight numbers from -1 to 1 by sha256, which is the same in all versions of libraries."""
    random_bytes = hashlib.sha256(f"{seed} {number} ".encode() + digest).digest()
    return np.frombuffer(random_bytes, ">u4") / 2.0**31 - 1


def _parse_options(text: str) -> dict[str, Any]:
    """Read `rotation=30,horizontal_flip` as {"rotation": 30.0, "horizontal_flip": True}."""
    options: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (token.strip() for token in part.partition("="))
        if name in options:
            raise ParameterError(f"the augment spec has {name} twice")
        options[name] = _parse_value(name, value) if equals else True
    return options


def _parse_value(name: str, text: str) -> Any:
    words = {"true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return int(text) if name == "seed" else float(text)
    except ValueError:
        return text  # `Augmentation` raises an error that says what is expected
