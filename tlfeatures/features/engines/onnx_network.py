"""Open an ONNX file: what is declared about it and what it states become a `Declaration`.

The network runs once, on the check image, to find the shapes of its layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.features.backbones.declaration import TOKENS, Declaration, Output
from tlfeatures.features.backbones.declaration_file import DeclarationFile, Wanted
from tlfeatures.features.backbones.declaration_values import name_of, text_of
from tlfeatures.features.backbones.onnx_file import OnnxFile, read_network
from tlfeatures.features.engines.check_vector import check_image, first_values, warn_of_no_check
from tlfeatures.features.engines.choose import OPENS_ONNX, check_engine
from tlfeatures.features.engines.declared import DeclaredBackbone, few_enough
from tlfeatures.features.engines.declared_graph import check_row, verify_check
from tlfeatures.features.engines.network_file import NetworkFile
from tlfeatures.features.engines.onnxruntime_engine import OneImage, first_row
from tlfeatures.names import unknown_name

_PADDING = 8  # pixels by which the sides of a feature map may differ from those of the image


class OnnxNetwork(NetworkFile):
    """An ONNX file with what its user declares, before the size of images is known.

    Parameters
    ----------
    declared : DeclarationFile
    path : Path
    weights : str, optional
        What the spec records as the source of the weights; the path if not given.

    Raises
    ------
    ParameterError
        If the declaration doesn't fit the file, or neither of them states what is needed.
    WeightsError
        If the file is missing, isn't the declared one, or isn't one that this package loads.
    """

    def __init__(self, declared: DeclarationFile, path: Path, weights: str | None = None) -> None:
        super().__init__(declared)
        self._weights = weights or str(path)
        content, self.sha256 = read_network(path, declared.name, declared.sha256)
        self._file = OnnxFile(content, str(path))
        self._layout = self._decide_layout()
        self._sides = self._file.input.size(self._layout)
        self._check_input()

    def for_size(self, size: tuple[int, int], layers: Sequence[str]) -> DeclaredBackbone:
        """Complete the declaration for images of a size; see `OpenNetwork.for_size`."""
        check_engine(OPENS_ONNX, "float32", "cpu")
        self._refuse_other_size(size)
        wanted = self._wanted(layers)
        draft = self._facts(
            "onnx",
            self._file.input.name,
            self._file.input.numbers,
            self._layout,
            self._declared.default_layer or wanted[0].layer,
        )
        network = OneImage(self._file, draft, [item.tensor for item in wanted], size)
        values = network.run(check_image(size))
        outputs = [self._output(item, values[item.tensor], size) for item in wanted]
        depths = self._file.depths
        outputs.sort(key=lambda output: depths[output.tensor])
        draft = replace(draft, outputs=few_enough(tuple(outputs)))
        return DeclaredBackbone(self._checked(draft, size), self._weights, self.sha256)

    def _checked(self, draft: Declaration, size: tuple[int, int]) -> Declaration:
        """Verify the check vector, or say what it would be."""
        check, compute = self._given_check(draft), first_row(draft.name)
        if check is None:
            layer = draft.default_layer
            row = check_row(self._file, draft, layer, size, compute)
            norm = float(np.linalg.norm(row))
            warn_of_no_check(draft.name, layer, size, norm, first_values(row[:4]))
            return draft
        draft = replace(draft, check=check)
        verify_check(self._file, draft, compute)
        return draft

    def _decide_layout(self) -> str:
        stated, declared = self._file.input.layout, self._declared.layout
        if stated is None and declared is None:
            raise self._error(
                "the file leaves open which axis has the colours: add layout, NCHW or NHWC"
            )
        if None not in (stated, declared) and stated != declared:
            raise self._error(f"layout is {declared}, the file has {stated}")
        return str(stated or declared)

    def _check_input(self) -> None:
        declared, own = self._declared, self._file.input
        try:
            text_of(own.name, "the input's name")
        except ValueError as error:
            raise self._error(str(error)) from error
        if declared.input not in (None, own.name):
            raise self._error(f"input is {declared.input!r}, the file's is {own.name!r}")
        has_steps = declared.mean is not None or declared.std is not None
        if own.numbers == "uint8" and has_steps:
            raise self._error("the file takes pixels as uint8: leave out mean and std")
        if own.numbers == "float32":
            self._refuse_missing_mean_or_std()

    def _wanted(self, layers: Sequence[str]) -> list[Wanted]:
        """List the declared layers, or the file's outputs, and tensors that are asked for."""
        wanted = list(self._declared.outputs)
        if not wanted:
            wanted = [Wanted(self._layer(tensor), tensor) for tensor in self._file.outputs]
        known, depths = {item.layer for item in wanted}, self._file.depths
        for entry in layers:
            layer = entry.partition(".")[0]
            if layer in known:
                continue
            if layer not in depths:
                there_are = [*sorted(known), *(name for name in depths if name not in known)]
                raise unknown_name(f"layer of {self._declared.name}", layer, there_are)
            wanted.append(Wanted(self._layer(layer), layer))
            known.add(layer)
        return wanted

    def _layer(self, tensor: str) -> str:
        try:
            return name_of(tensor, "a layer")
        except ValueError as error:
            raise self._error(
                f"give the tensor {tensor[:60]!r} a name of letters, digits, _ and - in outputs"
            ) from error

    def _output(self, wanted: Wanted, value: Any, size: tuple[int, int]) -> Output:
        layer, tensor, layout = wanted.layer, wanted.tensor, wanted.layout
        if not isinstance(value, np.ndarray):
            raise self._error(f"layer {layer} is a {type(value).__name__}, expected a tensor")
        if not np.issubdtype(value.dtype, np.floating):
            raise self._error(f"layer {layer} has numbers of {value.dtype}, expected float32")
        if layout == TOKENS:
            return self._tokens(wanted, value)
        if value.ndim == 2 and len(value) == 1 and value.size:
            return Output(layer, tensor, None, value.shape[1:])
        if value.ndim != 4 or len(value) != 1 or not value.size:
            raise self._error(
                f"layer {layer} has the shape {value.shape} for one image, expected a vector "
                "(1, d) or a feature map (1, c, h, w); for tokens (1, n, d), write "
                f'"{layer}": {{"tensor": "{tensor}", "kind": "tokens", "prefix": 1}} in outputs, '
                "where prefix is the number of tokens before those of the patches"
            )
        layout = layout or self._layout_of(value.shape, size)
        if layout is None:
            raise self._error(
                f"it is unclear which of the axes {value.shape} of layer {layer} has the channels: "
                f'write "{layer}": {{"tensor": "{tensor}", "layout": "NCHW"}} in outputs, or NHWC'
            )
        axes = (2, 3, 1) if layout == "NCHW" else (1, 2, 3)
        return Output(layer, tensor, layout, tuple(value.shape[axis] for axis in axes))

    def _tokens(self, wanted: Wanted, value: NDArray[Any]) -> Output:
        """Check a declared layer of tokens."""
        if value.ndim != 3 or len(value) != 1 or not value.size:
            raise self._error(
                f"layer {wanted.layer} has the shape {value.shape} for one image, expected tokens "
                "(1, n, d)"
            )
        if wanted.prefix >= value.shape[1]:
            raise self._error(
                f"layer {wanted.layer} has {value.shape[1]} tokens, so that prefix must be less, "
                f"got {wanted.prefix}"
            )
        return Output(wanted.layer, wanted.tensor, TOKENS, value.shape[1:], wanted.prefix)

    def _layout_of(self, shape: Sequence[int], size: tuple[int, int]) -> str | None:
        """Return the layout of a feature map, or None if it is unclear.

        ONNX's convolutions have channels first. A network that was exported from TensorFlow takes
        images with channels last, and transposes them and some of its feature maps. Transformers
        with windows, such as Swin, take channels first, and have feature maps with channels last.
        """
        if tuple(shape[2:]) == (1, 1):
            return "NCHW"
        if self._layout == "NCHW":
            return "NCHW" if _has_proportions(shape[2:], size) else None
        return "NHWC" if tuple(shape[1:3]) == (1, 1) else None


def _has_proportions(sides: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether two axes may be height and width of a feature map of images of a size."""
    (height, width), (image_height, image_width) = sides, size
    # Paddings add or remove a few pixels.
    most = _PADDING * (image_height + image_width)
    return abs(height * image_width - width * image_height) <= most
