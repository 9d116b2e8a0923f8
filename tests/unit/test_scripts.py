"""The scripts of rules, and those that no test runs: what they import is there."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    path
    for folder in ("workflow_scripts", "tests/benchmarks", "docs", "tests/oracle")
    for path in sorted((ROOT / folder).glob("*.py"))
    # In the environments of magic-impute, symphonypy and celltypist.
    if not path.stem.endswith(("_reference", "celltypist_cells"))
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_import_of_a_script_is_there(path, monkeypatch):
    monkeypatch.syspath_prepend(str(path.parent))
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module, alias.name) for alias in node.names]
        for module, name in names:
            found = importlib.import_module(module)
            if name and not hasattr(found, name):
                importlib.import_module(f"{module}.{name}")
    # Their own modules have common names ("transfer"): they go as they came.
    for own in path.parent.glob("*.py"):
        sys.modules.pop(own.stem, None)
