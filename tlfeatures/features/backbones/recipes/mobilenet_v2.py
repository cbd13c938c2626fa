"""MobileNetV2 of PyTorch, whose state has torchvision's older names."""

from __future__ import annotations

from tlfeatures.features.backbones.recipes.inverted_residuals import Block, InvertedResiduals, Step
from tlfeatures.features.backbones.recipes.torch_file import read_state_dict

_STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)  # of the blocks


def convert(content: bytes) -> bytes:
    """Convert a file of PyTorch weights to an ONNX model.

    Returns
    -------
    bytes
        Layers stem, block1 to block17, head, and features of width 1280.

    Raises
    ------
    WeightsError
        If these aren't the weights of this network.
    """
    state = read_state_dict(content, "the file of MobileNetV2")
    blocks = [_block(number, stride) for number, stride in enumerate(_STRIDES, 1)]
    network = InvertedResiduals("MobileNetV2", state, epsilon=1e-5, same_upper=False)
    return network.convert(
        Step("features.0.0", "features.0.1"), blocks, Step("features.18.0", "features.18.1")
    )


def _block(number: int, stride: int) -> Block:
    """Name the tensors of a block; its layers, activations too, are numbered."""
    at = f"features.{number}.conv"
    if number == 1:
        return Block(None, Step(f"{at}.0", f"{at}.1"), Step(f"{at}.3", f"{at}.4"), stride)
    return Block(
        Step(f"{at}.0", f"{at}.1"),
        Step(f"{at}.3", f"{at}.4"),
        Step(f"{at}.6", f"{at}.7"),
        stride,
    )
