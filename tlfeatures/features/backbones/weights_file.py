"""Files that carry weights: Keras's HDF5 files in both of their layouts, and ONNX graphs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.network import Network
from tlfeatures.features.backbones.tensors import NamedArray, Tensors, match_tensors
from tlfeatures.files import reason_of, replacing


def read_keras_file(path: Path, network: Network, *, top: bool) -> Tensors:
    """Read a network's tensors from an HDF5 file of Keras weights.

    Raises
    ------
    WeightsError
        If it is no such file, or one of another network.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            arrays = list(_arrays(file, network, top))
    except (OSError, RuntimeError, TypeError, ValueError, KeyError) as error:  # h5py, of damage
        raise WeightsError(f"{path} is not an HDF5 file of Keras weights: {error}") from error
    return match_tensors(network, arrays, top=top, origin=str(path))


def _arrays(file: object, network: Network, top: bool) -> Iterator[NamedArray]:
    """Give the arrays whose shapes the network has, with their paths.

    Links, and datasets whose values are in other files, are left out.
    """
    import h5py

    kernels = network.layers_with_weights(top=top).values()
    shapes = {shape for kernel in kernels for shape in (kernel, kernel[-1:])}
    names: list[str] = []
    assert isinstance(file, h5py.Group)
    file.visit(names.append)  # follows no links out of the file
    for name in names:
        item = file[name]
        own = isinstance(item, h5py.Dataset) and not item.is_virtual and not item.external
        if own and item.shape in shapes:
            yield name, np.asarray(item, np.float32)


def damage_of_hdf5(path: Path) -> str | None:
    """Say why a file can't be opened as HDF5, such as one that was cut off; None if it can."""
    import h5py

    try:
        h5py.File(path, "r").close()
    except (OSError, RuntimeError) as error:  # h5py raises both for damage
        return reason_of(error)
    return None


def write_keras_file(path: Path, tensors: Tensors) -> None:
    """Write a file that `keras.applications` loads by `weights=path`."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as fresh, h5py.File(fresh, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in tensors]
        for layer, pair in tensors.items():
            group = file.create_group(layer)
            names = [f"{layer}_W_1:0", f"{layer}_b_1:0"]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, tensor in zip(names, pair, strict=True):
                group.create_dataset(name, data=tensor)


def read_onnx(data: bytes, network: Network, *, origin: str) -> Tensors:
    """Read the convolutions' tensors from an ONNX graph; its kernels are (out, in, h, w)."""
    import onnx
    from onnx import numpy_helper

    layer_name = re.compile("|".join(map(re.escape, network.kernels)))
    arrays = []
    for initializer in onnx.load_from_string(data).graph.initializer:
        layer = layer_name.search(initializer.name)
        if layer:
            array = numpy_helper.to_array(initializer)
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
            arrays.append((layer.group(), np.ascontiguousarray(array, np.float32)))
    return match_tensors(network, arrays, top=False, origin=origin)
