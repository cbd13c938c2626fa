"""Options of how images become embeddings."""

from __future__ import annotations

from typing import Any

import click

from tlfeatures.cli.run_options import combine
from tlfeatures.features.backbones.table import BACKBONES, DEFAULT_BACKBONE, POOLINGS

_BACKBONE = BACKBONES[DEFAULT_BACKBONE]


# Options of how images become embeddings; an option left out keeps the file's value.
backbone_options = combine(
    click.option(
        "--backbone",
        metavar="|".join([*BACKBONES, "FILE.onnx", "FILE.json"]),
        help="Frozen network. pixels is a baseline without a network: mean colours in a grid "
        "(layers grid4, grid8 and mean; --pool flatten keeps the grid). FILE.json declares a "
        "network of your own in an ONNX file (see docs/backbones.md); FILE.onnx is that file, with "
        "FILE.json beside it. Needs: pip install 'tlfeatures[onnx]'.  "
        f"[default: {DEFAULT_BACKBONE}]",
    ),
    click.option(
        "--layer",
        "layers",
        multiple=True,
        metavar="LAYER[.POOLING]",
        help=f"Layer to embed: for {_BACKBONE.name}, {_BACKBONE.layers_in_words()}. "
        f"LAYER.POOLING also sets the pooling of this layer, whatever --pool is. Repeatable.  "
        f"[default: {_BACKBONE.default_layer}; for pixels, grid8]",
    ),
    click.option(
        "--pool",
        "pools",
        multiple=True,
        type=click.Choice(POOLINGS),
        help="How a feature map becomes a vector: avg and max take the mean and the maximum "
        "of each channel, flatten keeps all values. none is for layers that are vectors. "
        "Repeatable.  [default: avg]",
    ),
    click.option(
        "--size",
        metavar="N|H,W",
        help="Size in pixels to which images are resized: one side, or height and width as in "
        "150,200.  [default: 224, or the size that the network takes]",
    ),
    click.option(
        "--value-range",
        metavar="LO,HI",
        help="Values that become black and white, for images with more than 8 bits per "
        "channel. Example: 0,4095 for a 12-bit camera.  [default: the range that the image "
        "file states, or 0,65535]",
    ),
    click.option(
        "--weights",
        metavar="imagenet|random|PATH",
        help="Weights of the backbone. PATH is an HDF5 file of Keras weights, or the ONNX file of "
        "a network of your own, if it was moved.  [default: imagenet]",
    ),
    click.option(
        "--engine",
        type=click.Choice(["auto", "keras", "openvino", "ncnn"]),
        help="Library that computes the forward pass. auto is the fastest one that is "
        "installed. To install the last two: pip install 'tlfeatures[openvino,ncnn]'.  "
        "[default: auto]",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "float32", "bfloat16", "int8"]),
        help="Number format of the forward pass. auto is bfloat16 if the hardware supports it, "
        "else float32. int8 needs OpenVINO and is calibrated on 64 of the images.  "
        "[default: auto]",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float16"]),
        help="Number format of the embeddings in the file.  [default: float32]",
    ),
    click.option(
        "--augment",
        type=click.IntRange(min=0),
        metavar="N",
        help="Also embed N random variants of each image. Heads are trained on the variants of "
        "their training images. They are scored on images only.  [default: 0]",
    ),
    click.option(
        "--augment-spec",
        metavar="NAME=VALUE,...",
        help="How variants differ from their image: rotation is the largest angle in degrees; "
        "zoom, shift and brightness are the largest changes as fractions; horizontal_flip and "
        "vertical_flip allow mirror images; seed is a number. Example: "
        "rotation=10,shift=0.1,seed=1.  [default: rotation=30,zoom=0.2,horizontal_flip]",
    ),
    click.option(
        "--random-state",
        type=click.IntRange(min=0),
        metavar="N",
        help="Seed of the weights if they are random.  [default: 0]",
    ),
)


device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Device of the forward pass. auto is a GPU if there is one.",
)


class _BatchSize(click.ParamType):  # type: ignore[type-arg]
    """A whole number of at least 1, or auto."""

    name = "batch_size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        if value == "auto":
            return "auto"
        try:
            return click.IntRange(min=1).convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither a whole number of at least 1 nor auto", param, ctx)


batch_size_option = click.option(
    "--batch-size",
    type=_BatchSize(),
    metavar="N|auto",
    default="auto",
    show_default=True,
    help="Images per forward pass. auto is a size that is fast and fits into memory.",
)
max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=178_956_970,
    show_default=True,
    metavar="N",
    help="Refuse an image with more than N pixels before it is decoded.",
)
weights_option = click.option(
    "--weights",
    metavar="PATH",
    help="Path of the backbone's weights, if the weights file was moved.",
)
