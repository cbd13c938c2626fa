"""README's code blocks are executed, in order, as a reader would.

Promise: every command and every Python block of README.md runs as it is written, with the default
settings and the real weights, and writes the files that it names.
Promise: beside a model lies its card; images that it was fitted on are left out of its evaluation.
Promise: `predict -` answers each line; `--min-confidence` and `--outliers` say more of it.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.photographs import save_crops
from tlfeatures.cli import main
from tlfeatures.terminal import demo

pytestmark = pytest.mark.integration

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
INLINE = re.findall(r"`(tlfeatures [a-z][^`]*)`", TEXT)  # commands within sentences

CLASSES = {"city": "china", "portrait": "astronaut"}
WRITTEN = "photos.h5 photos.model photos.model.md labels.csv labels.jsonl results report.html "
WRITTEN += "predictions.csv findings.csv photos.onnx many.h5 results-many logreg.png roc.png "
WRITTEN += "labels.html scans.h5 zipped.h5 features.npz imported.h5"


@pytest.fixture(scope="module")
def read(weights, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """The folder where all blocks have run, and what each command printed.

    `photos` are the images, half of `checked` is among them, and `new` ones are not.
    """
    folder, printed = tmp_path_factory.mktemp("readme"), {}
    save_crops(folder / "photos", CLASSES, 6)
    save_crops(folder / "checked", CLASSES, 4, 4)
    save_crops(folder / "new", CLASSES, 1, 14)
    write_list(folder)
    shutil.make_archive(str(folder / "photos"), "zip", folder / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LOKY_MAX_CPU_COUNT", "1")  # so few are done before processes are up
        for language, text in BLOCKS:
            if language == "python":
                exec(compile(text, str(README), "exec"), {"__name__": "__main__"})
            if language == "sh":
                printed |= {line: run(line) for line in text.splitlines()}
        printed |= {line: run(line) for line in INLINE}
    return folder, printed


def write_list(folder: Path) -> None:
    """Write list.csv as a German Excel does, and the images of `photos` into one folder, scans."""
    (folder / "scans").mkdir()
    rows = ["filename;species;site"]
    for number, path in enumerate(sorted((folder / "photos").glob("*/*"))):
        shutil.copy(path, folder / "scans" / path.name)
        rows.append(f"{path.name};{path.parent.name};Grün {number}")
    (folder / "list.csv").write_bytes("\r\n".join(rows).encode("cp1252"))


def run(line: str) -> str:
    """Run a command: by a shell if it has a pipe, else in this process."""
    command, _, target = line.partition(" > ")
    if "|" in command:
        path = f'PATH="{Path(sys.executable).parent}:$PATH"'
        shell = ["bash", "-o", "pipefail", "-ec", f"{path}\n{line}"]
        ended = subprocess.run(shell, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
        return ended.stdout
    program, *arguments = command.split()
    assert program == "tlfeatures"
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, f"{line}\n{result.output}"
    if target:
        Path(target).write_text(result.stdout, "utf-8")
    return result.stdout


def test_every_block_is_one_that_is_run_or_calls_make():
    assert {language for language, _ in BLOCKS} == {"sh", "python", ""}
    for language, text in BLOCKS:
        if language != "python":
            called = {line.rpartition("| ")[2].split()[0] for line in text.splitlines()}
            assert called == {"tlfeatures" if language == "sh" else "make"}


@pytest.mark.slow
def test_every_command_is_shown_and_runs(read):
    shown = {line.rpartition("tlfeatures ")[2].split()[0] for line in read[1]}
    assert shown | {"demo", "verify", "info"} == set(main.commands)


@pytest.mark.parametrize("per_class", [6, pytest.param(30, marks=pytest.mark.long)])
def test_the_demo_compares_three_heads_on_digits(per_class, weights, tmp_path, monkeypatch):
    """`make demo` calls it; each digit is an image of 64 pixels."""
    monkeypatch.setattr(demo, "PER_CLASS", per_class)
    monkeypatch.chdir(tmp_path)
    result = json.loads(run("tlfeatures demo --json"))
    assert (result["extract"]["images"], result["fit"]["images"]) == (10 * per_class,) * 2
    accuracy = {head["head"]: head["scores"]["accuracy"]["mean"] for head in result["fit"]["heads"]}
    assert set(accuracy) == {"logreg", "rbf-svm", "gradient-boosting"}
    assert accuracy["logreg"] >= 0.7
    assert (tmp_path / "tlfeatures-demo" / "digits.model").is_file()


@pytest.mark.slow
def test_what_the_blocks_name_is_written(read):
    written = [path for path in map(read[0].joinpath, WRITTEN.split()) if path.exists()]
    assert [path.name for path in written] == WRITTEN.split()
    assert all(path.is_dir() or path.stat().st_size for path in written)


@pytest.mark.slow
def test_each_new_image_has_a_line(read):
    images = ["new/city/city014.jpg", "new/portrait/portrait014.jpg"]
    header, *rows = (read[0] / "labels.csv").read_text("utf-8").splitlines()
    assert header == "path,label,confidence,p_city,p_portrait,error"
    assert [row.partition(",")[0] for row in rows] == images
    lines = map(json.loads, (read[0] / "labels.jsonl").read_text("utf-8").splitlines())
    assert {line["path"]: set(line["probabilities"]) for line in lines} == {
        name: {"city", "portrait"} for name in images
    }


@pytest.mark.slow
def test_images_that_a_model_was_fitted_on_are_left_out_of_its_evaluation(read):
    assert (
        "left out: 4 images that the model was fitted on"
        in read[1]["tlfeatures evaluate photos.model checked"]
    )
