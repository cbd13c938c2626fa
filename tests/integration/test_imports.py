"""What a command loads: held by sys.modules of a process of its own.

Promise: with nothing missing TensorFlow isn't even imported; `fit`, `benchmark`, `evaluate`,
`report` and `verify` do without it, and so do ncnn and OpenVINO.
Promise: `--help` and `import tlfeatures` load nothing that takes long.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tlfeatures import extract, fit

pytestmark = pytest.mark.integration

HEAVY = ["tensorflow", "keras", "sklearn", "h5py", "numpy", "PIL", "onnx", "skops"]
HEAVY += ["matplotlib", "jinja2", "distributed", "fsspec"]
HELPED = ("extract", "report", "merge", "import", "export-features")
# Runs command lines one by one in one process, and prints what of HEAVY is there after each.
PROGRAM = """
import json, sys
from tlfeatures.cli import main
for line in json.loads(sys.argv[1]):
    try:
        main(line, prog_name="tlfeatures")
    except SystemExit as stop:
        assert not stop.code, (line, stop.code)
    print("\\n" + json.dumps([name for name in HEAVY if name in sys.modules]), file=sys.stderr)
"""


def loaded_after(*lines: Sequence[object]) -> list[set[str]]:
    """What is loaded after each of these command lines, by it or by one before it."""
    given = json.dumps([[str(argument) for argument in line] for line in lines])
    command = [sys.executable, "-c", PROGRAM.replace("HEAVY", repr(HEAVY)), given]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found = [set(json.loads(line)) for line in result.stderr.splitlines() if line[:1] == "["]
    assert len(found) == len(lines)
    return found


@pytest.fixture
def file(photos, tmp_path):
    extract(photos, tmp_path / "photos.h5", backbone="pixels", size=16)
    return tmp_path / "photos.h5"


def test_help_loads_nothing_heavy():
    lines = [["--help"], *([command, "--help"] for command in HELPED)]
    assert loaded_after(*lines) == [set()] * 6


def test_importing_the_package_loads_nothing_heavy():
    program = f"import sys, tlfeatures; print([n for n in {HEAVY} if n in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_the_fast_half_loads_no_tensorflow(file, photos, tmp_path):
    """Nor do `fit` and `benchmark` load what draws or what a cluster needs."""
    model, page = tmp_path / "m.model", tmp_path / "page.html"
    fit(file, ["logreg"], model=model)
    for path in sorted(photos.glob("*/*")):
        path.write_bytes(path.read_bytes() + b"\0")  # other bytes, the same pixels
    extract(photos, tmp_path / "new.h5", backbone="pixels", size=16)
    fitted, compared, evaluated, drawn = loaded_after(
        ["fit", file, "--head", "logreg", "--n-jobs", 1],
        ["benchmark", file, "--head", "logreg", "--n-jobs", 1],
        ["evaluate", model, tmp_path / "new.h5"],
        ["fit", file, "--head", "logreg", "--report", page],
    )
    assert not {"tensorflow", "keras", "matplotlib", "jinja2", "distributed"} & fitted
    assert not {"tensorflow", "keras", "matplotlib", "jinja2", "distributed"} & compared
    # skops imports all of scikit-learn, that Dask where it is installed, and that Jinja2.
    assert not {"tensorflow", "keras", "matplotlib", "distributed"} & evaluated
    assert not {"tensorflow", "keras"} & drawn
    assert page.is_file()


def test_what_embeds_nothing_by_a_network_loads_neither_tensorflow_nor_sklearn(
    photos, file, tmp_path
):
    """`extract` with nothing to do or by pixels, `verify` and `info`; one machine needs no Dask."""
    described, *verified, updated, created = loaded_after(
        ["info", file],
        ["verify", file],
        ["verify", file, "--mend"],
        ["verify", file, "--source", photos],
        ["extract", photos, "-o", file],
        ["extract", photos, "-o", tmp_path / "new.h5", "--backbone", "pixels"],
    )
    assert not {"tensorflow", "keras", "sklearn", "skops"} & described
    for loaded in verified:
        assert not {"tensorflow", "keras", "sklearn", "onnx"} & loaded
    assert not {"tensorflow", "keras", "sklearn", "onnx", "distributed", "fsspec"} & updated
    assert not {"distributed", "fsspec"} & created


def test_features_need_neither_tensorflow_nor_sklearn(file, tmp_path):
    exported, imported = loaded_after(
        ["export-features", file, "-o", tmp_path / "a.csv"],
        ["import", tmp_path / "a.csv", "-o", tmp_path / "a.h5"],
    )
    assert not {"tensorflow", "keras", "sklearn", "onnx", "distributed"} & (exported | imported)


def test_the_lists_of_backbones_and_of_what_is_installed_load_no_engine():
    listed, examined = loaded_after(["backbones"], ["doctor"])
    assert not {"tensorflow", "keras", "sklearn", "skops", "matplotlib"} & (listed | examined)


@pytest.mark.slow
def test_vgg16_needs_no_tensorflow_by_other_engines_nor_by_the_one_that_is_chosen(
    photos, weights, tmp_path
):
    options = ["--precision", "float32", "--size", 32, "--weights", weights, "--device", "cpu"]
    engines = ("ncnn", "openvino", "auto")
    lines = [
        ["extract", photos, "-o", tmp_path / f"{engine}.h5", "--engine", engine, *options]
        for engine in engines
    ]
    for loaded in loaded_after(*lines):
        assert not {"tensorflow", "keras", "sklearn"} & loaded
    assert all((tmp_path / f"{engine}.h5").is_file() for engine in engines)
