"""What `tlfeatures export` loads: no TensorFlow, and nothing before it is needed.

Promise: `export` writes one graph without TensorFlow.
"""

from tests.integration.test_imports import loaded_by


def test_what_the_command_loads(fitted_model, tmp_path):
    assert loaded_by("export", "--help") == set()
    loaded = loaded_by("export", fitted_model, "-o", tmp_path / "m.onnx")
    # skops imports all of scikit-learn, that Dask where it is installed, and that Jinja2.
    assert not {"tensorflow", "keras", "matplotlib", "distributed"} & loaded
    assert {"onnx", "sklearn"} <= loaded
