"""What `tlfeatures export` loads: no TensorFlow, and nothing before it is needed.

Promise: `export` writes one graph without TensorFlow.
"""

from tests.integration.test_imports import loaded_by
from tlfeatures import extract, fit


def test_what_the_command_loads(photos, tmp_path):
    extract(photos, tmp_path / "photos.h5", backbone="pixels", size=16, pools=["flatten"])
    fit(tmp_path / "photos.h5", model=tmp_path / "m.model")
    assert loaded_by("export", "--help") == set()
    loaded = loaded_by("export", tmp_path / "m.model", "-o", tmp_path / "m.onnx")
    # skops imports all of scikit-learn, that Dask where it is installed, and that Jinja2.
    assert not {"tensorflow", "keras", "matplotlib", "distributed"} & loaded
    assert {"onnx", "sklearn"} <= loaded
