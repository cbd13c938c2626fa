"""Starting Keras: its backend, its global settings, and its messages on standard error."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.download import cache_folder, keras_home
from tlfeatures.files import replacing
from tlfeatures.installed import backend_of_keras

logger = logging.getLogger(__name__)

KERAS_BACKENDS = ("tensorflow", "torch", "jax")

_DEFAULTS = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}
_DOWNLOADS = ("models", "datasets")  # folders in KERAS_HOME


def start_keras() -> None:
    """Import Keras and its backend, unless the user's program has imported them before.

    The backend is that of the variable KERAS_BACKEND, else TensorFlow. The user's keras.json is
    neither read nor written, see `keras_folder`.

    Raises
    ------
    EngineError
        If Keras can't be imported with this backend, or tlfeatures doesn't support the backend.
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
    """Import it without its messages on standard error, which are logged if the import fails.

    They come from C++ before any logging level applies, so that the file descriptor itself is
    redirected.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tensorflow = logging.getLogger("tensorflow")
    if tensorflow.level == logging.NOTSET:  # it warns of every shape that cross-validation compiles
        tensorflow.setLevel(logging.ERROR)
    variables = {
        "KERAS_HOME": str(keras_folder()),
        "KERAS_BACKEND": backend_of_keras(),
    }
    with tempfile.TemporaryFile() as messages, _stderr_into(messages), _environment(variables):
        try:
            import keras

            keras.ops.zeros(1)  # at its first operation the backend prints the rest
        except Exception as error:  # a backend raises whatever its own import raises
            raise EngineError(_import_failure(error)) from error


def _import_failure(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    remedy = "install TensorFlow: pip install tensorflow"
    if os.environ.get("KERAS_BACKEND") not in (None, "", "tensorflow"):
        remedy = "install that backend, or set KERAS_BACKEND=tensorflow"
    return f"Keras can't be imported{_named_by()}: {lines[0]}; {remedy}"


def _named_by() -> str:
    """Name the variable that sets the backend, if it is set."""
    backend = os.environ.get("KERAS_BACKEND")
    return f" (KERAS_BACKEND={backend})" if backend else ""


def keras_folder() -> Path:
    """Return a folder to import Keras with as KERAS_HOME; it is created if it doesn't exist.

    Keras reads keras.json from KERAS_HOME when it is imported, and writes the file if there is
    none. This folder has a keras.json of this package, with the defaults of Keras. Its folders of
    downloads are links to those of the user, so that a file is downloaded once.

    Returns
    -------
    Path
        In this package's cache; a temporary folder if the cache can't be written.
    """
    home = keras_home().absolute()
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]  # another home has other downloads
    folder = cache_folder() / "keras" / digest
    try:
        _fill(folder, home)
    except OSError as error:
        logger.debug("%s can't be written: %s", folder, error)
        temporary = tempfile.mkdtemp(prefix="tlfeatures-keras-")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        folder = Path(temporary)
        _fill(folder, home)
    return folder


def _fill(folder: Path, home: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "keras.json"
    content = json.dumps(_DEFAULTS).encode()
    if not settings.is_file() or settings.read_bytes() != content:
        with replacing(settings) as fresh:
            fresh.write_bytes(content)
    for name in _DOWNLOADS:
        link = folder / name
        # Some systems don't allow links, and a user's folder may be read-only. Keras then creates
        # a folder of its own here, and downloads again what it needs.
        with contextlib.suppress(OSError):
            (home / name).mkdir(parents=True, exist_ok=True)
            link.symlink_to(home / name, target_is_directory=True)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and restore them at the end."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def keras_backend() -> str | None:
    """Name what Keras computes on; None before Keras is imported."""
    keras = sys.modules.get("keras")
    return None if keras is None else str(keras.config.backend())


@contextlib.contextmanager
def keras_settings(dtype_policy: str) -> Iterator[None]:
    """Set Keras's global settings as backbones need them, and restore them at the end.

    The user's program may have changed them, or its keras.json if the program imported Keras.

    Parameters
    ----------
    dtype_policy : str
        Keras's name for the types of weights and computations, such as `mixed_bfloat16`.
    """
    import keras

    config = keras.config
    before = config.floatx(), config.image_data_format(), config.dtype_policy(), config.epsilon()
    config.set_floatx("float32")
    config.set_image_data_format("channels_last")
    config.set_epsilon(_DEFAULTS["epsilon"])
    config.set_dtype_policy(dtype_policy)
    try:
        yield
    finally:
        config.set_floatx(before[0])
        config.set_image_data_format(before[1])
        config.set_dtype_policy(before[2])
        config.set_epsilon(before[3])


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
