"""The voters and their consensus on labelled data: accuracy, risk, types that the reference lacks.

    python tests/benchmarks/annotation.py SHEET [--seeds 5] [--sets SET ...] [--oracle DIR]

SHEET is a sample sheet with a column `set`, as that of the target `benchmark`
(config/benchmark/full.tsv). A set without a query has a quarter of each label held out; one with a
query has four fifths of each label drawn. Everything goes through the functions of the rules.
Writes docs/benchmarks/annotation.tsv (labels), annotation_shift.tsv (how far the query seems to lie
apart, and how much more often it is labelled wrongly than held-out cells with the same labels),
annotation_risk.tsv (share of wrong labels asked for and reached), annotation_sets.tsv (the
consensus' prediction sets, by how many cells of others a label may enter) and
annotation_left_out.tsv (one type at a time is left out of the reference, seed 0).
Rows of a file that is there are kept, and not measured again.
With the stored outputs of Seurat 4.3.0 in DIR (see transfer.py) also annotation_seurat.tsv: the
voters on the same cells, of the pairs that it was asked about with its defaults; always measured.
"""

import argparse
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from dice_atlas.benchmark.split import draw, gather
from dice_atlas.counts.sample import load_sample
from dice_atlas.features.variable_genes import variable_genes
from dice_atlas.metrics.calibration import expected_calibration_error
from dice_atlas.names import CONSENSUS, UNASSIGNED
from dice_atlas.sheet import read_sheet
from dice_atlas.transfer.calls import call, transfer
from dice_atlas.transfer.conformal import calibrate, prediction_sets
from dice_atlas.transfer.consensus import combine
from dice_atlas.transfer.dataset import log_normalize
from dice_atlas.transfer.labels import predictions_table
from dice_atlas.transfer.linear import vote
from dice_atlas.transfer.scores import score_names, scored_labels
from dice_atlas.transfer.search import find
from dice_atlas.transfer.settings import AnchorSettings, CallSettings, WeightSettings
from dice_atlas.transfer.shift import like_query, shift_table
from transfer import (
    ANNOTATE,
    LEFT_OUT,
    OUT,
    PAIRS,
    ROOT,
    cells_of,
    read_pair,
    right_labels,
    spaces_of,
)  # fmt: skip

RISKS = (0.05, 0.1, 0.2)
# Cells of other labels whose sets a label may enter, for each of its own.
MOST_OTHERS = (np.inf, 50, 20, 10, 5, 3)
# The rule of version 0.1.0.
FIXED = 0.5
MIN_GENES = 200
# Fewer reference cells cannot lose a type.
LEAST_REFERENCE = 500
Tables = dict[str, tuple[pd.DataFrame, pd.DataFrame]]
Rows = Iterator[dict[str, str | float]]


def read_sets(sheet: Path) -> Mapping[str, list[dict]]:
    """Rows of the sheet by set."""
    rows = read_sheet(sheet, ROOT / "config/schemas/samples.schema.json").values()
    sets: dict[str, list[dict]] = {}
    for row in rows:
        sets.setdefault(row["extra"]["set"], []).append(row)
    return sets


def read_cells(rows: list[dict]) -> ad.AnnData:
    """Labelled cells of a set."""
    least = [row["qc"].get("min_genes", MIN_GENES) for row in rows]
    return gather([load_sample(row) for row in rows], least)


def split(cells: ad.AnnData, seed: int) -> tuple[ad.AnnData, np.ndarray]:
    """The cells of a seed, and which of them are the reference."""
    rows, query = draw(cells.obs, seed)
    data = cells[rows].copy()
    data.X = sp.csr_matrix(data.X).astype(np.float32)
    return data, ~query


def tables_of(data: ad.AnnData, reference: np.ndarray, seed: int) -> tuple[Tables, dict]:
    """Predictions and calibration of each voter and of the consensus, and CPU seconds of each."""
    cells = cells_of(data, reference)
    weighing, settings = WeightSettings.from_config(ANNOTATE), AnchorSettings.from_config(ANNOTATE)
    found: Tables = {}
    seconds, start = {}, time.process_time()
    for voter, space, _ in spaces_of(data, reference, seed):
        anchors, weights, calibration = find(space, cells, settings, weighing)
        predictions = predictions_table(weights.obs_names, transfer(anchors, weights, weighing))
        found[voter] = (predictions, calibration)
        seconds[voter], start = time.process_time() - start, time.process_time()
    counts = sp.csr_matrix(data.X)
    order, _ = variable_genes(counts[reference], ANNOTATE["nfeatures"])
    expression = log_normalize(counts[:, order], np.asarray(counts.sum(axis=1)).ravel())
    found["linear"] = vote(expression, cells, None, seed)
    seconds["linear"], start = time.process_time() - start, time.process_time()
    both = [{name: found[name][i] for name in ANNOTATE["consensus"]} for i in (0, 1)]
    found["consensus"] = combine(*both)[:2]
    seconds["consensus"] = time.process_time() - start
    return found, seconds


def label_rows(tables: Tables, seconds: dict, truth: np.ndarray) -> Rows:
    """How good the labels of each voter are, with none unassigned, and by a fixed score."""
    called = CallSettings.from_config(ANNOTATE)
    for voter, (predictions, calibration) in tables.items():
        best = predictions["predicted"].to_numpy(dtype=str)
        right, score = best == truth, predictions["score"].to_numpy()
        calls = call(predictions, calibration, called)
        sets = [set(text.split("|")) - {""} for text in calls["prediction_set"]]
        yield {
            "voter": voter,
            "cells": len(truth),
            **right_labels(truth, best),
            "accuracy_fixed": (right & (score >= FIXED)).mean(),
            "accuracy_default": (calls["cell_type"] == truth).mean(),
            "unassigned_default": (calls["cell_type"] == UNASSIGNED).mean(),
            "calibration_error": expected_calibration_error(score, right).value,
            "set_coverage": np.mean([t in own for t, own in zip(truth, sets, strict=True)]),
            "set_size": np.mean([len(own) for own in sets]),
            "cpu_seconds": seconds[voter],
        }


def risk_rows(tables: Tables, truth: np.ndarray) -> Rows:
    """The share of wrong labels among those given, by the share that was asked for."""
    called = replace(CallSettings.from_config(ANNOTATE), outside_below=0.0)
    for voter, (predictions, calibration) in tables.items():
        for risk in RISKS:
            own = call(predictions, calibration, replace(called, risk=risk))
            given = (own["cell_type"] != UNASSIGNED).to_numpy()
            wrong = (own["cell_type"].to_numpy() != truth)[given]
            yield {"voter": voter, "risk": risk, "assigned": given.mean(),
                   "wrong": wrong.mean() if given.any() else np.nan}  # fmt: skip


def sets_rows(tables: Tables, truth: np.ndarray) -> Rows:
    """The consensus' prediction sets, by how many cells of others a label may enter."""
    predictions, calibration = tables[CONSENSUS]
    names, labels = score_names(predictions), scored_labels(predictions)
    held = calibration[calibration["role"] == "reference"]
    asked = calibration.loc[calibration["role"] == "query", names].to_numpy()
    coverage = CallSettings.from_config(ANNOTATE).coverage
    known = pd.Index(labels).get_indexer(truth)
    for most in MOST_OTHERS:
        found = calibrate(held["label"], held[names].to_numpy(), labels, coverage, most)
        sets = prediction_sets(asked, found.thresholds)
        holds = pd.Series(sets[np.arange(len(truth)), known] & (known >= 0))
        of_labels = holds.groupby(truth).mean()
        yield {"most_others": most, "coverage": holds.mean(), "size": sets.sum(axis=1).mean(),
               "coverage_of_labels": of_labels.mean(), "least_of_labels": of_labels.min(),
               "one_label": (sets.sum(axis=1) == 1).mean()}  # fmt: skip


def shift_rows(tables: Tables, truth: np.ndarray) -> Rows:
    """How far the query seems to lie apart, and the share of right labels that it lost."""
    calibration = tables[CONSENSUS][1]
    held = (calibration["role"] == "reference").to_numpy()
    label = calibration["predicted"].to_numpy(dtype=str)
    right = (label == calibration["label"].to_numpy(dtype=str))[held].astype(float)
    row = shift_table({name: own[1] for name, own in tables.items()}, CONSENSUS).iloc[0]
    lost = like_query(right, label[held], label[~held]) - (label[~held] == truth).mean()
    yield {**row.drop("sample"), "lost": lost}


def left_out_rows(data: ad.AnnData, reference: np.ndarray) -> Rows:
    """What becomes of the query cells of a type that the reference lacks, and of the others."""
    labels = data.obs["label"].to_numpy(dtype=str)
    common = pd.Series(labels[~reference]).value_counts().index
    shared = [name for name in common if (labels[reference] == name).any()]
    for place in LEFT_OUT[: max(len(shared) - 2, 0)]:
        kept = ~(reference & (labels == shared[place]))
        tables, _ = tables_of(data[kept].copy(), reference[kept], 0)
        new = labels[kept][~reference[kept]] == shared[place]
        for voter, (predictions, calibration) in tables.items():
            own = call(predictions, calibration, CallSettings.from_config(ANNOTATE))
            lost = (own["cell_type"] == UNASSIGNED).to_numpy()
            about = {"left_out": shared[place], "voter": voter, "cells": new.sum()}
            yield about | {
                "unassigned": lost[new].mean(),
                "unassigned_others": lost[~new].mean(),
            }


def seurat_rows(oracle: Path, pair: str) -> Rows:
    """Seurat's own labels and ours of one pair."""
    data, reference = read_pair(oracle, pair)
    truth = data.obs["label"].to_numpy(dtype=str)[~reference]
    stored = json.loads((oracle / pair / "metrics.json").read_text())
    yield {"voter": "Seurat 4.3.0", **{key: stored[key] for key in ("accuracy", "macro_f1")}}
    tables, seconds = tables_of(data, reference, 0)
    for row in label_rows(tables, seconds, truth):
        yield {key: row[key] for key in ("voter", "accuracy", "macro_f1")}


def append(name: str, rows: list[dict]) -> None:
    """Add rows to a table in docs/benchmarks."""
    path = OUT / f"{name}.tsv"
    before = [pd.read_csv(path, sep="\t")] if path.exists() else []
    whole = pd.concat([*before, pd.DataFrame(rows)])
    names = ("set", "pair", "seed", "voter", "risk", "left_out", "level", "most_others")
    keys = [key for key in names if key in whole]
    # A run that was stopped left rows of a seed that is measured again.
    whole = whole.drop_duplicates(keys, keep="last")
    whole.to_csv(path, sep="\t", index=False, float_format="%.5g")


def main() -> None:
    """Measure what no row is there of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--oracle", type=Path)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    for pair in [name for name, (*_, asked) in PAIRS.items() if given.oracle and not asked]:
        # Ours and the stored ones: there is one seed, and it takes seconds.
        append(
            "annotation_seurat", [{"pair": pair} | row for row in seurat_rows(given.oracle, pair)]
        )
    path = OUT / "annotation.tsv"
    known = pd.read_csv(path, sep="\t", dtype={"set": str}) if path.exists() else None
    done = set() if known is None else set(zip(known["set"], known["seed"], strict=True))
    for name, rows in read_sets(given.sheet).items():
        if given.sets and name not in given.sets:
            continue
        cells = None
        for seed in range(given.seeds):
            if (name, seed) in done:
                continue
            cells = read_cells(rows) if cells is None else cells
            data, reference = split(cells, seed)
            truth = data.obs["label"].to_numpy(dtype=str)[~reference]
            tables, seconds = tables_of(data, reference, seed)
            about = {"set": name, "seed": seed}
            append("annotation_shift", [about | row for row in shift_rows(tables, truth)])
            append("annotation_risk", [about | row for row in risk_rows(tables, truth)])
            append("annotation_sets", [about | row for row in sets_rows(tables, truth)])
            if seed == 0 and reference.sum() >= LEAST_REFERENCE:
                lacking = [about | row for row in left_out_rows(data, reference)]
                append("annotation_left_out", lacking)
            found = [about | row for row in label_rows(tables, seconds, truth)]
            append("annotation", found)
            table = pd.DataFrame(found)[["set", "seed", "voter", "accuracy", "macro_f1"]]
            print(table.round(3).to_string(index=False, header=False), flush=True)


if __name__ == "__main__":
    main()
