"""Variants of an image: turned, flipped, zoomed, moved, brighter; drawn from a seed.

A variant follows from the image's pixels, the sha256 of its file, the seed and the variant's
number, and from nothing else: the same image gets the same variants in every folder, order and run.
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
    """How many variants of an image there are, and what is drawn for each, uniformly.

    Attributes
    ----------
    variants : int
        Of each image, beside the image itself.
    rotation : float
        Degrees about the centre, to either side.
    zoom : float
        Share; height and width are scaled apart by factors from 1 - zoom to 1 + zoom, as Keras's
        `ImageDataGenerator` does.
    shift : float
        Share of height and of width, each apart, to either side.
    brightness : float
        Share; values are multiplied by a factor from 1 - brightness to 1 + brightness.
    horizontal_flip, vertical_flip : bool
        Every other variant, by chance.
    seed : int
    rule : str
        How pixels are interpolated, and what is seen beyond the image's edges.
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
        self._check_kinds()
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

    def _check_kinds(self) -> None:
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
    def of(cls, variants: int, how: str | Mapping[str, Any]) -> Augmentation:
        """Read what is asked for.

        Parameters
        ----------
        variants : int
        how : str or mapping
            Attributes by name, but for `variants` and `rule`; in a text
            `rotation=30,zoom=0.2,horizontal_flip`.

        Raises
        ------
        ParameterError
            For an unknown name, or a value that it can't have.
        """
        given = _parsed(how) if isinstance(how, str) else dict(how)
        known = [field.name for field in fields(cls) if field.name not in ("variants", "rule")]
        for name in given:
            if name not in known:
                raise unknown_name("part of an augment spec", str(name), known)
        # 30 and 30.0 are one setting, and one text in the file.
        floats = {name: float(v) if type(v) is int else v for name, v in given.items()}
        return cls(
            variants, **{**given, **{name: floats[name] for name in _LARGEST.keys() & given.keys()}}
        )

    @classmethod
    def from_dict(cls, data: Any) -> Augmentation:
        """Read what `dataclasses.asdict` gave.

        Raises
        ------
        FormatError
            If it is something else.
        """
        if not isinstance(data, dict) or set(data) != {field.name for field in fields(cls)}:
            raise FormatError(f"its augmentation is not one that this version knows: {data!r:.80}")
        try:
            made = cls(**data)
        except ParameterError as error:
            raise FormatError(f"its augmentation is damaged: {error}") from error
        if made.rule != cls.rule:
            raise FormatError(f"its augmentation follows another rule: {made.rule!r:.80}")
        return made

    @property
    def changes(self) -> bool:
        """Whether a variant is another picture than its image."""
        return any(getattr(self, name) for name in (*_LARGEST, *_FLIPS))

    def in_words(self) -> str:
        """Give it as text that `of` reads, without the number of variants."""
        usual = Augmentation(self.variants)
        changed = {
            name: value
            for name, value in asdict(self).items()
            if value != getattr(usual, name) and name != "variants"
        }
        return ",".join(
            name if value is True else f"{name}={_shortest(value)}"
            for name, value in changed.items()
        )

    def stack(self, digest: bytes, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Put an image and its variants together.

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
        return np.stack([pixels, *(self.change(pixels, draw) for draw in draws)])

    def change(self, pixels: NDArray[np.uint8], draw: Floats) -> NDArray[np.uint8]:
        """Make one variant.

        Parameters
        ----------
        pixels : ndarray of shape (h, w, 3), uint8
        draw : ndarray of shape (8,)
            From -1 to 1: for the rotation, the zoom of height and of width, the shift of each, the
            brightness, the vertical and the horizontal flip. Below 0, an image is flipped.

        Returns
        -------
        ndarray of shape (h, w, 3), uint8
        """
        from scipy.ndimage import affine_transform

        size = np.array(pixels.shape[:2])
        angle = math.radians(self.rotation * draw[0])
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        flips = [
            -1.0 if flip and side < 0 else 1.0
            for flip, side in ((self.vertical_flip, draw[6]), (self.horizontal_flip, draw[7]))
        ]
        matrix = turn * ((1 + self.zoom * draw[1:3]) * flips)  # where each pixel comes from
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
    """Eight numbers from -1 to 1: of sha256, which no library's next version changes."""
    drawn = hashlib.sha256(f"{seed} {number} ".encode() + digest).digest()
    return np.frombuffer(drawn, ">u4") / 2.0**31 - 1


def _shortest(number: float) -> str:
    """Write a number so that it is read back: 30 for 30.0."""
    return repr(number).removesuffix(".0")


def _parsed(text: str) -> dict[str, Any]:
    """`rotation=30,horizontal_flip` -> {"rotation": 30.0, "horizontal_flip": True}."""
    given: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (each.strip() for each in part.partition("="))
        if name in given:
            raise ParameterError(f"the augment spec has {name} twice")
        given[name] = _value(name, value) if equals else True
    return given


def _value(name: str, text: str) -> Any:
    words = {"true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return int(text) if name == "seed" else float(text)
    except ValueError:
        return text  # what it must be is said where it is checked
