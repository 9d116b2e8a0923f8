"""`snakemake --profile slurm` on a real SLURM: the demo, and faults that must lose nothing."""

import os
import re
import shutil
import signal
import subprocess
import time

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from cluster import QUICK
from sklearn.metrics import adjusted_rand_score
from waiting import wait_for_text

pytestmark = [pytest.mark.workflow, pytest.mark.slurm]

# Cheap but for the shards, which last some 20 s: long enough to be hit by a fault.
SLOW_SHARDS = {
    "prior": {
        "preset": "fast",
        "overrides": {"width": 64, "blocks": 2, "steps": 200, "batch_size": 128},
    },
    "denoise": {"samples": 500, "shards": 4},
    "annotate": {"voters": ["dice"], "final": "dice"},
    "cluster": {"resolutions": [0.5, 1.0]},
}
ATLAS = "results/demo/atlas.h5ad"
DENOISED = "results/demo/denoise/denoised.h5ad"
# Minutes each: a part of the faults runs with all tests, all of them by `make test-slurm`.
long = pytest.mark.skipif("SLURM_TABLE" not in os.environ, reason="run by `make test-slurm`")


@pytest.fixture(scope="module")
def before_shards(demo, tmp_path_factory):
    """A copy in which all that comes before the shards is done."""
    # The demo's settings are the same up to the latents; what comes after them goes.
    copy = demo.duplicate(tmp_path_factory.mktemp("before_shards") / "dice-atlas")
    for path in (copy.folder / "results/demo").iterdir():
        if path.name not in ("samples", "features", "latent", "qc.tsv"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    config = copy.config("slow", **SLOW_SHARDS)
    assert copy.planned("--configfile", config, "--", "results/demo/prior/prior.safetensors") == {
        "train_prior": 1
    }
    copy.run("--configfile", config, "--", "results/demo/prior/prior.safetensors")
    return copy


@pytest.fixture(scope="module")
def calm(before_shards, tmp_path_factory):
    """What an undisturbed run makes of it, locally: called with a file, gives its content."""
    copy = before_shards.duplicate(tmp_path_factory.mktemp("calm") / "dice-atlas")

    def made(path: str) -> ad.AnnData:
        if not (copy.folder / path).exists():
            copy.run("--configfile", "slow.yaml", "--", path)
        return ad.read_h5ad(copy.folder / path)

    return made


@pytest.fixture
def study(before_shards, tmp_path):
    """A copy of its own with the work before the shards done."""
    return before_shards.duplicate(tmp_path / "dice-atlas")


@pytest.fixture
def done(cluster, study, calm, table):
    """Called when a fault is over: the result is whole and the undisturbed one; a row of the table.

    Jobs and seconds count from here on.
    """
    cluster.forget()
    start = time.monotonic()

    def check(what: str, happened: str, result: str = ATLAS) -> None:
        seconds = time.monotonic() - start
        same = same_atlas if result == ATLAS else same_latents
        same(study.folder / result, calm(result))
        nothing_half_written(study.folder)
        table(what, happened, seconds)

    return check


def same_atlas(path, expected: ad.AnnData, training: bool = False) -> None:
    """Exact where the README says so, else within rounding; training on other cores moves more."""
    found = ad.read_h5ad(path)
    assert found.obs_names.equals(expected.obs_names)
    assert (found.layers["counts"] != expected.layers["counts"]).nnz == 0
    assert (found.X != expected.X).nnz == 0
    scale = np.abs(expected.obsm["X_dice"]).max()
    apart = np.abs(found.obsm["X_dice"] - expected.obsm["X_dice"]).max() / scale
    assert apart < (0.05 if training else 1e-4)
    same = found.obs["cell_type"].astype(str) == expected.obs["cell_type"].astype(str)
    assert same.mean() > (0.95 if training else 0.995)
    ari = adjusted_rand_score(found.obs["cluster"], expected.obs["cluster"])
    assert ari > (0.8 if training else 0.95)


def same_latents(path, expected: ad.AnnData) -> None:
    """Equal within rounding."""
    found = ad.read_h5ad(path)
    assert found.obs_names.equals(expected.obs_names)
    for key in ("X_dice", "X_dice_sd"):
        scale = np.abs(expected.obsm[key]).max()
        assert np.abs(found.obsm[key] - expected.obsm[key]).max() / scale < 1e-4


def nothing_half_written(folder) -> None:
    """No temporary file of ours is left."""
    hidden = [p for p in (folder / "results").rglob(".*") if p.name != ".snakemake_timestamp"]
    assert not hidden


def no_shard_left(folder) -> None:
    assert not list((folder / "results/demo/denoise").glob("shards/*"))


def arguments(*extra: str, result: str = ATLAS) -> list[str]:
    return [*QUICK, "--configfile", "slow.yaml", *extra, "--", result]


def shards_run(cluster, study):
    """Those that run as soon as the first one, which is sent first, denoises."""
    log = study.folder / "results/demo/logs/denoise_shard/1-of-4.log"
    wait_for_text(log, "samples each", 240)
    return running_shards(cluster)


def running_shards(cluster):
    return cluster.of_rule("denoise_shard", "RUNNING")


@long
def test_the_demo_with_the_literal_command(cluster, demo, make_copy, table):
    copy = make_copy("slurm_demo")
    config = copy.folder / "config/config.yaml"
    config.write_text(config.read_text().replace("gpu: 0", "gpu: 1"))
    cluster.forget()
    start = time.monotonic()
    output = cluster.run(copy)
    seconds = time.monotonic() - start
    assert "Done in " in output
    plan = r"^Plan: \d+ jobs for 3 samples .* 700 cells; a guess of .* queue's\.$"
    assert re.search(plan, output, re.MULTILINE)
    jobs = cluster.since()
    benchmarks = list((copy.folder / "results/demo/benchmarks").rglob("*.tsv"))
    assert len(jobs) == len(benchmarks)  # one per job of the workflow
    lines = re.findall(r"^\[ *(\d+)/(\d+)\] \w+.*: ", output, re.MULTILINE)
    assert lines == [(str(i + 1), str(len(jobs))) for i in range(len(jobs))]
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    with_gpu = {job["Comment"].split("_wildcards")[0] for job in jobs if "gpu:1" in str(job)}
    assert with_gpu == {"rule_train_prior", "rule_denoise_shard"}
    same_atlas(copy.folder / ATLAS, ad.read_h5ad(demo.folder / ATLAS), training=True)
    assert (copy.folder / "results/demo/report.html").stat().st_size > 100_000
    nothing_half_written(copy.folder)
    no_shard_left(copy.folder)
    own = sum(pd.read_csv(path, sep="\t")["s"].sum() for path in benchmarks)
    on_nodes = sum(cluster.seconds(job) for job in jobs)
    table("demo on one machine", f"{len(jobs)} jobs on 2 cores, no SLURM", demo.seconds)
    table("demo", f"{len(jobs)} jobs done; of each {(on_nodes - own) / len(jobs):.1f} s on the "
          "node are Snakemake's own start", seconds)  # fmt: skip


def test_an_array_that_would_wait_for_ever_is_refused(cluster, make_copy):
    copy = make_copy("slurm_array")
    copy.config("slow", **SLOW_SHARDS)
    cluster.forget()
    arrays = ("--slurm-array-jobs", "denoise_shard", "--jobs", "3")
    output = cluster.run(copy, *arguments(*arrays), ok=False)
    assert "seen --jobs 3 and 4 shards to be sent as an array job, expected at least 12" in output
    assert not cluster.since()


@long
def test_a_shard_over_its_memory_gets_more(cluster, study, done):
    output = cluster.run(study, *arguments("--set-resources", "denoise_shard:mem_mb=attempt*330"))
    killed = [job for job in cluster.since("denoise_shard") if job["JobState"] != "COMPLETED"]
    # Without cgroups SLURM says why in its own log alone.
    logs = "".join(path.read_text() for path in (cluster.folder / "log").glob("node*.log"))
    assert killed
    assert "exceeded memory limit" in logs
    assert "Trying to restart job" in output
    no_shard_left(study.folder)
    done("shards over their memory", f"{len(killed)} killed, sent again with more, done")


@long
def test_a_cancelled_shard_is_sent_again_and_no_other(cluster, study, done):
    process = cluster.start(study, *arguments())
    # The first one: of an array the others would count as failed with it.
    one = next(job for job in shards_run(cluster, study) if "_1-of-4" in job["Comment"])
    subprocess.run(["scancel", one["JobId"]], env=cluster.env, check=True, timeout=30)
    assert process.wait(timeout=600) == 0
    states = [job["JobState"] for job in cluster.since("denoise_shard")]
    assert sorted(states) == ["CANCELLED"] + ["COMPLETED"] * 4
    no_shard_left(study.folder)
    done("a shard cancelled", "sent again, the others untouched")


@long
def test_training_over_its_time_goes_on_from_its_checkpoint(cluster, make_copy, table):
    copy = make_copy("slurm_time")
    # Some two minutes of training, of which the first attempt gets one.
    steps = {"steps": 9_000, "patience": 10_000}
    copy.config("slow", **(SLOW_SHARDS | {"prior": {"preset": "fast", "overrides": steps}}))
    copy.run("--configfile", "slow.yaml", "--", "results/demo/latent/latents.h5ad")
    cluster.forget()
    start = time.monotonic()
    cluster.run(
        copy, *QUICK, "--configfile", "slow.yaml",
        "--set-resources", "train_prior:runtime=attempt*attempt*attempt",
        "train_prior:mem_mb=3000",
        "--", "results/demo/prior/prior.safetensors",
    )  # fmt: skip
    states = [job["JobState"] for job in cluster.since("train_prior")]
    assert states[0] == "TIMEOUT"
    assert states[-1] == "COMPLETED"
    log = (copy.folder / "results/demo/logs/train_prior.log").read_text()
    assert "going on from step" in log
    assert not (copy.folder / "results/demo/prior/checkpoint.pt").exists()
    step = log.split("going on from step ")[1].split()[0]
    table("training over its time", f"stopped {len(states) - 1} time(s), went on from step {step}",
          time.monotonic() - start)  # fmt: skip


@long
def test_cells_are_synthesised_as_jobs(cluster, demo, tmp_path, table):
    copy = demo.duplicate(tmp_path / "dice-atlas")
    copy.config(
        "made", gpu=1, denoise={"shards": 2},
        synthesis={"training_steps": 200, "cells": 400, "genes": "all"},
    )  # fmt: skip
    cluster.forget()
    start = time.monotonic()
    cluster.run(copy, *QUICK, "--configfile", "made.yaml", "--", "synthesis")
    jobs = cluster.since()
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert len(cluster.since("synthesize_cells")) == 2
    with_gpu = {job["Comment"].split("_wildcards")[0] for job in jobs if "gpu:1" in str(job)}
    assert with_gpu == {"rule_train_synthesis", "rule_synthesize_cells", "rule_score_synthesis"}
    cells = ad.read_h5ad(copy.folder / "results/demo/synthesis/synthetic.h5ad")
    assert cells.n_obs == 400
    assert np.issubdtype(cells.X.dtype, np.integer)
    assert (copy.folder / "results/demo/synthesis/report.html").stat().st_size > 100_000
    nothing_half_written(copy.folder)
    table("target synthesis", f"{len(jobs)} jobs done", time.monotonic() - start)


@long
def test_a_node_that_crashes_in_mid_shard(cluster, study, done):
    process = cluster.start(study, *arguments())
    node = shards_run(cluster, study)[0]["NodeList"]
    cluster.call("kill-node", node.removeprefix("node"))
    try:
        cluster.wait(lambda: any(int(job["Restarts"]) for job in cluster.since()) or
                 "NODE_FAIL" in {job["JobState"] for job in cluster.since()}, 120)  # fmt: skip
        assert process.wait(timeout=600) == 0
    finally:
        cluster.call("start-node", node.removeprefix("node"))
    restarts = sum(int(job["Restarts"]) for job in cluster.since("denoise_shard"))
    no_shard_left(study.folder)
    done("a node crashed in mid-shard", f"{restarts} shard(s) requeued by SLURM, done")


@long
def test_ctrl_c_cancels_all_jobs_and_leaves_no_lock(cluster, study, done):
    process = cluster.start(study, *arguments())
    shards_run(cluster, study)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) != 0
    cluster.wait(lambda: not cluster.active(), 60)
    assert "CANCELLED" in {job["JobState"] for job in cluster.since()}
    assert not (study.folder / ATLAS).exists()
    cluster.run(study, *arguments())
    no_shard_left(study.folder)
    done("Ctrl-C, then the same command", "jobs cancelled, no lock, done")


def test_a_killed_controller_with_its_jobs_still_running(cluster, study, done):
    # What comes after the shards is the same as without a fault: `make test` leaves it out.
    result = ATLAS if "SLURM_TABLE" in os.environ else DENOISED
    process = cluster.start(study, *arguments(result=result))
    shards_run(cluster, study)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    orphans = len(running_shards(cluster))
    assert orphans
    study.run("--unlock")
    cluster.run(study, *arguments(result=result))
    assert len(cluster.since("denoise_shard")) >= 4 + orphans
    cluster.wait(lambda: not cluster.active(), 120)
    # An orphan may have put its shard in place after all were gathered.
    done("controller killed, --unlock, the same command",
         f"{orphans} orphan(s) ran on beside their second copies, done", result)  # fmt: skip
