"""The static checks that a contributor runs: ruff, mypy, snakefmt, snakemake --lint."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["snakefmt", "--check", "Snakefile", "workflow/Snakefile", "rules"],
        ["mypy"],
        ["snakemake", "--lint"],
        ["snakemake", "--lint", "-s", "workflow/Snakefile"],
    ],
    ids=" ".join,
)
def test_check_is_clean(root, command):
    result = subprocess.run(
        [TOOLS / command[0], *command[1:]], cwd=root, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
