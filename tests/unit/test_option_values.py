"""A wrong number of an option is refused in one line that says which numbers are possible."""

import pytest
from click.testing import CliRunner

from tlfeatures.cli import main


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("fit x.h5 --scale-from abc", "'--scale-from': 'abc' is not a whole number of at least 0"),
        ("fit x.h5 --scale-from -1", "'--scale-from': '-1' is not a whole number of at least 0"),
        ("fit x.h5 --scale-from 1.5", "'--scale-from': '1.5' is not a whole number of at least 0"),
        ("fit x.h5 --random-state 9e9", "'9e9' is not a whole number from 0 to 2147483647"),
        ("fit x.h5 --n-jobs two", "'--n-jobs': 'two' is not a whole number"),
        ("extract x --batch-size 0", "'0' is neither a whole number of at least 1 nor auto"),
        ("predict m x --min-confidence 2", "'--min-confidence': '2' is not a number from 0 to 1"),
        ("predict m x --coverage high", "'--coverage': 'high' is not a number from 0 to 1"),
    ],
)
def test_a_wrong_number_is_refused_in_plain_words(command, line):
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 2
    assert result.output.splitlines()[-1].endswith(line)


@pytest.mark.parametrize("command", main.commands)
def test_the_help_names_no_bound_that_there_is_not(command):
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert "None]" not in result.output.replace("n_components=None", "")
