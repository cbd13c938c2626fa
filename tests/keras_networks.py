"""Networks of Keras for tests: opened by name, and described by a spec."""

from __future__ import annotations

from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.engines.declared import DeclaredBackbone
from tlfeatures.features.engines.keras_networks.application import KerasApplication
from tlfeatures.features.spec import Spec

APPLICATIONS = {name: named for name, named in NAMED.items() if named.application}
SMALL = ("mobilenetv3small", "efficientnetb0", "resnet50")


def open_application(
    name: str, size: tuple[int, int], layers: tuple[str, ...] = (), weights: str = "random"
) -> DeclaredBackbone:
    """Open a network of keras.applications for images of a size."""
    return KerasApplication(NAMED[name], weights).for_size(size, layers)


def spec_of(backbone: DeclaredBackbone, size: tuple[int, int], precision: str = "float32") -> Spec:
    """Return the spec of a declared backbone that Keras computes."""
    return Spec(
        backbone=backbone.declaration.name,
        size=size,
        precision=precision,
        weights=backbone.weights,
        weights_sha256=backbone.sha256,
        preprocessing=backbone.record.preprocessing.describe(),
        engine="keras",
        declaration=backbone.declaration,
    )
