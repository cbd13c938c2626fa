"""ONNX Runtime on this machine's processor, or on a GPU by CUDA."""

from __future__ import annotations

import os
from typing import Any

_SHORT = 120  # characters
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

# By default the convolutions of newer cards round their inputs to 10 bits.
_CUDA_OPTIONS = {"use_tf32": "0"}


def session(
    model: bytes | str | os.PathLike[str], *, threads: int | None = None, gpu: bool = False
) -> Any:
    """Load a model from its bytes or its file.

    ONNX Runtime's messages on standard error are turned off; it raises errors as exceptions, too.

    Parameters
    ----------
    model : bytes or path
    threads : int, optional
        Number of threads of one run; all cores if not given.
    gpu : bool
        Whether to run it on a GPU, and what the GPU can't do on the processor.

    Returns
    -------
    onnxruntime.InferenceSession
    """
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    source = model if isinstance(model, bytes) else os.fspath(model)
    providers: list[Any] = [(_CUDA, _CUDA_OPTIONS)] if gpu else []
    return onnxruntime.InferenceSession(source, options, providers=[*providers, _CPU])


def _onnxruntime() -> Any:
    """Import ONNX Runtime without its reports of use, which it would keep in the user's cache."""
    name = "ORT_DISABLE_TELEMETRY"  # read when the library is loaded
    stated = os.environ.get(name)
    os.environ[name] = "1"
    try:
        import onnxruntime
    finally:
        if stated is None:
            del os.environ[name]
        else:
            os.environ[name] = stated
    return onnxruntime


def has_cuda() -> bool:
    """Whether the installed ONNX Runtime can use a GPU by CUDA."""
    return _CUDA in _onnxruntime().get_available_providers()


def uses_cuda(runtime: Any) -> bool:
    """Whether a session runs on a GPU; it falls back to the processor without an error."""
    return _CUDA in runtime.get_providers()


def in_short(error: Exception) -> str:
    """Return the beginning of an error message on one line, without control characters."""
    text = " ".join(str(error).split())
    text = "".join(mark if mark.isprintable() else "?" for mark in text)
    return text if len(text) <= _SHORT else text[:_SHORT] + "..."
