"""What jobs ask of a cluster."""

import ast
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def asked(root):
    """The functions `mem_mb` and `runtime` of rules/common.smk."""
    tree = ast.parse((root / "rules/common.smk").read_text())
    kept = [node for node in tree.body if getattr(node, "name", "") in ("mem_mb", "runtime")]
    assert len(kept) == 2
    found = {}
    exec(compile(ast.Module(kept, []), "common.smk", "exec"), found)
    return found


def test_memory_grows_with_the_input_and_each_attempt(asked):
    wanted = asked["mem_mb"](2000, 10)
    sizes = [SimpleNamespace(size_mb=0), SimpleNamespace(size_mb=100)]
    assert [wanted(None, size, attempt=1) for size in sizes] == [2000, 3000]
    assert [wanted(None, sizes[1], attempt) for attempt in (2, 3)] == [6000, 9000]


def test_time_doubles_with_each_attempt(asked):
    assert [asked["runtime"](30)(None, attempt) for attempt in (1, 2, 3)] == [30, 60, 120]
