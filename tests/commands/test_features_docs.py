"""The blocks of docs/features.md run in their order, as a reader would run them."""

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from tlfeatures.cli import main

TEXT = (Path(__file__).parents[2] / "docs" / "features.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def test_blocks_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, "features.md", "exec"), names)
            continue
        assert language == "sh"
        for line in text.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "tlfeatures"
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, f"{line}\n{result.output}"
    assert "(1500, 64)" in capsys.readouterr().out
    assert (tmp_path / "scans.csv").read_text().startswith("id,label,features.0,")
