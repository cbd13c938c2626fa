"""What `tlfeatures export` loads: no TensorFlow, and nothing before it is needed.

Promise: `export` writes one graph without TensorFlow.
"""

import pytest

from tests.integration.test_imports import loaded_after

pytestmark = pytest.mark.slow


def test_what_the_command_loads(fitted_model, tmp_path):
    by_help, loaded = loaded_after(
        ["export", "--help"], ["export", fitted_model, "-o", tmp_path / "m.onnx"]
    )
    assert by_help == set()
    # skops imports all of scikit-learn, that Dask where it is installed, and that Jinja2.
    assert not {"tensorflow", "keras", "matplotlib", "distributed"} & loaded
    assert {"onnx", "sklearn"} <= loaded
