"""A real SLURM, and what came of each fault."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import SCRIPT, Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """Two nodes; skips without root, without SLURM and apt-get, or where a SLURM is already."""
    if os.geteuid() != 0:
        pytest.skip("a SLURM of its own needs root")
    if not shutil.which("slurmctld") and not shutil.which("apt-get"):
        pytest.skip("there is no SLURM, and no apt-get to install it with")
    if Path("/etc/slurm/slurm.conf").exists():
        pytest.skip("/etc/slurm/slurm.conf is there: this host belongs to a cluster")
    folder = tmp_path_factory.mktemp("slurm")
    try:
        yield Cluster(folder, 2)
    finally:
        subprocess.run(["bash", SCRIPT, "down", folder], timeout=120, check=False)


@pytest.fixture(scope="session")
def table() -> Iterator[Callable]:
    """Collects (what, what happened, seconds) in the file that $SLURM_TABLE names.

    A row replaces that of an earlier run; the others stay.
    """
    rows: dict[str, str] = {}

    def add(what: str, happened: str, seconds: float) -> None:
        rows[what] = f"{what}\t{happened}\t{seconds:.0f}"
        print(f"\n{what}: {happened}, {seconds:.0f} s")

    yield add
    if path := os.environ.get("SLURM_TABLE"):
        earlier = Path(path).read_text().splitlines()[1:] if Path(path).exists() else []
        kept = [line for line in earlier if line.split("\t")[0] not in rows]
        lines = ["what\twhat_happened\tseconds", *rows.values(), *kept]
        Path(path).write_text("\n".join(lines) + "\n")
