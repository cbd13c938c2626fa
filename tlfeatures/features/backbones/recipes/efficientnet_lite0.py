"""EfficientNet-Lite0 of TensorFlow, whose weights were converted to PyTorch.

It is EfficientNet-B0 without squeeze and excitation, with ReLU6 instead of swish. Epsilon and
padding are TensorFlow's.

Source: Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML
2019; the "lite" variants are in Google's TensorFlow repository of EfficientNet.
"""

from __future__ import annotations

from tlfeatures.features.backbones.recipes.inverted_residuals import Block, InvertedResiduals, Step
from tlfeatures.features.backbones.recipes.torch_file import read_state_dict

_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)  # of the blocks


def convert(content: bytes) -> bytes:
    """Convert a file of PyTorch weights to an ONNX model.

    Returns
    -------
    bytes
        Layers stem, block1 to block16, head, and features of width 1280.

    Raises
    ------
    WeightsError
        If these aren't the weights of this network.
    """
    state = read_state_dict(content, "the file of EfficientNet-Lite0")
    blocks = [_block(number, stride) for number, stride in enumerate(_STRIDES)]
    network = InvertedResiduals("EfficientNet-Lite0", state, epsilon=1e-3, same_upper=True)
    return network.convert(Step("_conv_stem", "_bn0"), blocks, Step("_conv_head", "_bn1"))


def _block(number: int, stride: int) -> Block:
    at = f"_blocks.{number}"
    expand = Step(f"{at}._expand_conv", f"{at}._bn0") if number else None
    depthwise = Step(f"{at}._depthwise_conv", f"{at}._bn1")
    return Block(expand, depthwise, Step(f"{at}._project_conv", f"{at}._bn2"), stride)
