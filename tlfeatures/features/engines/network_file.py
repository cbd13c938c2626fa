"""What is the same for all files of networks: their declaration is compared with them alike."""

from __future__ import annotations

from dataclasses import replace

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.declaration import CheckVector, Declaration
from tlfeatures.features.backbones.declaration_file import DeclarationFile


class NetworkFile:
    """A file of a network with what its user declares, before the size of images is known.

    Parameters
    ----------
    declared : DeclarationFile
    """

    _sides: tuple[int | None, int | None]  # height and width that the file states; None is open

    def __init__(self, declared: DeclarationFile) -> None:
        self._declared = declared

    @property
    def default_size(self) -> tuple[int, int] | None:
        """Height and width that file or declaration state; None if both leave them open."""
        height, width = self._sides
        declared = self._declared.size
        if height is None or width is None:
            return declared
        if declared not in (None, (height, width)):
            raise self._error(f"size is {declared}, the file takes {(height, width)}")
        return height, width

    def _refuse_other_size(self, size: tuple[int, int]) -> None:
        if not self._takes(size):
            height, width = self._sides
            raise ParameterError(
                f"backbone {self._declared.name} takes images of {height or 'any'} x "
                f"{width or 'any'} (height x width), got size {size[0]},{size[1]}"
            )

    def _takes(self, size: tuple[int, int]) -> bool:
        return all(own in (None, given) for own, given in zip(self._sides, size, strict=True))

    def _refuse_missing_mean_or_std(self) -> None:
        if None in (self._declared.mean, self._declared.std):
            raise self._error(
                "mean and std are needed, on the scale 0 to 255 (mean 0, 0, 0 and std 1, 1, 1 if "
                "the network takes the values as they are)"
            )

    def _facts(
        self, file_format: str, tensor: str, numbers: str, layout: str, default_layer: str
    ) -> Declaration:
        """Return a declaration without outputs and check vector; `tensor` takes the images."""
        declared = self._declared
        return Declaration(
            name=declared.name,
            format=file_format,
            network="",
            input=tensor,
            numbers=numbers,
            layout=layout,
            colour=declared.colour,
            mean=declared.mean,
            std=declared.std,
            outputs=(),
            default_layer=default_layer,
            check=None,
            near_duplicate=declared.near_duplicate,
            source=declared.source,
            licence=declared.licence,
        )

    def _given_check(self, declaration: Declaration) -> CheckVector | None:
        """Return the user's check vector with its layer and its size; None if there is none."""
        given = self._declared.check
        if given is None:
            return None
        layer = given.layer or declaration.default_layer
        if layer not in {output.layer for output in declaration.outputs}:
            raise self._error(f"check: there is no layer {layer} in outputs")
        return replace(given, layer=layer, size=self._check_size(given))

    def _check_size(self, given: CheckVector) -> tuple[int, int]:
        size = self.default_size if 0 in given.size else given.size
        if size is None:
            raise self._error("check: size is missing, and the file leaves it open")
        if not self._takes(size):
            raise self._error(f"check: size is {size}, which the file doesn't take")
        return size

    def _error(self, reason: str) -> ParameterError:
        return ParameterError(f"the declaration of backbone {self._declared.name}: {reason}")
