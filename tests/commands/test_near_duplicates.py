"""Commands that read the near-duplicates stored next to an embeddings file, or ignore them."""

import json
import shutil

import pytest
from click.testing import CliRunner

from tlfeatures import extract, merge
from tlfeatures.cli import main
from tlfeatures.dataset import stored_duplicates
from tlfeatures.dataset.near_duplicates_file import path_beside

SEARCHED, READ = "images are searched", "are read from"
LIMIT = ("--near-duplicates", "0.6")


@pytest.fixture(autouse=True)
def _keep_of_small_files(monkeypatch):
    monkeypatch.setattr(stored_duplicates, "KEPT_FROM", 2)


@pytest.fixture
def file(embeddings, tmp_path):
    return shutil.copy(embeddings, tmp_path / "a.h5")


def output_of(*arguments):
    result = CliRunner().invoke(main, ["-v", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stderr


def test_every_command_after_the_first_reads_what_was_found(file, tmp_path):
    fit = ("fit", file, "--embedding", "grid8.avg", "--head", "logreg", *LIMIT)
    first = output_of(*fit, "-o", tmp_path / "a.model")
    assert SEARCHED in first
    assert READ not in first
    for command in (
        (*fit, "-o", tmp_path / "b.model"),
        ("benchmark", file, "--heads", "logreg", "-o", tmp_path / "out", *LIMIT),
        ("audit", file, "--head", "logreg", "--embedding", "grid8.flatten", *LIMIT),
    ):
        said = output_of(*command)
        assert SEARCHED not in said
        assert READ in said


def test_other_commands_leave_it_alone(file, tmp_path, photos):
    output_of("audit", file, "--head", "logreg", "--embedding", "grid8.avg", *LIMIT)
    content = path_beside(file).read_bytes()
    assert json.loads(content.partition(b"\n")[0])["embedding"] == "grid8.flatten"
    output_of("verify", file)
    output_of("info", file)
    extract(photos, file, backbone="pixels", size=16, pools=["avg", "flatten"])
    assert path_beside(file).read_bytes() == content
    # A folder of images may have an embeddings file in it.
    folder = shutil.copytree(photos, tmp_path / "images")
    shutil.copy(path_beside(file), folder / "a.h5.near-duplicates")
    output_of("extract", folder, "-o", file, "--backbone", "pixels", "--size", "16")
    assert SEARCHED not in output_of(
        "audit", file, "--head", "logreg", "--embedding", "grid8.avg", *LIMIT
    )


def test_a_sharded_file_has_them_also_once_it_is_merged(photos, client, tmp_path):
    file = tmp_path / "x.h5"
    extract(photos, file, backbone="pixels", size=16, pools="flatten", cluster=client)
    audit = ("audit", file, "--head", "logreg", *LIMIT)
    assert SEARCHED in output_of(*audit)
    content = path_beside(file).read_bytes()
    assert READ in output_of(*audit)
    merge(file)
    assert READ in output_of(*audit)
    assert path_beside(file).read_bytes() == content
