"""Networks that are converted to ONNX compute what their definition says.

Promise: convolutions with folded batch normalizations, paddings, poolings and sums are those of the
network, for images of any size; layers can be named; the same weights give the same bytes.

The networks have few channels and random weights. The definitions here are written in NumPy.
"""

import hashlib
import pickle

import numpy as np
import onnx
import pytest

from tests.onnx_networks import run_plainly
from tests.torch_files import torch_file
from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.recipes import efficientnet_lite0, mobilenet_v2, squeezenet

SIZES = [(32, 32), (45, 38)]


def drawn(generator, *shape):
    return generator.normal(size=shape).astype(np.float32)


# ---- layers, of an image (channels, h, w)


def convolve(image, kernel, stride, before, after, groups=1):
    """Pad both axes by so many zeros before and after, and convolve, in float64."""
    height, width = kernel.shape[2:]
    padded = np.pad(image, ((0, 0), *zip(before, after, strict=True)))
    channels = image.shape[0] // groups
    rows = range(0, padded.shape[1] - height + 1, stride)
    columns = range(0, padded.shape[2] - width + 1, stride)
    out = np.zeros((len(kernel), len(rows), len(columns)))
    for number, weights in enumerate(kernel.astype(np.float64)):
        first = number * groups // len(kernel) * channels
        part = padded[first : first + channels]
        for i, top in enumerate(rows):
            for j, left in enumerate(columns):
                window = part[:, top : top + height, left : left + width]
                out[number, i, j] = (window * weights).sum()
    return out


def symmetric(image, kernel, stride):
    side = kernel.shape[2] // 2
    return (side, side), (side, side)


def tensorflow_same(image, kernel, stride):
    """TensorFlow's padding "SAME": the output has ceil(n / stride) pixels."""
    before, after = [], []
    for length, side in zip(image.shape[1:], kernel.shape[2:], strict=True):
        total = max((-(-length // stride) - 1) * stride + side - length, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before, after


def pool(image):
    """Take maxima of 3 x 3 pixels, at every second; the last ones may be of fewer pixels."""
    rows, columns = (-(-(length - 3) // 2) + 1 for length in image.shape[1:])
    windows = [
        [image[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2)) for j in range(columns)]
        for i in range(rows)
    ]
    return np.array(windows).transpose(2, 0, 1)


# ---- networks of inverted residual blocks


class Definition:
    """A network with batch normalizations, by the names of its tensors."""

    def __init__(self, state, epsilon, padding):
        self.state, self.epsilon, self.padding = state, epsilon, padding

    def step(self, image, names, stride=1, groups=1):
        """Convolve and normalize."""
        convolution, normalization = names
        kernel = self.state[f"{convolution}.weight"]
        image = convolve(image, kernel, stride, *self.padding(image, kernel, stride), groups)
        parts = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (
            self.state[f"{normalization}.{part}"].astype(np.float64)[:, None, None]
            for part in parts
        )
        return (image - mean) / np.sqrt(variance + self.epsilon) * gamma + beta

    def layers(self, image, stem, blocks, head):
        found = {"stem": np.clip(self.step(image, stem, 2), 0, 6)}
        value = found["stem"]
        for number, (names, stride) in enumerate(blocks, 1):
            before = value
            if len(names) == 3:
                value = np.clip(self.step(value, names[0]), 0, 6)
            value = np.clip(self.step(value, names[-2], stride, len(value)), 0, 6)
            value = self.step(value, names[-1])
            if value.shape == before.shape:
                value = value + before
            found[f"block{number}"] = value
        found["head"] = np.clip(self.step(value, head), 0, 6)
        found["features"] = found["head"].mean(axis=(1, 2))
        return found


def random_state(shapes):
    """Draw the tensors of steps: (convolution, normalization) -> shape of the kernel."""
    generator = np.random.default_rng(0)
    state = {}
    for (convolution, normalization), shape in shapes.items():
        scale = np.float32(np.prod(shape[1:])) ** 0.5
        state[f"{convolution}.weight"] = (drawn(generator, *shape) / scale).astype(np.float32)
        for part in ("weight", "bias", "running_mean"):
            state[f"{normalization}.{part}"] = drawn(generator, shape[0])
        state[f"{normalization}.running_var"] = generator.uniform(0.001, 2, shape[0]).astype("f4")
        state[f"{normalization}.num_batches_tracked"] = np.array([9], np.int64)
    return state


def made_network(stem, head, blocks, kernels, strides, widths):
    """Give the shapes of the kernels, and the blocks; the channels are expanded twice."""
    shapes, channels = {stem: (4, 3, 3, 3)}, 4
    for names, side, width in zip(blocks, kernels, widths, strict=True):
        hidden = channels if len(names) == 2 else 2 * channels
        if len(names) == 3:
            shapes[names[0]] = (hidden, channels, 1, 1)
        shapes[names[-2]] = (hidden, 1, side, side)
        shapes[names[-1]] = (width, hidden, 1, 1)
        channels = width
    shapes[head] = (7, channels, 1, 1)
    return random_state(shapes), stem, list(zip(blocks, strides, strict=True)), head


def mobilenet():
    blocks = []
    for number in range(1, 18):
        at = f"features.{number}.conv"
        places = (0, 3) if number == 1 else (0, 3, 6)
        blocks.append([(f"{at}.{place}", f"{at}.{place + 1}") for place in places])
    return made_network(
        ("features.0.0", "features.0.1"),
        ("features.18.0", "features.18.1"),
        blocks,
        [3] * 17,
        [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1],
        [2, 3, 3, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 3, 3, 3, 5],
    )


def efficientnet():
    blocks = []
    for number in range(16):
        at = f"_blocks.{number}"
        names = [(f"{at}._depthwise_conv", f"{at}._bn1"), (f"{at}._project_conv", f"{at}._bn2")]
        blocks.append([(f"{at}._expand_conv", f"{at}._bn0")] * bool(number) + names)
    return made_network(
        ("_conv_stem", "_bn0"),
        ("_conv_head", "_bn1"),
        blocks,
        [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3],
        [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1],
        [2, 3, 3, 4, 4, 5, 5, 5, 6, 6, 6, 3, 3, 3, 3, 5],
    )


NETWORKS = {
    mobilenet_v2: (mobilenet, 1e-5, symmetric),
    efficientnet_lite0: (efficientnet, 1e-3, tensorflow_same),
}


def compare(content, image, expected):
    model = onnx.load_model_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    results = run_plainly(model, list(expected), image[None].astype(np.float32))
    for (layer, values), result in zip(expected.items(), results, strict=True):
        assert result.dtype == np.float32
        limit = 1e-5 * np.abs(values).max()
        np.testing.assert_allclose(result[0], values, atol=limit, rtol=0, err_msg=layer)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("module", NETWORKS, ids=lambda module: module.__name__.split(".")[-1])
def test_every_layer_of_inverted_residuals_is_that_of_the_definition(module, size):
    make, epsilon, padding = NETWORKS[module]
    state, *steps = make()
    image = np.random.default_rng(1).normal(size=(3, *size))
    expected = Definition(state, epsilon, padding).layers(image, *steps)
    assert len(expected) == len(steps[1]) + 3
    compare(module.convert(torch_file(state)), image, expected)


# ---- SqueezeNet


def fire_arrays():
    generator = np.random.default_rng(0)
    shapes = {"conv1": (3, 3, 3, 4)}
    channels = 4
    for number, width in zip(range(2, 10), (2, 2, 3, 3, 4, 4, 2, 3), strict=True):
        shapes[f"fire{number}/squeeze1x1"] = (1, 1, channels, 2)
        shapes[f"fire{number}/expand1x1"] = (1, 1, 2, width)
        shapes[f"fire{number}/expand3x3"] = (3, 3, 2, width + 1)
        channels = 2 * width + 1
    return {key: [drawn(generator, *s), drawn(generator, s[-1])] for key, s in shapes.items()}


def fire_layers(arrays, image):
    def step(image, key, pad=0):
        kernel, bias = arrays[key]
        kernel, stride = kernel.transpose(3, 2, 0, 1), 2 if key == "conv1" else 1
        convolved = convolve(image, kernel, stride, (pad, pad), (pad, pad))
        return np.maximum(convolved + bias[:, None, None], 0)

    found = {"conv1": step(image, "conv1")}
    value = found["pool1"] = pool(found["conv1"])
    for number in range(2, 10):
        squeezed = step(value, f"fire{number}/squeeze1x1")
        parts = (
            step(squeezed, f"fire{number}/expand1x1"),
            step(squeezed, f"fire{number}/expand3x3", 1),
        )
        value = found[f"fire{number}"] = np.concatenate(parts)
        if number in (3, 5):
            value = found[f"pool{number}"] = pool(value)
    return found | {"features": value.mean(axis=(1, 2))}


def pickled(arrays):
    return pickle.dumps(arrays, 3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.mark.parametrize("size", SIZES)
def test_every_layer_of_squeezenet_is_that_of_the_definition(size):
    arrays = fire_arrays()
    image = np.random.default_rng(1).normal(size=(3, *size))
    compare(squeezenet.convert(pickled(arrays)), image, fire_layers(arrays, image))


# ---- the bytes, and other weights


def counted(array):
    """Give values that no library draws: 1/8, 2/8, ... again and again."""
    return ((np.arange(array.size) % 7 + 1).reshape(array.shape) / 8).astype(array.dtype)


def test_the_same_weights_give_the_same_bytes():
    """The hashes are pinned here, as they are in recipes, so that versions of onnx must agree."""
    arrays = {key: [counted(item) for item in pair] for key, pair in fire_arrays().items()}
    state = {key: counted(array) for key, array in mobilenet()[0].items()}
    contents = squeezenet.convert(pickled(arrays)), mobilenet_v2.convert(torch_file(state))
    digests = [hashlib.sha256(content).hexdigest()[:16] for content in contents]
    assert digests == ["112037ba8cd228e7", "34463d1c53fa6a98"]


def test_weights_of_another_network_are_refused():
    for module, (make, *_) in NETWORKS.items():
        other = {key: value for key, value in make()[0].items() if "2" not in key}
        with pytest.raises(WeightsError, match="these are not the weights of"):
            module.convert(torch_file(other))
    arrays = fire_arrays()
    del arrays["fire9/expand1x1"]
    with pytest.raises(WeightsError, match=r"not the weights of SqueezeNet 1\.1: 'fire9/expand1x1"):
        squeezenet.convert(pickled(arrays))
    with pytest.raises(WeightsError, match=r"not the weights of SqueezeNet 1\.1"):
        squeezenet.convert(pickled({"conv1": []}))
