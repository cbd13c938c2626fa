"""ONNX Runtime on this machine's processor."""

from __future__ import annotations

import os
from typing import Any

_SHORT = 120  # characters


def session(model: bytes | str | os.PathLike[str]) -> Any:
    """Load a model, from its bytes or its file, to be run on the processor.

    Its notes on standard error are turned off: what goes wrong is an exception, too.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    source = model if isinstance(model, bytes) else os.fspath(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def in_short(error: Exception) -> str:
    """Give the beginning of what the runtime or a converter says, on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= _SHORT else text[:_SHORT] + "..."
