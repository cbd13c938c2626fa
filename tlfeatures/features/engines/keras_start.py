"""Starting Keras: its backend, its global settings, and its messages on standard error."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.download import keras_home

logger = logging.getLogger(__name__)

KERAS_BACKENDS = ("tensorflow", "torch", "jax")


def start_keras() -> None:
    """Import Keras and its backend without their messages on standard error.

    The messages come from C++ before any logging level applies, so that the file descriptor itself
    is redirected. They are logged if the import fails.

    Raises
    ------
    EngineError
        If Keras can't be imported with the backend and the settings that the environment or
        keras.json name, or if tlfeatures doesn't support that backend.
    """
    if "keras" not in sys.modules:
        _import_keras()
    import keras

    backend = keras.config.backend()
    if backend not in KERAS_BACKENDS:
        raise EngineError(
            f"Keras uses the backend {backend}{_named_by()}; tlfeatures supports "
            f"{', '.join(KERAS_BACKENDS)}: set KERAS_BACKEND=tensorflow"
        )


def _import_keras() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tensorflow = logging.getLogger("tensorflow")
    if tensorflow.level == logging.NOTSET:  # it warns of every shape that cross-validation compiles
        tensorflow.setLevel(logging.ERROR)
    with tempfile.TemporaryFile() as messages, _stderr_into(messages):
        try:
            import keras

            keras.ops.zeros(1)  # at its first operation the backend prints the rest
        except Exception as error:  # a backend raises whatever its own import raises
            raise EngineError(_import_failure(error)) from error


def _import_failure(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    remedy = "install that backend, or set KERAS_BACKEND=tensorflow"
    if "KERAS_BACKEND" not in os.environ:
        remedy = "correct that file, or set KERAS_HOME to a folder without keras.json"
        if not keras_json().exists():
            remedy = "install TensorFlow: pip install tensorflow"
    return f"Keras can't be imported{_named_by()}: {lines[0]}; {remedy}"


def _named_by() -> str:
    """Name what sets the backend, where something does."""
    backend = os.environ.get("KERAS_BACKEND")
    if backend:
        return f" (KERAS_BACKEND={backend})"
    return f" (with the settings of {keras_json()})" if keras_json().exists() else ""


def keras_json() -> Path:
    """Return the path of the file from which Keras reads its settings."""
    return keras_home() / "keras.json"


def keras_backend() -> str | None:
    """Name what Keras computes on; None before Keras is imported."""
    keras = sys.modules.get("keras")
    return None if keras is None else str(keras.config.backend())


@contextlib.contextmanager
def keras_settings(dtype_policy: str) -> Iterator[None]:
    """Set Keras's global settings as backbones need them, and restore them at the end.

    keras.json or the user's program may have changed them.

    Parameters
    ----------
    dtype_policy : str
        Keras's name for the types of weights and computations, such as `mixed_bfloat16`.
    """
    import keras

    config = keras.config
    before = config.floatx(), config.image_data_format(), config.dtype_policy()
    config.set_floatx("float32")
    config.set_image_data_format("channels_last")
    config.set_dtype_policy(dtype_policy)
    try:
        yield
    finally:
        config.set_floatx(before[0])
        config.set_image_data_format(before[1])
        config.set_dtype_policy(before[2])


@contextlib.contextmanager
def _stderr_into(messages: IO[bytes]) -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # the process has no standard error
        yield
        return
    os.dup2(messages.fileno(), 2)
    try:
        yield
    except Exception:  # not an interrupt, which says nothing about Keras
        messages.seek(0)
        logger.debug("%s", messages.read().decode(errors="replace"))
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)
