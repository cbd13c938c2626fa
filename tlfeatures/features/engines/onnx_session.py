"""ONNX Runtime on this machine's processor."""

from __future__ import annotations

import os
from typing import Any

_SHORT = 120  # characters


def session(model: bytes | str | os.PathLike[str], *, threads: int | None = None) -> Any:
    """Load a model from its bytes or its file, to run it on the processor.

    ONNX Runtime's messages on standard error are turned off; it raises errors as exceptions, too.

    Parameters
    ----------
    model : bytes or path
    threads : int, optional
        Number of threads of one run; all cores if not given.

    Returns
    -------
    onnxruntime.InferenceSession
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    source = model if isinstance(model, bytes) else os.fspath(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def in_short(error: Exception) -> str:
    """Return the beginning of an error message on one line, without control characters."""
    text = " ".join(str(error).split())
    text = "".join(mark if mark.isprintable() else "?" for mark in text)
    return text if len(text) <= _SHORT else text[:_SHORT] + "..."
