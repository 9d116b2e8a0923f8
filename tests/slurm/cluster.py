"""A real SLURM on this machine, brought up by slurm-local.sh."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from waiting import wait_for

SCRIPT = Path(__file__).with_name("slurm-local.sh")
# Poll often: the clusters of the profile's 20 s are busier than this one.
QUICK = ("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2")
TIMEOUT = 900


class Cluster:
    """Nodes node1, node2 ... of one partition, a pretended GPU each."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder, self.last = folder, 0
        self.call("up", nodes)
        self.env = {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            # As in an activated environment.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def call(self, command: str, *arguments: object) -> None:
        """A command of slurm-local.sh."""
        done = subprocess.run(
            ["bash", SCRIPT, command, self.folder, *map(str, arguments)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def jobs(self) -> list[dict[str, str]]:
        """All jobs so far, array tasks each, as `scontrol show job` tells them."""
        done = subprocess.run(
            ["scontrol", "show", "job", "--oneliner"], env=self.env, timeout=30,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.startswith("JobId=")]
        return [dict(re.findall(r"([\w/:]+)=(\S+)", line)) for line in lines]

    def of_rule(self, rule: str, state: str = "") -> list[dict[str, str]]:
        """Jobs of a rule, in a state."""
        return [
            job for job in self.jobs()
            if re.match(rf"rule_{rule}(_wildcards|$)", job.get("Comment", ""))
            and state in ("", job["JobState"])
        ]  # fmt: skip

    def since(self, rule: str = "") -> list[dict[str, str]]:
        """Jobs since `forget`, of a rule, first sent first; a requeued job is one."""
        jobs = self.of_rule(rule) if rule else self.jobs()
        return sorted(
            (job for job in jobs if int(job["JobId"]) > self.last), key=lambda j: int(j["JobId"])
        )

    @staticmethod
    def seconds(job: dict[str, str]) -> float:
        """How long a job ran."""
        start, end = (time.strptime(job[f"{name}Time"], "%Y-%m-%dT%H:%M:%S")
                      for name in ("Start", "End"))  # fmt: skip
        return time.mktime(end) - time.mktime(start)

    def forget(self) -> None:
        """Wait until nothing runs; later questions are about later jobs."""
        self.wait(lambda: not self.active(), 120)
        self.last = max((int(job["JobId"]) for job in self.jobs()), default=0)

    def wait(self, found: Callable[[], Any], seconds: float) -> Any:
        """What `found` returns as soon as that is true; asked whenever SLURM logs something."""
        return wait_for(found, seconds, self.folder / "log/slurmctld.log")

    def active(self) -> list[dict[str, str]]:
        done = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL")
        return [job for job in self.jobs() if job["JobState"] not in done]

    def run(self, copy, *arguments: str, ok: bool = True) -> str:
        """`snakemake --profile slurm` in a copy of the workflow; returns what it printed."""
        done = subprocess.run(
            ["snakemake", "--profile", "slurm", *arguments], cwd=copy.folder, env=self.env,
            capture_output=True, text=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, output[-6000:]
        return output

    def start(self, copy, *arguments: str) -> subprocess.Popen:
        """The same in the background, in a process group of its own; log: started.log."""
        with open(copy.folder / "started.log", "w") as log:
            return subprocess.Popen(
                ["snakemake", "--profile", "slurm", *arguments], cwd=copy.folder, env=self.env,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
