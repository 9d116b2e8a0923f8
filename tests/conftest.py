"""Fixtures of all tests; runs of the workflow in copies of the repository, so that a user's results
stay as they are.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
import yaml

# Cores of each worker of pytest-xdist. More threads than these would wait for each other, in the
# libraries here and in the jobs of the workflow.
CORES = max(1, 2 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
THREADS = [f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")]
for name in THREADS:
    # Not setdefault: workers inherit what the process that starts them has set here.
    os.environ[name] = str(CORES)

# The same examples in every run, few enough to take no time.
hypothesis.settings.register_profile(
    "repeatable", derandomize=True, max_examples=60, deadline=None, database=None
)
hypothesis.settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    "Snakefile", "workflow", "rules", "config", "envs", "resources", "slurm", "workflow_scripts",
    "pyproject.toml", "README.md", "LICENSE",
)  # fmt: skip
# Settings that make a run cheap where only the plumbing is looked at.
SMALL = {
    "prior": {
        "preset": "fast",
        "overrides": {"width": 32, "blocks": 1, "steps": 100, "batch_size": 128},
    },
    "denoise": {"samples": 4, "shards": 2},
    "cluster": {"resolutions": [0.5, 1.0]},
    "annotate": {"voters": ["dice"], "final": "dice"},
    "figures": {"formats": []},
    "qc": {"doublets": "off"},
}


# A user's Snakefile, as snakedeploy writes it.
MODULE = """\
configfile: "settings.yaml"


module dice_atlas:
    snakefile:
        {snakefile}
    config:
        config


use rule * from dice_atlas{renamed}
"""


class Copy:
    """A copy of the workflow in a folder of its own, or a user's folder beside such a copy."""

    def __init__(self, folder: Path, clone: Path | None = None) -> None:
        self.folder = folder
        self.clone = clone or folder
        self.env: dict[str, str] = {}
        self.seconds = 0.0

    def snakefile(self, snakefile: str, renamed: str = "") -> None:
        """Write a user's Snakefile, which takes the workflow as a module."""
        text = MODULE.format(snakefile=snakefile, renamed=renamed)
        (self.folder / "Snakefile").write_text(text)

    def duplicate(self, folder: Path) -> "Copy":
        """Another one, with all the results that this one has."""
        shutil.copytree(self.folder, folder)
        return Copy(folder)

    def config(self, name: str, **keys) -> str:
        """Write a config file; returns its name."""
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(keys))
        return f"{name}.yaml"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", *arguments]

    def run(self, *arguments: str, cores: int = CORES, ok: bool = True) -> str:
        """Run snakemake; returns what it printed. `seconds` is how long it took."""
        start = time.monotonic()
        result = subprocess.run(
            self.command("--cores", str(cores), *arguments),
            cwd=self.folder,
            env=os.environ | self.env,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        self.seconds = time.monotonic() - start
        output = result.stdout + result.stderr
        assert (result.returncode == 0) == ok, output[-6000:]
        return output

    def planned(self, *arguments: str) -> dict[str, int]:
        """Rules and numbers of jobs that a run would do."""
        output = self.run("--dry-run", *arguments)
        if "Nothing to be done" in output:
            return {}
        table = output.split("Job stats:")[1].split("total")[0]
        jobs = re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)
        return {rule: int(n) for rule, n in jobs}

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start snakemake in a process group of its own."""
        log = open(self.folder / "started.log", "w")  # noqa: SIM115
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @staticmethod
    def kill(process: subprocess.Popen) -> None:
        """Kill a started run and all its jobs at once."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and oracles of the development machines; skips where they are missing."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"{folder} is not there (it exists on the development machines and in CI only)")
    return folder


@pytest.fixture(scope="session")
def small() -> dict:
    """Keys of a config that makes a run cheap."""
    return SMALL


def copy_parts(folder: Path) -> Copy:
    """A copy of the workflow in a new folder."""
    folder.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("demo", "__pycache__")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, folder / part)
    return Copy(folder)


@pytest.fixture(scope="session")
def make_copy(tmp_path_factory):
    """Makes copies of the workflow by name."""

    def make(name: str) -> Copy:
        return copy_parts(tmp_path_factory.mktemp(name) / "dice-atlas")

    return make


@pytest.fixture(scope="session")
def make_user(make_copy, tmp_path_factory):
    """Makes empty folders of users, each with a copy elsewhere that is their clone."""

    def make(name: str) -> Copy:
        return Copy(tmp_path_factory.mktemp(f"{name}_user"), make_copy(name).folder)

    return make


@pytest.fixture(scope="session")
def package(make_copy, tmp_path_factory) -> Path:
    """A folder into which pip has installed dice_atlas."""
    target = tmp_path_factory.mktemp("package")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    local = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([*pip, *local, str(make_copy("built").folder)], check=True)
    return target


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Makes a folder by its name, one for all workers: the others wait for the first."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def make_once(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = base / name, base / f"{name}.done"
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                done.touch()
        return folder

    return make_once


@pytest.fixture(scope="session")
def demo(once) -> Copy:
    """A copy in which the demo has run, with the settings of config/config.yaml.

    Several tests look at it at once: what changes results goes into a duplicate of it.
    """

    def make(folder: Path) -> None:
        made = copy_parts(folder)
        # As the README says: on two cores, whatever else runs. Fewer threads train another prior.
        made.env = dict.fromkeys(THREADS, "2")
        made.run(cores=2)
        (folder / "seconds.json").write_text(json.dumps(made.seconds))

    copy = Copy(once("demo", make))
    copy.seconds = json.loads((copy.folder / "seconds.json").read_text())
    return copy


# Folders of tests by how long their files take: long ones first, or one worker ends alone.
FOLDERS = ("slurm", "workflow", "data", "fuzz", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files of tests; within a file nothing moves."""
    items.sort(key=lambda item: FOLDERS.index(item.path.relative_to(ROOT / "tests").parts[0]))
