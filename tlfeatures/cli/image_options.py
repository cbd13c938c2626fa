"""Options of how images become embeddings."""

from __future__ import annotations

from typing import Any

import click

from tlfeatures.cli.number_types import WholeNumber
from tlfeatures.cli.run_options import combine
from tlfeatures.features.backbones.table import BACKBONES, DEFAULT_BACKBONE, POOLINGS

_BACKBONE = BACKBONES[DEFAULT_BACKBONE]


# Options of how images become embeddings; an option left out keeps the file's value.
backbone_options = combine(
    click.option(
        "--backbone",
        metavar="NAME|FILE",
        help="Neural network that computes the embeddings. `tlfeatures backbones` lists the names. "
        "pixels is a baseline without a network: mean colours in a grid (layers grid4, grid8 and "
        "mean; --pool flatten keeps the grid). FILE is a network of your own: FILE.onnx or "
        "FILE.keras, which FILE.json beside it declares, or that FILE.json "
        "(see docs/own_network.md). hub:PRESET is a network of keras_hub (see docs/backbones.md).  "
        f"[default: {DEFAULT_BACKBONE}]",
    ),
    click.option(
        "--layer",
        "layers",
        multiple=True,
        metavar="LAYER[.POOLING]",
        help=f"Layer whose output becomes the embedding: for {_BACKBONE.name}, "
        f"{_BACKBONE.layers_in_words()}. LAYER.POOLING sets the pooling of this layer; --pool "
        f"then does not apply to it. Repeatable. "
        f"docs/backbones.md says which layers other backbones have.  "
        f"[default: {_BACKBONE.default_layer}; other backbones have their own]",
    ),
    click.option(
        "--pool",
        "pools",
        multiple=True,
        type=click.Choice(POOLINGS),
        help="How the output of a layer, a grid of values per channel, becomes a vector. avg "
        "takes the mean and max the maximum of each channel; flatten keeps all values. cls takes "
        "the first token of a vision transformer; none is for layers whose output is a vector. "
        "Repeatable.  [default: avg; none for a vector]",
    ),
    click.option(
        "--size",
        metavar="N|H,W",
        help="Size in pixels to which images are resized: 224 is a square, 150,200 is height and "
        "width.  [default: 224, or the size that the network takes]",
    ),
    click.option(
        "--value-range",
        metavar="LO,HI",
        help="Pixel values that become black and white, for images with more than 8 bits per "
        "channel, for example 0,4095 for a 12-bit camera.  [default: the range that the image "
        "file states, or 0,65535]",
    ),
    click.option(
        "--weights",
        metavar="imagenet|random|PATH",
        help="Weights of the network. imagenet: published weights, trained on ImageNet, which are "
        "downloaded once. random: for tests. PATH: an HDF5 file of Keras weights, or the ONNX "
        "file of a network of your own, if it was moved.  [default: imagenet]",
    ),
    click.option(
        "--engine",
        type=click.Choice(["auto", "keras", "openvino", "ncnn", "onnxruntime"]),
        help="Library that computes the network. auto is the fastest one that is installed; on "
        "many images the engines are timed first. To install further ones: pip install "
        "'tlfeatures[openvino]'.  "
        "[default: auto]",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "float32", "bfloat16", "int8"]),
        help="Number format in which the network computes. auto is float32, or bfloat16 if it is "
        "faster and the embeddings are nearly the same. int8 needs OpenVINO; its ranges of values "
        "are measured on 64 of the images.  "
        "[default: auto]",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float16"]),
        help="Number format of the embeddings in the file.  [default: float32]",
    ),
    click.option(
        "--augment",
        type=WholeNumber(min=0),
        metavar="N",
        help="Also embed N variants of each image, which are randomly rotated, zoomed and "
        "mirrored. Heads are also trained on the variants of their training images. They are "
        "tested on the images only.  [default: 0]",
    ),
    click.option(
        "--augment-spec",
        metavar="NAME=VALUE,...",
        help="How the variants of --augment differ from their image: rotation is the largest "
        "angle in degrees; "
        "zoom, shift and brightness are the largest changes as fractions; horizontal_flip and "
        "vertical_flip allow mirror images; seed is a number. Example: "
        "rotation=10,shift=0.1,seed=1.  [default: rotation=30,zoom=0.2,horizontal_flip]",
    ),
    click.option(
        "--random-state",
        type=WholeNumber(min=0),
        metavar="N",
        help="Seed of the random numbers for --weights random.  [default: 0]",
    ),
)


device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Device that computes the network. auto is a GPU if there is one, else the CPU.",
)


class _BatchSize(click.ParamType):  # type: ignore[type-arg]
    """A whole number of at least 1, or auto."""

    name = "batch_size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        if value == "auto":
            return "auto"
        try:
            return WholeNumber(min=1).convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither a whole number of at least 1 nor auto", param, ctx)


batch_size_option = click.option(
    "--batch-size",
    type=_BatchSize(),
    metavar="N|auto",
    default="auto",
    show_default=True,
    help="Number of images that the network computes at once. auto is a number that is fast and "
    "fits into memory.",
)
max_pixels_option = click.option(
    "--max-pixels",
    type=WholeNumber(min=1),
    default=178_956_970,
    show_default=True,
    metavar="N",
    help="Refuse images with more than N pixels, because they could fill the memory.",
)
weights_option = click.option(
    "--weights",
    metavar="PATH",
    help="Path of the network's weights, if the weights file was moved.",
)
