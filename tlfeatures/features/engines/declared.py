"""Declared backbones: all but VGG16 and pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.declaration import MOST_OUTPUTS, Declaration, Output
from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.spec import Spec


@dataclass(frozen=True)
class DeclaredBackbone:
    """A declared network that was opened.

    Attributes
    ----------
    declaration : Declaration
    weights : str
        `imagenet`, `random`, or the path of a file; see `Spec.weights`.
    sha256 : str
        Hash of the weights, see `Spec.weights_sha256`.
    """

    declaration: Declaration
    weights: str
    sha256: str

    @property
    def record(self) -> Backbone:
        """The record of the backbone."""
        return self.declaration.record

    @property
    def layers(self) -> set[str]:
        """Names of its layers."""
        return {output.layer for output in self.declaration.outputs}

    @classmethod
    def of(cls, spec: Spec, declaration: Declaration) -> DeclaredBackbone:
        """Return the backbone of a spec that has a declaration; no file is read."""
        return cls(declaration, spec.weights, str(spec.weights_sha256))

    def with_layers_of(self, old: Declaration | None) -> DeclaredBackbone:
        """Add the layers that an embeddings file has already."""
        if old is None or self.declaration.contradiction(old):
            return self
        more = tuple(output for output in old.outputs if output.layer not in self.layers)
        outputs = few_enough((*self.declaration.outputs, *more))
        return replace(self, declaration=replace(self.declaration, outputs=outputs))


def few_enough(outputs: tuple[Output, ...]) -> tuple[Output, ...]:
    """Return outputs, or raise `ParameterError` if they are more than a declaration holds."""
    if len(outputs) > MOST_OUTPUTS:
        raise ParameterError(
            f"a declared backbone has up to {MOST_OUTPUTS} layers, got {len(outputs)}: put the "
            "others into another file"
        )
    return outputs
