"""A user's own ONNX file: it is read once, hashed and checked; its outputs can be replaced.

Attack: a crafted file names data outside of itself, calls operators of a library that a runtime may
have, or states tensors larger than memory. Invariant: the bytes that were hashed are the bytes that
are loaded; they refer to no other file, use ONNX's own operators only, and no tensor whose size is
known before the network runs has more than `MOST_VALUES` values.

Operators of chance are refused, because the rows of an image would differ from run to run.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.declaration_values import MOST_VALUES
from tlfeatures.features.backbones.onnx_parts import nodes, parts, stated_shapes
from tlfeatures.files import reason_of
from tlfeatures.names import some_of

MOST_BYTES = 2**30  # of a file: it is parsed in memory

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_RANDOM = {
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("Bernoulli", "Multinomial"),
}
_CHANNELS = 3
_NUMBERS = {1: "float32", 2: "uint8"}  # onnx.TensorProto's numbers of types


@dataclass(frozen=True)
class OnnxInput:
    """The one input of a network, as its file states it.

    Attributes
    ----------
    name : str
    numbers : {"float32", "uint8"}
    layout : {"NCHW", "NHWC"} or None
        None if the file leaves it open which axis has the channels.
    axes : tuple of 4 (int or None)
        Lengths; None is open.
    """

    name: str
    numbers: str
    layout: str | None
    axes: tuple[int | None, ...]

    def size(self, layout: str) -> tuple[int | None, int | None]:
        """Give height and width in pixels; None where the file leaves them open."""
        first = 2 if layout == "NCHW" else 1
        return self.axes[first], self.axes[first + 1]


def read_network(
    path: Path, name: str, sha256: str | None, ending: str = ".onnx"
) -> tuple[bytes, str]:
    """Read the file of a backbone, once.

    Parameters
    ----------
    path : Path
    name : str
        Name of the backbone, for messages.
    sha256 : str or None
        Hash that the file must have; None accepts any file.
    ending : str
        Of its name, for messages.

    Returns
    -------
    (bytes, str)
        Content of the file, and its sha256.

    Raises
    ------
    WeightsError
        If there is no such file, it has another hash, or it is empty or too large.
    """
    expected = "" if sha256 is None else f" (sha256 {sha256})"
    if not path.is_file():
        raise WeightsError(
            f"there is no file {path}, the {ending} file of backbone {name}{expected}: give it "
            f"with --weights FILE{ending}"
        )
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise WeightsError(f"{path} can't be read: {reason_of(error)}") from error
    if not content:
        raise WeightsError(f"{path} is empty, expected a {ending} file")
    if len(content) > MOST_BYTES:
        raise WeightsError(f"{path} has more than {MOST_BYTES:,} bytes, expected a {ending} file")
    found = hashlib.sha256(content).hexdigest()
    if sha256 not in (None, found):
        raise WeightsError(
            f"{path} is not the file of backbone {name}: its sha256 is {found}, expected {sha256}; "
            f"give that file with --weights FILE{ending}"
        )
    return content, found


class OnnxFile:
    """A parsed ONNX file whose every node and tensor was checked.

    Parameters
    ----------
    content : bytes
    title : str
        How messages name it.

    Raises
    ------
    WeightsError
        If it is no ONNX file, or not one that this package loads.
    """

    def __init__(self, content: bytes, title: str) -> None:
        self._title = title
        self._model = self._parsed(content)
        self._refuse_foreign_parts()
        self.input = self._only_input()

    @property
    def outputs(self) -> list[str]:
        """Names of the network's own outputs, each once."""
        return list(dict.fromkeys(output.name for output in self._model.graph.output))

    @property
    def depths(self) -> dict[str, int]:
        """Tensor -> number of the node that computes it."""
        numbered = enumerate(self._model.graph.node)
        return {name: depth for depth, node in numbered for name in node.output if name}

    @property
    def opsets(self) -> dict[str, int]:
        """Set of operators -> its version."""
        names = {"ai.onnx": ""}
        imports = self._model.opset_import
        return {names.get(item.domain, item.domain): item.version for item in imports}

    @property
    def ir_version(self) -> int:
        """Version of the file format."""
        return int(self._model.ir_version)

    def network(self, tensors: Sequence[str]) -> Any:
        """Return a copy of the network with these tensors as its outputs.

        Parameters
        ----------
        tensors : sequence of str
            Names of tensors of the file, each once.

        Returns
        -------
        onnx.ModelProto
            It has no shapes but those of the input.

        Raises
        ------
        WeightsError
            If there is no such tensor, or it doesn't depend on the images.
        """
        import onnx

        depths, computed = self.depths, self._computed_of_images()
        for tensor in tensors:
            if tensor not in depths:
                raise self._error(
                    f"it computes no tensor {tensor!r}; its outputs are "
                    f"{some_of(map(repr, self.outputs), 5)}"
                )
            if tensor not in computed:
                raise self._error(f"its tensor {tensor[:40]!r} is the same for all images")
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        del model.graph.output[:], model.graph.value_info[:], model.functions[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors)
        return model

    def _computed_of_images(self) -> set[str]:
        """Name the tensors that depend on the images, by their values or their shape."""
        found = {self.input.name}
        for node in self._model.graph.node:
            used = set(node.input)
            for attribute in node.attribute:  # a branch also reads tensors of the graph around it
                for graph in (attribute.g, *attribute.graphs):
                    used |= {name for inner in nodes(graph) for name in inner.input}
            if used & found:
                found.update(node.output)
        return found

    def refuse_large_tensors(self, model: Any) -> None:
        """Refuse a model made of this network, for one image, that has a tensor too large.

        Parameters
        ----------
        model : onnx.ModelProto

        Raises
        ------
        WeightsError
            If a tensor whose size is known has more than `MOST_VALUES` values.
        """
        import onnx

        try:
            known = onnx.shape_inference.infer_shapes(model, data_prop=True)
        except Exception as error:  # errors of the C++ library
            raise self._error("its shapes contradict each other, or the size of images") from error
        for item in stated_shapes(known):
            count = math.prod(max(axis.dim_value, 1) for axis in item.type.tensor_type.shape.dim)
            if count > MOST_VALUES:
                # The model may have put a prefix before the names of the file.
                own = (name for name in self.depths if item.name.endswith(f"_{name}"))
                name = next(own, item.name)
                raise self._error(f"its tensor {name[:40]!r} has {count:,} values")

    def _parsed(self, content: bytes) -> Any:
        import onnx

        try:
            model = onnx.load_model_from_string(content)
        except Exception as error:  # protobuf has its own classes
            raise self._error("it is no ONNX file, or a damaged one") from error
        if not model.graph.node or not model.opset_import:
            raise self._error("it is no ONNX file of a network")
        return model

    def _refuse_foreign_parts(self) -> None:
        import onnx

        for function in self._model.functions:
            if function.domain in _DOMAINS:  # it would replace an operator of ONNX
                raise self._error(
                    f"it has a function {function.name[:40]!r} of its own: export it without "
                    "functions (onnx.inliner.inline_local_functions)"
                )
        for part in parts(self._model):
            if isinstance(part, onnx.NodeProto):
                if part.domain not in _DOMAINS:
                    raise self._error(
                        f"its operator {part.op_type[:40]!r} is of the domain "
                        f"{part.domain[:40]!r}, expected ONNX's own operators: export it without "
                        "custom operators"
                    )
                if part.op_type in _RANDOM or self._trains(part):
                    raise self._error(
                        f"its operator {part.op_type[:40]!r} draws random numbers, so that an "
                        "image has other features each time: export it for inference"
                    )
            elif part.data_location == onnx.TensorProto.EXTERNAL or part.external_data:
                raise self._error(
                    f"its tensor {part.name[:40]!r} is in another file: save it as one file "
                    "(onnx.save_model(model, FILE, save_as_external_data=False))"
                )

    def _trains(self, node: Any) -> bool:
        """Whether a node is a dropout that isn't known to be switched off.

        Its third input switches it on; without that input it is off.
        """
        if node.op_type != "Dropout" or len(node.input) < 3 or not node.input[2]:
            return False
        graph = self._model.graph
        constants = {tensor.name: tensor for tensor in graph.initializer}
        for other in graph.node:
            if other.op_type == "Constant" and other.attribute:
                constants[other.output[0]] = other.attribute[0].t
        switch = constants.get(node.input[2])
        return switch is None or any(switch.raw_data) or any(switch.int32_data)

    def _only_input(self) -> OnnxInput:
        graph = self._model.graph
        constants = {tensor.name for tensor in graph.initializer}
        inputs = [item for item in graph.input if item.name not in constants]
        if len(inputs) != 1:
            names = some_of((repr(item.name[:40]) for item in inputs), 5) or "none"
            raise self._error(f"it has {len(inputs)} inputs ({names}), expected one of images")
        kind = inputs[0].type.tensor_type
        axes = tuple(axis.dim_value if axis.dim_value > 0 else None for axis in kind.shape.dim)
        numbers = _NUMBERS.get(kind.elem_type)
        if numbers is None:
            raise self._error("its input is neither float32 nor uint8")
        if len(axes) != 4:
            raise self._error(f"its input has {len(axes)} axes, expected images (n, 3, h, w)")
        if axes[0] not in (None, 1):
            raise self._error(f"it takes {axes[0]} images at once, expected 1 or any number")
        channels = {"NCHW": axes[1], "NHWC": axes[3]}
        stated = [layout for layout, count in channels.items() if count == _CHANNELS]
        if not stated and any(channels.values()):
            raise self._error(f"its input has the axes {axes}, expected 3 channels, RGB or BGR")
        layout = stated[0] if len(stated) == 1 else None
        return OnnxInput(inputs[0].name, numbers, layout, axes)

    def _error(self, reason: str) -> WeightsError:
        return WeightsError(f"{self._title} can't be a backbone: {reason}")
