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
    (
        "__init__",
        "names",
        "errors",
        "files",
        "logs",
        "tables",
        "registry",
        "holdout",
        "texts",
        "vocabulary",
    ),
    ("numerics",),
    ("counts", "features", "clustering", "metrics"),
    ("dice",),
    ("transfer", "marker_lists", "baselines", "synthesis"),
    ("scoring", "atlas", "plots", "conditions"),
    ("report", "viewer", "benchmark", "export"),
    # What the Snakefile reads before any job.
    (
        "effort",
        "inputs",
        "schemas",
        "spreadsheet",
        "settings",
        "settings_files",
        "sheet_settings",
        "sheet",
    ),
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


# Ways to come by a module or a global by its name.
BY_NAME = {"import_module", "__import__", "getattr", "globals", "vars", "find_spec", "load"}


def uses_of_snakemake(tree: ast.Module) -> Iterator[str]:
    """Where code has to do with Snakemake; its name in a text for readers is no use."""
    for node in ast.walk(tree):
        found = ""
        if isinstance(node, ast.Import):
            found = " ".join(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found = node.module or ""
        elif isinstance(node, ast.Name):
            found = node.id
        elif isinstance(node, ast.Attribute):
            found = node.attr
        elif isinstance(node, ast.arg):
            found = node.arg
        elif isinstance(node, ast.Call | ast.Subscript):
            called = node.func if isinstance(node, ast.Call) else node.value
            names = {n.id for n in ast.walk(called) if isinstance(n, ast.Name)}
            names |= {n.attr for n in ast.walk(called) if isinstance(n, ast.Attribute)}
            inside = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
            if names & {*BY_NAME, "environ", "getenv"}:
                found = " ".join(text for text in inside if isinstance(text, str))
        if re.search(r"snakemake", found, re.IGNORECASE):
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "code",
    [
        "import snakemake",
        "def f():\n    from snakemake.utils import min_version",
        "import snakemake.io as io",
        "def f(snakemake): pass",
        "print(snakemake.input)",
        "builtins.snakemake.log",
        "globals()['snakemake']",
        "import_module('snakemake.io')",
        "importlib.import_module('snakemake')",
        "os.environ.get('SNAKEMAKE_PROFILE')",
        "os.environ['SNAKEMAKE_PROFILE']",
    ],
)
def test_every_use_of_snakemake_is_seen(code):
    assert list(uses_of_snakemake(ast.parse(code)))


def test_the_library_knows_no_snakemake():
    # A reader is told its version.
    assert not list(uses_of_snakemake(ast.parse("f\"{versions['snakemake']}\"; 'Snakemake: fast'")))
    for path in modules():
        uses = list(uses_of_snakemake(ast.parse(path.read_text())))
        assert not uses, f"{path.relative_to(ROOT)}, {', '.join(uses)}"


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


# Types of which a key can hold anything, as in the config: bare, or of Any and object.
RAW_TYPE = re.compile(
    r"\b(dict|Dict|Mapping|MutableMapping|OrderedDict)\b(?!\[)"
    r"|\b(?:dict|Dict|Mapping|MutableMapping|OrderedDict)\[str, (?:Any|object)\]"
)


def raw_parameters(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Functions and their parameters that are mappings of anything, as a raw section is."""
    aliases = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and RAW_TYPE.search(ast.unparse(node.value))
        for target in node.targets
        if isinstance(target, ast.Name) and not isinstance(node.value, ast.Constant | ast.Call)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name == "from_config":
            continue
        own = node.args
        for argument in (*own.posonlyargs, *own.args, *own.kwonlyargs, own.vararg):
            if argument is None or argument.annotation is None:
                continue
            annotation = ast.unparse(argument.annotation).strip("\"'")
            if RAW_TYPE.search(annotation) or annotation in aliases:
                yield node.name, argument.arg


@pytest.mark.parametrize(
    "annotation",
    [
        "dict", "Mapping", "dict[str, Any]", "Mapping[str, Any]", "Mapping[str, object]",
        "Mapping[str, Any] | None", "Optional[dict[str, Any]]", "MutableMapping[str, Any]",
        "Sequence[Mapping[str, Any]]", "'dict[str, Any]'", "typing.Mapping[str, Any]", "Section",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["{}", "x, /, *, {}", "{}, /", "*{}"])
def test_every_raw_mapping_is_seen(annotation, place):
    code = f"Section = Mapping[str, Any]\ndef f({place.format('batch: ' + annotation)}): pass"
    assert list(raw_parameters(ast.parse(code))) == [("f", "batch")]


def test_typed_mappings_are_not_raw():
    code = "def f(a: Mapping[str, float], b: dict[str, list[str]], c: BatchSettings, d: Any): pass"
    assert not list(raw_parameters(ast.parse(code)))


# Mappings of anything that are no sections, by file: parts of files, rows of the sheet, a card.
NOT_SECTIONS = {
    "atlas/approximations.py": {"card"},
    "atlas/assemble.py": {"sheet"},
    "atlas/columns.py": {"sheet"},
    "atlas/matrices.py": {"uns"},
    "counts/h5ad.py": {"stored"},
    "counts/overview.py": {"rows", "card"},
    "counts/sample.py": {"row"},
    "dice/gene_space.py": {"latent"},
    "dice/sampler.py": {"latent"},
    "dice/saved.py": {"card", "about"},
    "dice/schedule.py": {"latent"},
    "dice/settings.py": {"latent"},
    "features/card.py": {"card"},
    "inputs.py": {"sheet"},
    "report/data.py": {"uns", "files"},
    "report/html.py": {"files"},
    "report/input_tables.py": {"inputs"},
    "report/maps.py": {"entries"},
    "report/methods.py": {"dice"},
    "report/qc.py": {"row"},
    "report/synthesis.py": {"files"},
    "schemas.py": {"rule"},
    "synthesis/saved.py": {"card"},
}
# Their subject is the config itself, as it came and as it is written down.
RAW = ("settings.py", "settings_files.py", "sheet_settings.py", "sheet.py", "atlas/provenance.py",
       "report/changed_settings.py")  # fmt: skip


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_settings_are_typed(path):
    name = path.relative_to(LIBRARY).as_posix()
    if name in RAW:
        return
    known = NOT_SECTIONS.get(name, set())
    found = set(raw_parameters(ast.parse(path.read_text())))
    raw = [f"{function}({of})" for function, of in sorted(found) if of not in known]
    assert not raw, f"{name}: {', '.join(raw)} take a raw section; give a class with from_config"
    gone = known - {of for _, of in found}
    assert not gone, f"{name}: {', '.join(sorted(gone))} need no exception any more"


def test_exceptions_are_of_files_that_are_there():
    assert {*NOT_SECTIONS, *RAW} <= {path.relative_to(LIBRARY).as_posix() for path in modules()}


# Keys of the config that the report reads as they are: no stage has light settings for them.
READ_RAW = {"report/figures.py": {"seed"}, "report/data.py": {"seed"}, "report/slides.py": {"seed"},
            "report/figure_data.py": {"seed"}, "export/seurat.py": {"normalization"},
            "report/methods.py": {"genes", "normalization", "prior", "latent", "seed"}}  # fmt: skip


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_no_section_is_read_from_the_config(path):
    name = path.relative_to(LIBRARY).as_posix()
    if name in RAW:
        return
    tree = ast.parse(path.read_text())
    settings = [n for n in ast.walk(tree) if getattr(n, "name", "") == "from_config"]
    allowed = {id(inner) for node in settings for inner in ast.walk(node)}
    read = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Subscript) or id(node) in allowed:
            continue
        of, key = node.value, node.slice
        holder = of.id if isinstance(of, ast.Name) else getattr(of, "attr", "")
        if isinstance(of, ast.Subscript) and isinstance(of.slice, ast.Constant):
            holder = of.slice.value  # provenance["config"]
        if holder == "config" and isinstance(key, ast.Constant):
            read.add(key.value)
    assert read == READ_RAW.get(name, set())
