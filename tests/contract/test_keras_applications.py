"""Networks of keras.applications keep the contract of backbones; with random weights, so anywhere.

The layers are the default one and a shallow one; the backend is that of KERAS_BACKEND.
"""

from functools import partial

import numpy as np
import pytest

from tests.contract.backbones import SIZE, BackboneContract, random_images
from tests.keras_networks import APPLICATIONS, SMALL, open_application, spec_of
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.engines.load import load_backbone

pytestmark = pytest.mark.slow

SHALLOW = {
    "mobilenetv3small": "re_lu",
    "efficientnetb0": "block2a_activation",
    "resnet50": "conv2_block1_out",
}
# Modules of keras.applications with preprocess_input, where it isn't the class's name.
MODULES = {
    "ResNet50": "resnet",
    "ResNet101": "resnet",
    "ResNet152": "resnet",
    "ResNet50V2": "resnet_v2",
    "ResNet101V2": "resnet_v2",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "MobileNetV3Large": "mobilenet_v3",
    "EfficientNetB0": "efficientnet",
    "EfficientNetB3": "efficientnet",
    "EfficientNetV2B0": "efficientnet_v2",
    "EfficientNetV2S": "efficientnet_v2",
    "DenseNet121": "densenet",
    "DenseNet201": "densenet",
    "InceptionV3": "inception_v3",
    "InceptionResNetV2": "inception_resnet_v2",
    "NASNetMobile": "nasnet",
    "ConvNeXtTiny": "convnext",
    "ConvNeXtBase": "convnext",
}


def load_application(names, backbone, precision="float32"):
    return load_backbone(spec_of(backbone, SIZE, precision), names, device="cpu")


class ApplicationContract(BackboneContract):
    @pytest.fixture(scope="class")
    @classmethod
    def opened(cls):
        return open_application(cls.name, SIZE, (SHALLOW[cls.name],))

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def record(cls, opened):
        """Put the record into the table, where the contract finds the layers."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(BACKBONES, cls.name, opened.record)
            yield

    @pytest.fixture(scope="class")
    @classmethod
    def load(cls, opened):
        return partial(load_application, backbone=opened)

    def test_bfloat16_rounds_only(self, opened, outputs):
        rounded = load_application(list(outputs), opened, "bfloat16").embed(random_images(3))
        for name, rows in outputs.items():
            lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(rounded[name], axis=1)
            assert rounded[name].dtype == np.float32
            assert ((rows * rounded[name]).sum(axis=1) / lengths > 0.99).all()
            assert (rows != rounded[name]).any()


class TestMobileNetV3Small(ApplicationContract):
    name = "mobilenetv3small"


class TestEfficientNetB0(ApplicationContract):
    name = "efficientnetb0"


@pytest.mark.long
class TestResNet50(ApplicationContract):
    name = "resnet50"


def reference(named, images, path):
    """What Keras's own preprocessing and network give, averaged; the weights are kept in a file."""
    import keras

    application = named.application
    construct = getattr(keras.applications, application.network)
    network = construct(weights=None, include_top=False, input_shape=images.shape[1:])
    generator = np.random.default_rng(1)
    network.set_weights([_weights(values, generator) for values in network.get_weights()])
    network.save_weights(path)
    module = getattr(
        keras.applications, MODULES.get(application.network, application.network.lower())
    )
    maps = network.predict(module.preprocess_input(images.astype(np.float32)), verbose=0)
    return maps.mean(axis=(1, 2))


def _weights(values, generator):
    """Leave constants as they are, and draw others, those of normalisations near 1."""
    if values.ndim < 2:
        return values
    inputs = np.prod(values.shape[:2] if values.shape[-1] == 1 else values.shape[:-1])
    return generator.standard_normal(values.shape) * np.sqrt(2 / inputs)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in SMALL else pytest.mark.long)
        for name, named in APPLICATIONS.items()
        if not named.application.own_weights_only
    ],
)
def test_a_network_gives_what_keras_gives_with_its_own_preprocessing(name, tmp_path):
    named = APPLICATIONS[name]
    size = (named.default_size, named.default_size)
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    opened = open_application(name, size, weights=_saved(named, images, tmp_path))
    layer = f"{named.application.layer}.avg"
    rows = load_backbone(spec_of(opened, size), [layer], device="cpu").embed(images)[layer]
    expected = np.load(tmp_path / "expected.npy")
    assert rows.shape[1] == named.width
    assert np.isfinite(rows).all()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(rows / scale, expected / scale, atol=1e-5)


def _saved(named, images, folder):
    np.save(folder / "expected.npy", reference(named, images, folder / "x.weights.h5"))
    return str(folder / "x.weights.h5")
