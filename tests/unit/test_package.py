"""dice_atlas as a package: it installs, and what it says of itself is said alike elsewhere."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version

import dice_atlas
import pytest
import yaml
from packaging.requirements import Requirement

# Of requirements.in what runs the workflow, or builds, and is not the library's.
NOT_OF_THE_LIBRARY = {"pygments", "setuptools"}


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def test_the_installed_package_is_the_library_and_nothing_else(package):
    assert {path.name for path in package.iterdir()} == {
        "dice_atlas", f"dice_atlas-{dice_atlas.__version__}.dist-info"
    }  # fmt: skip
    code = "import dice_atlas.dice.exact as exact; print(exact.__file__)"
    command = [sys.executable, "-P", "-c", code]
    found = subprocess.run(
        command, env={"PYTHONPATH": str(package)}, capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith(str(package))
    tables = {path.name for path in (package / "dice_atlas/vocabulary").glob("*.tsv*")}
    assert {"cell_ontology.tsv.gz", "cell_aliases.tsv", "genes_human.tsv.gz"} <= tables


def test_the_version_stands_once(root):
    cited = yaml.safe_load((root / "CITATION.cff").read_text())
    released = re.search(
        r"^## (\d\S*) \((\S+)\)", (root / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert cited["version"] == released[1] == dice_atlas.__version__
    assert str(cited["date-released"]) == released[2]


def test_the_packages_dependencies_are_the_pinned_ones(root, project):
    wanted = {r.name: r for r in map(Requirement, project["dependencies"])}
    lines = (root / "requirements.in").read_text().splitlines()
    pinned = {re.split("==", line)[0] for line in lines if line and line[0] != "#"}
    own = {name for name in pinned if not name.startswith("snakemake")} - NOT_OF_THE_LIBRARY
    # Snakemake brings the yaml of the lock.
    assert wanted.keys() == own | {"pyyaml"}
    for requirement in wanted.values():
        assert version(requirement.name) in requirement.specifier, requirement


def test_planning_needs_no_more_than_snakemake_brings(root):
    """So that jobs in conda environments need nothing heavy where snakemake itself is installed."""
    code = "import sys, dice_atlas.settings, dice_atlas.sheet; print(*sys.modules)"
    command, env = [sys.executable, "-c", code], {"PYTHONPATH": str(root / "workflow_scripts")}
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert not {"numpy", "pandas", "anndata", "torch"} & set(found.stdout.split())
