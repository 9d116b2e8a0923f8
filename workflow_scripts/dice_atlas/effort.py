"""A guess of how long jobs take, from what they took elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dice_atlas.clustering.settings import FAST, leiden_package

# CPU seconds of a job at the default settings: to start, and for each 1,000 of its cells. From the
# demo and the tables of docs/scale, which a test compares; those of exports, `vote_table`,
# `gather_annotation`, `relate_labels` and `score_levels` are estimates.
SECONDS: dict[str, tuple[float, float]] = {
    "make_demo_data": (2, 0),
    "load_counts": (0.8, 0.13),
    "read_truth": (1, 0.01),
    "filter_cells": (3, 0.13),
    "summarize_qc": (2, 0),
    "select_genes": (1, 0.08),
    "normalize_log1p": (1.7, 0.05),
    "correct_batches": (2.8, 0.1),
    "fit_loadings": (2.9, 0.13),
    "train_prior": (4.2, 0.02),
    "denoise_shard": (2.2, 1.25),
    "gather_denoised": (0.8, 0.01),
    "find_anchors": (1.5, 0.75),
    "transfer_labels": (1.7, 0.08),
    "gather_annotation": (1, 0.05),
    "vote_linear": (7, 0.13),
    "vote_table": (2, 0.02),
    "relate_labels": (1, 0),
    "combine_voters": (1, 0.07),
    "call_labels": (1.6, 0.02),
    "estimate_shift": (0.7, 0.01),
    "explain_labels": (1.4, 0.04),
    "score_levels": (1.5, 0.02),
    "cluster_cells": (3, 1),
    "cluster_query": (3, 0.52),
    "embed_umap": (5, 1.15),
    "rank_markers": (1.5, 0.04),
    "score_metrics": (3, 1.3),
    "write_atlas": (2, 0.12),
    "render_report": (9, 0.3),
    "export_seurat": (3, 0.2),
    "export_cellxgene": (3, 0.2),
    "export_zarr": (3, 0.2),
}
# What leidenalg adds for each 1,000 cells.
LEIDENALG = {"cluster_cells": 2.0}
# Rules whose jobs share the cells; a job of the others looks at all.
SHARED = ("load_counts", "filter_cells", "denoise_shard")
# Of each job, beside what it measures: Snakemake and the start of Python. With it the guess for the
# demo is about the 1.5 min that it took on idle cores.
AROUND = 2.0
# The network of the preset `fast`, and 1,000 cells by Gibbs (docs/benchmarks/samplers.tsv).
TRAINING, GIBBS = 60.0, 180.0


@dataclass(frozen=True)
class Pace:
    """Settings that make jobs take much longer than at the defaults.

    Attributes
    ----------
    preset : of the prior that is trained; "" where a saved one is used.
    gibbs : whether cells are denoised by Gibbs.
    """

    preset: str
    gibbs: bool

    @classmethod
    def from_config(cls, prior: Mapping[str, Any], denoise: Mapping[str, Any]) -> "Pace":
        """From the sections `prior` and `denoise` of the config."""
        gibbs = denoise["method"] == "gibbs" or denoise["likelihood"] != "gaussian"
        return cls("" if prior["path"] else prior["preset"], gibbs)


@dataclass(frozen=True)
class Planned:
    """A job of a run.

    Attributes
    ----------
    rule : its name.
    benchmark : where an earlier run has noted what it took; may be missing.
    needs : positions of the jobs that must be done before, in the list of all.
    """

    rule: str
    benchmark: str | None
    needs: Sequence[int] = ()


def seconds_noted(path: str | Path | None) -> float | None:
    """Seconds that a job took when it ran before, from its benchmark file; None: not known."""
    try:
        head, values = Path(path or "").read_text().splitlines()[:2]
        return float(dict(zip(head.split("\t"), values.split("\t"), strict=True))["cpu_time"])
    except (OSError, ValueError, KeyError):
        return None


def unknown_rules(jobs: Iterable[Planned], pace: Pace) -> list[str]:
    """Rules of which nothing is known: of no table, and without an earlier run."""
    known = SECONDS.keys() - ({"train_prior"} if pace.preset == "paper" else set())
    found = [j.rule for j in jobs if j.rule not in known and seconds_noted(j.benchmark) is None]
    return list(dict.fromkeys(found))


def seconds_of(job: Planned, n_alike: int, cells: int, pace: Pace) -> float:
    """CPU seconds of a job: those that it took before, where it did; 0 where nothing is known.

    Parameters
    ----------
    n_alike : jobs of its rule.
    cells : of all samples.
    """
    noted = seconds_noted(job.benchmark)
    if noted is not None:
        return noted
    start, rate = SECONDS.get(job.rule, (0.0, 0.0))
    own = cells / n_alike if job.rule in SHARED else cells
    if job.rule == "train_prior" and pace.preset == "fast":
        start += TRAINING
    if job.rule == "denoise_shard" and pace.gibbs:
        rate = GIBBS
    if leiden_package("auto", round(own)) != FAST:
        rate += LEIDENALG.get(job.rule, 0.0)
    return start + rate * own / 1000


def guess_minutes(jobs: Sequence[Planned], cells: int, cores: int | None, pace: Pace) -> float:
    """Minutes of a run: all work over the cores, or the longest chain of jobs if that is more.

    Parameters
    ----------
    jobs : in any order.
    cells : of all samples.
    cores : None: as many as are asked for (a cluster).
    """
    alike = {rule: sum(job.rule == rule for job in jobs) for rule in {j.rule for j in jobs}}
    own = [AROUND + seconds_of(job, alike[job.rule], cells, pace) for job in jobs]
    ends: dict[int, float] = {}

    def end(i: int) -> float:
        if i not in ends:
            ends[i] = own[i] + max(map(end, jobs[i].needs), default=0.0)
        return ends[i]

    longest = max(map(end, range(len(jobs))), default=0.0)
    return max(longest, sum(own) / cores if cores else 0.0) / 60


def in_words(minutes: float) -> str:
    """A guess as people say it: no more digits than it is worth."""
    if minutes < 1:
        return "under a minute"
    if minutes < 90:
        return f"about {minutes:.0f} min"
    return f"about {minutes / 60:.0f} h"
