"""The conda envs pin what the lock pins, so that what is tested is what is deployed."""

import re

import pytest
import yaml

CONDA_NAMES = {"matplotlib-base": "matplotlib", "python-igraph": "igraph", "pytorch": "torch"}


def lock(root) -> dict[str, str]:
    lines = (root / "requirements.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


@pytest.mark.parametrize("env", ["analysis", "torch", "report"])
def test_env_pins_are_the_locks(root, env):
    locked = lock(root)
    content = yaml.safe_load((root / "envs" / f"{env}.yaml").read_text())
    assert content["channels"] == ["conda-forge", "bioconda", "nodefaults"]
    for entry in content["dependencies"]:
        name, _, version = entry.partition("=")
        if name != "python":
            assert locked[CONDA_NAMES.get(name, name)] == version, entry


def test_every_rule_env_exists(root):
    used = set()
    for path in (root / "rules").glob("*.smk"):
        used |= set(re.findall(r'"\.\./envs/(\w+)\.yaml"', path.read_text()))
    assert used == {path.stem for path in (root / "envs").glob("*.yaml")}


def test_the_lock_holds_every_direct_pin(root):
    locked = lock(root)
    for line in (root / "requirements.in").read_text().splitlines():
        name, _, version = line.partition("==")
        if version:
            assert locked[name] == version
