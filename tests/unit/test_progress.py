"""What a run says: rules/common_progress.smk, which is plain Python, on records of Snakemake."""

import gzip
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from dice_atlas.clustering.settings import MANY_CELLS
from dice_atlas.counts.sizes import cells_in
from dice_atlas.effort import (
    SECONDS,
    SHARED,
    Pace,
    Planned,
    guess_minutes,
    in_words,
    seconds_of,
    unknown_rules,
)
from dice_atlas.logs import job_log, stamp_of, state_of
from dice_atlas.settings import validate_config
from snakemake_interface_logger_plugins.common import LogEvent

ROOT = Path(__file__).resolve().parents[2]
CONFIG = validate_config({"atlas": "x", "samples": "x"}, ROOT / "config/schemas/config.schema.json")
PACE = Pace.from_config(CONFIG["prior"], CONFIG["denoise"])


@pytest.fixture
def terminal():
    """The module's functions, and the lines that the terminal shows."""
    logger, lines = logging.Logger("of a run"), []
    source = (ROOT / "rules/common_progress.smk").read_text()
    workflow = SimpleNamespace(dryrun=False)
    names = {"logger": logger, "workflow": workflow, "CLONE": None, "Path": Path, "time": time}
    names["named"] = lambda rule, wildcards: f"{rule} ({', '.join(wildcards.values())})"
    exec(compile(source, "common_progress.smk", "exec"), names)
    shown = logging.Handler()
    shown.emit = lambda record: lines.append(record.getMessage())
    shown.addFilter(names["is_shown"])
    logger.addHandler(shown)
    return SimpleNamespace(**names, lines=lines, shown=shown)


def send(terminal, jobid, log, rule="find_anchors", benchmark=None):
    """What Snakemake logs as a job of a cluster is sent (jobs.Job.log_info, the SLURM plugin)."""
    fields = {"event": LogEvent.JOB_INFO, "jobid": jobid, "rule_name": rule, "local": False}
    fields |= {"log": [str(log)] if log else [], "benchmark": benchmark, "wildcards": {"s": "pca"}}
    terminal.logger.info("rule", extra=fields)
    started = {"event": LogEvent.JOB_STARTED, "jobs": [jobid]}
    terminal.logger.info(None, extra=started)
    sent = f"Job {jobid} has been submitted with SLURM jobid 12 (log: x)."
    terminal.logger.info(sent)


def end(terminal, jobid):
    fields = {"event": LogEvent.JOB_FINISHED, "job_id": jobid}
    terminal.logger.info(f"Finished jobid: {jobid} (Rule: find_anchors)", extra=fields)


def test_a_job_of_a_cluster_has_its_line(terminal, tmp_path):
    terminal.logger.addHandler(terminal.JobLines(12))
    log, benchmark = tmp_path / "a.log", tmp_path / "a.tsv"
    benchmark.write_text("s\th:m:s\n41.6\t0:00:41\n")
    send(terminal, 3, log, benchmark=str(benchmark))
    send(terminal, 4, None, rule="all")
    assert terminal.lines == []
    with job_log(str(log)) as logger:
        logger.warning("249 of 2013 genes are missing")
        logger.info("5 anchors")
    end(terminal, 3)
    end(terminal, 4)
    end(terminal, 99)  # of no job that was sent
    assert terminal.lines == [
        "[ 1/12] find_anchors (pca): 5 anchors (42 s)",
        "    Warning: 249 of 2013 genes are missing",
    ]


def test_what_goes_on_is_said_after_a_silence_and_less_and_less_often(terminal, tmp_path):
    lines = terminal.JobLines(2)
    terminal.logger.addHandler(lines)
    start = lines.last
    for jobid in range(6):
        send(terminal, jobid, tmp_path / f"{jobid}.log", rule=f"rule{jobid}")
    lines.pulse(start + 29)
    assert terminal.lines == []
    lines.pulse(start + 31)
    assert terminal.lines == ["    ... 6 jobs wait"]
    with job_log(str(tmp_path / "1.log")) as logger:
        logger.info("training step 1200/4000")
        lines.pulse(start + 80)  # 60 s of silence are needed now
        lines.pulse(start + 92)
    first, second = terminal.lines[1].splitlines()
    assert first.startswith("    ... rule1 (pca), 9")
    assert first.endswith(" s: training step 1200/4000")
    assert second == "    ... 5 jobs wait"
    error = {"event": LogEvent.JOB_ERROR, "jobid": 1}
    terminal.logger.error("Error in rule rule1", extra=error)
    end(terminal, 2)  # the silence begins again
    lines.pulse(lines.last + 31)
    assert terminal.lines[-1] == "    ... 4 jobs wait"


def test_an_older_log_is_no_sign_that_a_job_has_begun(tmp_path):
    log = tmp_path / "a.log"
    with job_log(str(log)) as logger:
        logger.info("of the first attempt")
    now, stamp = time.time(), stamp_of(log)
    assert state_of(log, stamp, now, now + 30) is None
    none = tmp_path / "none.log"
    assert state_of(none, stamp_of(none), now, now) is None
    assert state_of(log, None, now, now + 30) == "30 s: of the first attempt"
    with job_log(str(log)) as logger:
        logger.info("of the second attempt")
    # The clock of the file server is an hour behind ours.
    os.utime(log, (now - 3600, now - 3600))
    assert state_of(log, stamp, now, now + 90).endswith(" s: of the second attempt")


@pytest.mark.parametrize(
    ("message", "event", "shown"),
    [
        ("Provided cores: 2", LogEvent.RESOURCES_INFO, False),
        ("Job stats:", LogEvent.RUN_INFO, False),
        ("Building DAG of jobs...", None, False),
        ("Nothing to be done (all ...).", None, True),
        ("Creating conda environment", None, True),
    ],
)
def test_first_lines_of_snakemake_are_hidden_but_for_a_dry_run(terminal, message, event, shown):
    record = logging.LogRecord("x", logging.INFO, "", 0, message, (), None)
    record.event = event
    assert terminal.is_shown_first(record) == shown
    terminal.workflow.dryrun = True
    assert terminal.is_shown_first(record)


def test_the_guess_is_the_work_over_the_cores_or_the_longest_chain(tmp_path):
    noted = tmp_path / "noted.tsv"
    noted.write_text("s\tcpu_time\n999\t118\n")
    jobs = [Planned("x", str(noted)), Planned("x", str(noted)), Planned("x", str(noted), [0])]
    assert unknown_rules(jobs, PACE) == []
    # Two seconds are added to each.
    assert guess_minutes(jobs, 1, 1, PACE) == pytest.approx(6)
    assert guess_minutes(jobs, 1, 2, PACE) == pytest.approx(4)
    assert guess_minutes(jobs, 1, None, PACE) == pytest.approx(4)
    assert guess_minutes([Planned("y", None)], 1, 1, PACE) == pytest.approx(2 / 60)
    assert unknown_rules([*jobs, Planned("y", None), Planned("x", "none")], PACE) == ["y", "x"]
    assert in_words(0.4) == "under a minute"
    assert in_words(89) == "about 89 min"
    assert in_words(300) == "about 5 h"


@pytest.mark.parametrize(
    ("section", "key", "value", "rule"),
    [("prior", "preset", "fast", "train_prior"), ("denoise", "method", "gibbs", "denoise_shard")],
)
def test_settings_that_take_long_are_in_the_guess(section, key, value, rule):
    jobs = [Planned(rule, None)]
    changed = CONFIG | {section: CONFIG[section] | {key: value}}
    slow = Pace.from_config(changed["prior"], changed["denoise"])
    assert guess_minutes(jobs, 2_000, 1, slow) > guess_minutes(jobs, 2_000, 1, PACE) + 0.9
    assert unknown_rules([Planned("train_prior", None)], Pace("paper", False)) == ["train_prior"]
    saved = Pace.from_config(CONFIG["prior"] | {"path": "x"}, CONFIG["denoise"])
    assert unknown_rules([Planned("train_prior", None)], saved) == []


@pytest.mark.parametrize("cells", [10_000, 100_000])
def test_the_guess_is_that_of_the_benchmark(cells):
    table = pd.read_csv(ROOT / f"docs/scale/{cells}.tsv", sep="\t").set_index("rule")
    guess = sum(n * seconds_of(Planned(r, None), n, cells, PACE) for r, n in table["jobs"].items())
    assert guess == pytest.approx(table["cpu_seconds"].sum(), rel=0.15)
    job = Planned("cluster_cells", None)
    assert seconds_of(job, 1, MANY_CELLS - 1, PACE) > seconds_of(job, 1, MANY_CELLS, PACE)
    assert set(SHARED) < set(SECONDS)


@pytest.fixture
def files(tmp_path):
    """Seven cells in files of several kinds, and files that tell no number."""
    ad.AnnData(np.ones((7, 3), np.float32)).write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "tenx.h5", "w") as file:
        file["matrix/barcodes"] = [b"A"] * 7
    with h5py.File(tmp_path / "a.loom", "w") as file:
        file["matrix"] = np.ones((3, 7))
        file.create_group("col_attrs")
    (tmp_path / "mtx").mkdir()
    with gzip.open(tmp_path / "mtx/x_matrix.mtx.gz", "wt") as text:
        text.write("%%MatrixMarket matrix coordinate integer general\n% more\n3 7 1\n1 1 1\n")
    (tmp_path / "table.csv").write_text("gene,c1\nA,1\n")
    (tmp_path / "broken.h5").write_bytes((tmp_path / "a.h5ad").read_bytes()[:900])
    known = ("a.h5ad", "tenx.h5", "a.loom", "mtx")
    return {str(tmp_path / name): 7 for name in known} | {
        str(tmp_path / name): None for name in ("table.csv", "broken.h5", "none.h5ad")
    }


def test_numbers_of_cells_are_in_the_headers(files):
    assert {path: cells_in(path) for path in files} == files


def test_numbers_of_cells_from_a_process_of_its_own(files):
    command = [sys.executable, "-m", "dice_atlas.counts.sizes", *files]
    done = subprocess.run(
        command, capture_output=True, check=True, cwd=ROOT / "workflow_scripts", timeout=60
    )
    assert json.loads(done.stdout) == list(files.values())
