"""The conda envs pin what the lock pins, so that what is tested is what is deployed."""

import ast
import re
import runpy
import sys

import pytest
import yaml

# Modules whose package has another name.
PACKAGES = {
    "PIL": "pillow",
    "igraph": "python-igraph",
    "matplotlib": "matplotlib-base",
    "scvi": "scvi-tools",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "skmisc": "scikit-misc",
    "torch": "pytorch",
    "umap": "umap-learn",
    # A dependency of jinja2 and no other.
    "markupsafe": "jinja2",
}
CONDA_NAMES = {"matplotlib-base": "matplotlib", "python-igraph": "igraph", "pytorch": "torch"}


def lock(root, file="requirements.txt") -> dict[str, str]:
    lines = (root / file).read_text().splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


@pytest.mark.parametrize("env", ["analysis", "conditions", "torch", "report", "scvi", "celltypist"])
def test_env_pins_are_the_locks(root, env):
    # Some tools have versions of their own.
    own = f"requirements-{env}.txt"
    locked = lock(root, own if (root / own).exists() else "requirements.txt")
    content = yaml.safe_load((root / "envs" / f"{env}.yaml").read_text())
    assert content["channels"] == ["conda-forge", "bioconda", "nodefaults"]
    for entry in content["dependencies"]:
        name, _, version = entry.partition("=")
        if name != "python":
            assert locked[CONDA_NAMES.get(name, name)] == version, entry


def test_the_image_has_the_lock_and_its_python(root):
    text = (root / "envs/Dockerfile").read_text()
    assert "COPY envs/image.txt" in text
    assert "pip install --no-cache-dir --require-hashes -r /tmp/image.txt" in text
    python = re.search(r"BASE=python:(\S+?)-", text)[1]
    for path in (root / "envs").glob("*.yaml"):
        assert f"python={python}" in yaml.safe_load(path.read_text())["dependencies"]


def test_the_image_s_user_is_not_root(root):
    users = re.findall(r"^USER (\S+)", (root / "envs/Dockerfile").read_text(), re.MULTILINE)
    assert users == ["atlas"]


def test_the_image_s_packages_are_those_of_the_lock_with_checksums(root):
    lines = (root / "envs/image.txt").read_text().splitlines()[1:]
    parts = [re.fullmatch(r"(\S+)==(\S+) --hash=sha256:([0-9a-f]{64})", line) for line in lines]
    assert all(parts)
    image = {part[1]: part[2] for part in parts}
    locked = {name.lower().replace("_", "-"): version for name, version in lock(root).items()}
    assert locked.items() <= image.items()
    # The others are what torch needs on Linux.
    beside = image.keys() - locked.keys()
    assert all(re.match("cuda|nvidia|triton", name) for name in beside), beside


def test_lines_of_the_image_s_lock(root):
    made = runpy.run_path(str(root / "envs/lock_image.py"))
    item = {
        "metadata": {"name": "Some_Thing", "version": "1.2"},
        "download_info": {"archive_info": {"hashes": {"sha256": "ab"}}},
    }
    assert made["lines"]({"install": [item]}) == ["some-thing==1.2 --hash=sha256:ab"]


def test_every_rule_env_exists(root):
    used = set()
    for path in (root / "rules").glob("*.smk"):
        used |= set(re.findall(r'"\.\./envs/(\w+)\.yaml"', path.read_text()))
    assert used == {path.stem for path in (root / "envs").glob("*.yaml")}


OWN = ("scvi", "celltypist", "cellxgene", "cellxgene-desktop", "anndata", "docs")


@pytest.mark.parametrize("file", ["requirements", *(f"requirements-{name}" for name in OWN)])
def test_the_lock_holds_every_direct_pin(root, file):
    locked = lock(root, f"{file}.txt")
    for line in (root / f"{file}.in").read_text().splitlines():
        name, _, version = line.partition("==")
        if version:
            assert locked[name] == version


def test_make_knows_every_environment(root):
    own = re.search(r"^OWN := (.+)$", (root / "Makefile").read_text(), re.MULTILINE)[1].split()
    files = {path.stem.removeprefix("requirements-") for path in root.glob("requirements-*.in")}
    assert {*own} == {*OWN} == files - {"dev"}


def named(path) -> tuple[set[str], set[str]]:
    """Modules that a file imports, and those of functions that it names by reference."""
    imported, referred = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # As in registry.py, "package.module:function".
            referred |= set(re.findall(r"^(dice_atlas[.\w]+):\w+$", node.value))
    return imported, referred


def imports(path, scripts) -> set[str]:
    """Packages that a script imports, directly or through the library and other scripts."""
    todo, seen, found, references = {path}, set(), set(), set()
    while todo:
        current = todo.pop()
        seen.add(current)
        names, referred = named(current)
        references |= referred
        # Without `registry.load` no reference is followed: the report reads tables of them alone.
        if scripts / "dice_atlas/registry.py" in seen:
            names |= references
        for name in names:
            module = scripts / (name.replace(".", "/") + ".py")
            package = scripts / name.replace(".", "/") / "__init__.py"
            if module.is_file() or package.is_file():
                todo |= {module if module.is_file() else package} - seen
            elif not name.startswith("dice_atlas"):
                found.add(name.split(".")[0])
    # Of `from script import function` the name after the dot is no module.
    own = {script.stem for script in scripts.glob("*.py")}
    return {PACKAGES.get(name, name) for name in found - own - set(sys.stdlib_module_names)}


def rule_envs(root) -> list[tuple[str, str]]:
    rules = "".join(path.read_text() for path in sorted((root / "rules").glob("*.smk")))
    pattern = r'"\.\./envs/(\w+)\.yaml".*?"(?:\.\./)?workflow_scripts/(\w+)\.py"'
    return re.findall(pattern, rules, flags=re.DOTALL)


def test_every_rule_finds_its_imports_in_its_env(root):
    pairs = rule_envs(root)
    assert len(pairs) > 15
    for env, script in pairs:
        text = (root / "envs" / f"{env}.yaml").read_text()
        content = yaml.safe_load(text)
        # The library is on the search path of the jobs, and the file says so.
        uses = "from dice_atlas" in (root / "workflow_scripts" / f"{script}.py").read_text()
        assert uses <= ("dice_atlas" in text), env
        there = {entry.partition("=")[0] for entry in content["dependencies"]}
        needed = imports(root / "workflow_scripts" / f"{script}.py", root / "workflow_scripts")
        assert needed <= there, f"{script}: envs/{env}.yaml lacks {sorted(needed - there)}"
