"""The laws of the layout: imports run downhill, scripts are thin, settings are typed."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow_scripts"
LIBRARY = SCRIPTS / "dice_atlas"
# A room may import from its own line and from those above it.
RANKS = (
    ("__init__", "names", "errors", "files", "logs", "tables", "registry", "holdout"),
    ("numerics",),
    ("counts", "features", "clustering", "metrics"),
    ("dice",),
    ("transfer", "baselines", "synthesis"),
    ("scoring", "atlas", "plots"),
    ("report", "viewer", "benchmark"),
    # What the Snakefile reads before any job.
    ("settings", "sheet"),
)
RANK = {room: i for i, rooms in enumerate(RANKS) for room in rooms}
MOST_LINES = 25


def modules() -> list[Path]:
    return sorted(LIBRARY.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(LIBRARY).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    """Rooms of the library that a file imports, or names by reference ("package.module:name")."""
    for node in ast.walk(ast.parse(path.read_text())):
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = re.findall(r"^(dice_atlas[.\w]+):\w+$", node.value)
        for name in found:
            parts = name.split(".")
            if parts[0] == "dice_atlas" and len(parts) > 1:
                yield parts[1] if parts[1] in RANK else "__init__"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_imports_run_downhill(path):
    room = room_of(path)
    assert room in RANK, f"{room} is in no line of RANKS"
    uphill = sorted({other for other in imported(path) if RANK[other] > RANK[room]})
    assert not uphill, f"{path.relative_to(ROOT)} imports {', '.join(uphill)}"


def test_rooms_of_one_line_are_in_no_circle():
    known = {room: set() for room in RANK}
    for path in modules():
        room = room_of(path)
        known[room] |= {other for other in imported(path) if other != room}
    # Taking away what imports nothing that is left leaves the circles.
    while free := [room for room, others in known.items() if not others & set(known)]:
        for room in free:
            del known[room]
    assert not known, f"these import each other: {sorted(known)}"


def test_the_library_knows_no_snakemake():
    for path in modules():
        names = {
            node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
        }
        assert "snakemake" not in names, path
        assert not re.search(r"^\s*(import|from) snakemake", path.read_text(), re.MULTILINE), path


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_is_imports_and_a_short_main(path):
    body = ast.parse(path.read_text()).body
    docstring, *imports, main = body
    assert isinstance(docstring, ast.Expr)
    assert ast.get_docstring(ast.parse(path.read_text())).startswith(f"{path.stem}: ")
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in imports)
    own = {script.stem for script in SCRIPTS.glob("*.py")}
    modules_ = {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    modules_ |= {a.name for node in imports if isinstance(node, ast.Import) for a in node.names}
    assert not modules_ & own, "a script imports a script"
    assert isinstance(main, ast.If)
    assert ast.unparse(main.test) == "__name__ == '__main__'"
    lines = main.end_lineno - main.lineno
    assert lines < MOST_LINES, f"{lines} lines"
    assert not any(isinstance(node, ast.FunctionDef | ast.Lambda) for node in ast.walk(main))


def raw_sections(tree: ast.Module) -> Iterator[str]:
    """Functions with a parameter that is a raw section of the config: a mapping of anything."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or node.name == "from_config":
            continue
        for argument in (*node.args.args, *node.args.kwonlyargs):
            annotation = ast.unparse(argument.annotation) if argument.annotation else ""
            if annotation in ("dict[str, Any]", "Mapping[str, Any]", "dict", "Mapping"):
                yield f"{node.name}({argument.arg})"


# What these mappings are: parts of files, rows of the sheet, a card or provenance, not sections.
NOT_SECTIONS = {
    "latent", "stored", "card", "about", "uns", "row", "files", "dice", "provenance", "entries",
    "schema", "rule", "cells",
}  # fmt: skip
# Their subject is the config itself, as it came and as it is written down.
RAW = ("settings.py", "sheet.py", "atlas/provenance.py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_settings_are_typed(path):
    name = str(path.relative_to(LIBRARY))
    if name in RAW:
        return
    raw = list(raw_sections(ast.parse(path.read_text())))
    raw = [text for text in raw if text.split("(")[1].rstrip(")") not in NOT_SECTIONS]
    assert not raw, f"{name}: {', '.join(raw)} take a raw section; give a class with from_config"
