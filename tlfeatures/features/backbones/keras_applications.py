"""Networks of `keras.applications` that are backbones by name; a record is one call of `_named`.

Sizes, preprocessing and files are those of Keras; widths and numbers of parameters are those of the
network without its top. Keras states no licence of the weights today. Those given here are from the
documentation of Keras 2, which names the sources that the weights were ported from.
"""

from __future__ import annotations

from typing import NamedTuple

from tlfeatures.features.backbones.named_network import Application, NamedNetwork


class _Pixels(NamedTuple):
    """What Keras's `preprocess_input` does to the values 0 to 255."""

    colour: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_ONE = (1.0, 1.0, 1.0)
_CAFFE = _Pixels("BGR", (103.939, 116.779, 123.68), _ONE)
_TF = _Pixels("RGB", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
_TORCH = _Pixels("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_INSIDE = _Pixels("RGB", (0.0, 0.0, 0.0), _ONE)  # the first layers of the network do it


class _Family(NamedTuple):
    """What networks of one article share."""

    article: str
    licence: str
    pixels: _Pixels
    url: str
    smallest: int = 32
    weights_by_size: bool = False
    own_weights_only: bool = False


_APACHE = "Apache License, as the documentation of Keras 2 states"
_MIT = "MIT, as the documentation of Keras 2 states"
_BSD = "BSD 3-Clause, as the documentation of Keras 2 states"
_NOT_STATED = "not stated by Keras"

_URL = "https://storage.googleapis.com/tensorflow/keras-applications/"
_VGG = _Family(
    "Simonyan and Zisserman 2015, arXiv:1409.1556",
    "CC BY, as the documentation of Keras 2 states",
    _CAFFE,
    f"{_URL}vgg19/",
)
_RESNET = _Family("He et al. 2016, arXiv:1512.03385", _MIT, _CAFFE, f"{_URL}resnet/")
_RESNET_V2 = _Family("He et al. 2016, arXiv:1603.05027", _NOT_STATED, _TF, f"{_URL}resnet/")
_MOBILENET = _Family(
    "Howard et al. 2017, arXiv:1704.04861", _APACHE, _TF, f"{_URL}mobilenet/", weights_by_size=True
)
_MOBILENET_V2 = _Family(
    "Sandler et al. 2018, arXiv:1801.04381",
    _APACHE,
    _TF,
    f"{_URL}mobilenet_v2/",
    weights_by_size=True,
)
_MOBILENET_V3 = _Family(
    "Howard et al. 2019, arXiv:1905.02244", _NOT_STATED, _INSIDE, f"{_URL}mobilenet_v3/"
)
_EFFICIENTNET = _Family(
    "Tan and Le 2019, arXiv:1905.11946",
    _NOT_STATED,
    _INSIDE,
    "https://storage.googleapis.com/keras-applications/",
    own_weights_only=True,
)
_EFFICIENTNET_V2 = _Family(
    "Tan and Le 2021, arXiv:2104.00298", _NOT_STATED, _INSIDE, f"{_URL}efficientnet_v2/"
)
_DENSENET = _Family("Huang et al. 2017, arXiv:1608.06993", _BSD, _TORCH, f"{_URL}densenet/")
_XCEPTION = _Family("Chollet 2017, arXiv:1610.02357", _MIT, _TF, f"{_URL}xception/", smallest=71)
_INCEPTION_V3 = _Family(
    "Szegedy et al. 2016, arXiv:1512.00567", _APACHE, _TF, f"{_URL}inception_v3/", smallest=75
)
_INCEPTION_RESNET = _Family(
    "Szegedy et al. 2017, arXiv:1602.07261",
    _APACHE,
    _TF,
    f"{_URL}inception_resnet_v2/",
    smallest=75,
)
_NASNET = _Family("Zoph et al. 2018, arXiv:1707.07012", _APACHE, _TF, f"{_URL}nasnet/")
_CONVNEXT = _Family("Liu et al. 2022, arXiv:2201.03545", _NOT_STATED, _INSIDE, f"{_URL}convnext/")


def _named(
    family: _Family,
    network: str,
    layer: str,
    width: int,
    parameters: int,
    file: str,
    *,
    size: int = 224,
    name: str | None = None,
    kept_as: str | None = None,
) -> NamedNetwork:
    """Create a record.

    Parameters
    ----------
    family : _Family
    network : str
        Name of the class in `keras.applications`.
    layer : str
        Default layer: the last one of the network without its top.
    width, parameters, size
        See `NamedNetwork`.
    file : str
        Name of the file of weights at Keras's host.
    name : str, optional
        That of the class in lower case if not given.
    kept_as : str, optional
        Name of the file in Keras's folder of downloads, if it is another one.
    """
    return NamedNetwork(
        name=name or network.lower(),
        title=f"{network} of Keras",
        width=width,
        default_size=size,
        smallest=family.smallest,
        parameters=parameters,
        licence=family.licence,
        source=f"keras.applications.{network}, trained on ImageNet; {family.article}",
        application=Application(
            network=network,
            layer=layer,
            **family.pixels._asdict(),
            url=family.url + file,
            file=kept_as or file,
            weights_by_size=family.weights_by_size,
            own_weights_only=family.own_weights_only,
        ),
    )


def _old(stem: str) -> str:
    """Name a file as the older networks of Keras have it."""
    return f"{stem}_weights_tf_dim_ordering_tf_kernels_notop.h5"


def _v3(form: str) -> str:
    return f"weights_mobilenet_v3_{form}_224_1.0_float_no_top_v2.h5"


_TOP = "top_activation"
_MOBILENET_FILE = "mobilenet_1_0_224_tf_no_top.h5"
_MOBILENET_V2_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
_NASNET_FILE, _NASNET_KEPT = "NASNet-mobile-no-top.h5", "nasnet_mobile_no_top.h5"
_INCEPTION_RESNET_FILE = _old("inception_resnet_v2")
_EFFICIENTNET_V2B0, _EFFICIENTNET_V2S = "efficientnetv2-b0_notop.h5", "efficientnetv2-s_notop.h5"

KERAS_APPLICATIONS = (
    _named(_VGG, "VGG19", "block5_pool", 512, 20_024_384, _old("vgg19")),
    _named(_RESNET, "ResNet50", "conv5_block3_out", 2048, 23_587_712, _old("resnet50")),
    _named(_RESNET, "ResNet101", "conv5_block3_out", 2048, 42_658_176, _old("resnet101")),
    _named(_RESNET, "ResNet152", "conv5_block3_out", 2048, 58_370_944, _old("resnet152")),
    _named(_RESNET_V2, "ResNet50V2", "post_relu", 2048, 23_564_800, _old("resnet50v2")),
    _named(_RESNET_V2, "ResNet101V2", "post_relu", 2048, 42_626_560, _old("resnet101v2")),
    _named(
        _MOBILENET,
        "MobileNet",
        "conv_pw_13_relu",
        1024,
        3_228_864,
        _MOBILENET_FILE,
        name="keras-mobilenet",
    ),
    _named(
        _MOBILENET_V2,
        "MobileNetV2",
        "out_relu",
        1280,
        2_257_984,
        _MOBILENET_V2_FILE,
        name="keras-mobilenetv2",
    ),
    _named(_MOBILENET_V3, "MobileNetV3Small", "activation_17", 576, 939_120, _v3("small")),
    _named(_MOBILENET_V3, "MobileNetV3Large", "activation_19", 960, 2_996_352, _v3("large")),
    _named(_EFFICIENTNET, "EfficientNetB0", _TOP, 1280, 4_049_571, "efficientnetb0_notop.h5"),
    _named(
        _EFFICIENTNET,
        "EfficientNetB3",
        _TOP,
        1536,
        10_783_535,
        "efficientnetb3_notop.h5",
        size=300,
    ),
    _named(_EFFICIENTNET_V2, "EfficientNetV2B0", _TOP, 1280, 5_919_312, _EFFICIENTNET_V2B0),
    _named(
        _EFFICIENTNET_V2, "EfficientNetV2S", _TOP, 1280, 20_331_360, _EFFICIENTNET_V2S, size=384
    ),
    _named(_DENSENET, "DenseNet121", "relu", 1024, 7_037_504, _old("densenet121")),
    _named(_DENSENET, "DenseNet201", "relu", 1920, 18_321_984, _old("densenet201")),
    _named(
        _XCEPTION,
        "Xception",
        "block14_sepconv2_act",
        2048,
        20_861_480,
        _old("xception"),
        size=299,
    ),
    _named(
        _INCEPTION_V3, "InceptionV3", "mixed10", 2048, 21_802_784, _old("inception_v3"), size=299
    ),
    _named(
        _INCEPTION_RESNET,
        "InceptionResNetV2",
        "conv_7b_ac",
        1536,
        54_336_736,
        _INCEPTION_RESNET_FILE,
        size=299,
    ),
    _named(
        _NASNET,
        "NASNetMobile",
        "activation_187",
        1056,
        4_269_716,
        _NASNET_FILE,
        kept_as=_NASNET_KEPT,
    ),
    _named(
        _CONVNEXT,
        "ConvNeXtTiny",
        "layer_normalization",
        768,
        27_820_128,
        "convnext_tiny_notop.h5",
    ),
    _named(
        _CONVNEXT,
        "ConvNeXtBase",
        "layer_normalization",
        1024,
        87_566_464,
        "convnext_base_notop.h5",
    ),
)
