"""What a command loads: held by sys.modules of a process of its own.

Promise: with nothing missing TensorFlow isn't even imported; `fit`, `benchmark`, `evaluate`,
`report` and `verify` do without it, and so do ncnn and OpenVINO.
Promise: `--help` and `import tlfeatures` load nothing that takes long.
"""

import json
import subprocess
import sys

import pytest

from tlfeatures import extract, fit

pytestmark = pytest.mark.integration

PROGRAM = """
import json, sys
from tlfeatures.cli import main
try:
    main(sys.argv[1:], prog_name="tlfeatures")
except SystemExit as stop:
    assert not stop.code, stop.code
print("\\n" + json.dumps([name for name in HEAVY if name in sys.modules]))
"""
HEAVY = ["tensorflow", "keras", "sklearn", "h5py", "numpy", "PIL", "onnx", "skops"]
HEAVY += ["matplotlib", "jinja2", "distributed", "fsspec"]


def loaded_by(*arguments: object) -> set[str]:
    program = PROGRAM.replace("HEAVY", repr(HEAVY))
    command = [sys.executable, "-c", program, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.fixture
def file(photos, tmp_path):
    extract(photos, tmp_path / "photos.h5", backbone="pixels", size=16)
    return tmp_path / "photos.h5"


def test_help_loads_nothing_heavy():
    assert loaded_by("--help") == set()
    assert loaded_by("extract", "--help") == set()
    assert loaded_by("report", "--help") == set()
    assert loaded_by("merge", "--help") == set()


def test_importing_the_package_loads_nothing_heavy():
    program = f"import sys, tlfeatures; print([n for n in {HEAVY} if n in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


@pytest.mark.parametrize("command", ["fit", "benchmark"])
def test_the_fast_half_loads_no_tensorflow(command, file):
    loaded = loaded_by(command, file, "--head", "logreg", "--n-jobs", 1)
    assert not {"tensorflow", "keras", "matplotlib", "jinja2", "distributed"} & loaded


def test_evaluating_embeddings_loads_no_tensorflow(file, photos, tmp_path):
    fit(file, ["logreg"], model=tmp_path / "m.model")
    for path in sorted(photos.glob("*/*")):
        path.write_bytes(path.read_bytes() + b"\0")  # other bytes, the same pixels
    extract(photos, tmp_path / "new.h5", backbone="pixels", size=16)
    loaded = loaded_by("evaluate", tmp_path / "m.model", tmp_path / "new.h5")
    # skops imports all of scikit-learn, that Dask where it is installed, and that Jinja2.
    assert not {"tensorflow", "keras", "matplotlib", "distributed"} & loaded


def test_a_page_loads_no_tensorflow(file, tmp_path):
    page = tmp_path / "page.html"
    loaded = loaded_by("fit", file, "--head", "logreg", "--report", page)
    assert not {"tensorflow", "keras"} & loaded
    assert page.is_file()


def test_extract_with_nothing_to_do_loads_neither_tensorflow_nor_sklearn(photos, file):
    loaded = loaded_by("extract", photos, "-o", file)
    assert not {"tensorflow", "keras", "sklearn", "onnx", "distributed"} & loaded


@pytest.mark.parametrize("engine", ["ncnn", "openvino"])
def test_other_engines_than_keras_load_no_tensorflow(engine, photos, weights, tmp_path):
    options = ["--engine", engine, "--precision", "float32", "--size", 32, "--weights", weights]
    loaded = loaded_by("extract", photos, "-o", tmp_path / "x.h5", *options)
    assert not {"tensorflow", "keras", "sklearn"} & loaded
    assert (tmp_path / "x.h5").is_file()


def test_extract_on_this_machine_loads_nothing_of_a_cluster(photos, file, tmp_path):
    new = ["-o", tmp_path / "new.h5", "--backbone", "pixels"]
    for more in (["-o", file], new):
        assert not {"distributed", "fsspec"} & loaded_by("extract", photos, *more)


def test_verify_loads_no_tensorflow_but_for_a_backbone_that_needs_it(photos, file):
    for more in ([], ["--mend"], ["--source", photos]):
        assert not {"tensorflow", "keras", "sklearn", "onnx"} & loaded_by("verify", file, *more)


def test_info_loads_only_what_reads(file):
    assert not {"tensorflow", "keras", "sklearn", "skops"} & loaded_by("info", file)
