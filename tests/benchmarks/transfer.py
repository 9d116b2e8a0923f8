"""Label transfer: beside Seurat, its prediction sets, types that the reference lacks, its speed.

    python tests/benchmarks/transfer.py pairs --oracle DIR
    python tests/benchmarks/transfer.py sets --data DIR [--seeds 3]
    python tests/benchmarks/transfer.py speed --data DIR

pairs: accuracy and macro F1 of the stored outputs of Seurat 4.3.0 (DIR/<pair>) and of ours, in PCA
space and in the denoised one. sets: three quarters of the cells of each data set of held_out.py
are the reference, the others the query: coverage and size of the prediction sets, and, with one
type at a time left out of the reference, what becomes of its cells. speed: cells resampled and
thinned from zheng_facs_pbmc, ours and, where R has Seurat, the original (SEURAT_CELLS each).
Writes docs/benchmarks/transfer_<part>.tsv, and transfer_left_out.tsv.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp
import yaml
from dice_atlas.features.variable_genes import variable_genes
from dice_atlas.holdout import calibration_cells
from dice_atlas.metrics.classification import classification_scores
from dice_atlas.settings import (
    validate_config,
)
from dice_atlas.transfer.anchors import top_dim_features
from dice_atlas.transfer.calls import call, transfer
from dice_atlas.transfer.conformal import conformal_p_values
from dice_atlas.transfer.dataset import log_normalize
from dice_atlas.transfer.labels import predictions_table, transfer_labels
from dice_atlas.transfer.search import find
from dice_atlas.transfer.settings import AnchorSettings, CallSettings, WeightSettings
from dice_atlas.transfer.spaces import EmbeddingSpace, ExpressionSpace, Space
from held_out import SETS, denoise, project, read, split
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "oracle"))
from write_inputs import write_input  # noqa: E402

OUT = ROOT / "docs" / "benchmarks"
CONFIG = ROOT / "config" / "config.yaml"
SCHEMA = ROOT / "config" / "schemas" / "config.schema.json"
DEFAULTS = validate_config(yaml.safe_load(CONFIG.read_text()), SCHEMA)
ANNOTATE = DEFAULTS["annotate"]
# Reference, query, and what the original was asked for beside its defaults.
PAIRS = {
    "pbmc-3pv2-to-5p": ("pbmc_3pv2", "pbmc_5p", {}),
    "pbmc-3pv2-to-5p-hvg1000": ("pbmc_3pv2", "pbmc_5p", {"nfeatures": 1000}),
    "pbmc-3pv2-to-5p-cca": ("pbmc_3pv2", "pbmc_5p", {"reduction": "cca"}),
    "sc_celseq2-to-sc_dropseq": ("sc_celseq2", "sc_dropseq", {}),
    "worm-half": ("worm_ref", "worm_query", {}),
}
# Places among the types by size, of those that are left out: small ones say little.
LEFT_OUT = (0, 1, 3, 5)
# Cells of a label from which its own coverage is told.
MANY_CELLS = 40
SEURAT_CELLS = 10_000
# Seconds after which the original is stopped, reading and writing of its files included.
PATIENCE = 400


def spaces_of(
    data: ad.AnnData,
    reference: np.ndarray,
    seed: int,
    nfeatures: int = ANNOTATE["nfeatures"],
    reduction: str = "pcaproject",
    own_genes: bool = False,
) -> Iterator[tuple[str, Space, np.ndarray | None]]:
    """The spaces of labelled counts, with `dice_background` of all cells where they have it.

    `reference` is the mask of the reference cells; calibration cells are held out of the loadings
    and of the prior as in the workflow. In "dice", and in "pca, own genes" if it is asked for, they
    choose no genes either.
    """
    counts = sp.csr_matrix(data.X)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    order, _ = variable_genes(counts[reference], nfeatures)
    expression = log_normalize(counts[:, order], totals)
    yield "pca", ExpressionSpace(expression, reduction, seed=seed), None
    trained = trained_cells(data, reference)
    if own_genes:
        # What it owes to held-out cells that help to choose the genes, as they do in the workflow.
        order, _ = variable_genes(counts[trained], nfeatures)
        expression = log_normalize(counts[:, order], totals)
        yield "pca, own genes", ExpressionSpace(expression, reduction, seed=seed), None
    latents, space = project(data, ~trained, seed)
    denoised = denoise(latents, cells_of(data, reference), space, DEFAULTS, seed)
    best = space.genes[top_dim_features(space.loadings, ANNOTATE["max.features"])]
    expression = log_normalize(counts[:, data.var_names.get_indexer(best)], totals)
    embedding = np.asarray(denoised.obsm["X_dice"], dtype=np.float64)
    yield (
        "dice",
        EmbeddingSpace(embedding, expression),
        denoised.obs["dice_background"].to_numpy(dtype=float),
    )


def trained_cells(data: ad.AnnData, reference: np.ndarray) -> np.ndarray:
    """Which cells of the reference (mask) are not held out to calibrate."""
    rows, labels = np.flatnonzero(reference), data.obs["label"].to_numpy(dtype=str)
    trained = reference.copy()
    trained[rows[calibration_cells(data.obs_names[rows], labels[rows])]] = False
    return trained


def cells_of(data: ad.AnnData, reference: np.ndarray) -> pd.DataFrame:
    """`sample`, `role`, `label` and `cell_key` of all cells; no label of the query."""
    role, names = np.where(reference, "reference", "query"), data.obs_names
    label = np.where(reference, data.obs["label"], "")
    return pd.DataFrame(
        {"sample": role, "role": role, "label": label, "cell_key": names}, index=names
    )


def right_labels(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Accuracy and macro F1 of labels, over those of the truth."""
    scores = classification_scores(truth, found)
    return {name: scores[name].value for name in ("accuracy", "macro_f1")}


def calls_of(
    space: Space, data: ad.AnnData, reference: np.ndarray, outside_below: float | None = None
) -> pd.DataFrame:
    """calls.tsv.gz of the query cells, through the rules' own functions."""
    cells = cells_of(data, reference)
    weighing, called = WeightSettings.from_config(ANNOTATE), CallSettings.from_config(ANNOTATE)
    # Of one voter at a time, as in Seurat: annotation.py has the risk and the consensus.
    called = replace(called, unassigned_below=0.5)
    if outside_below is not None:
        called = replace(called, outside_below=outside_below)
    anchors, weights, calibration = find(
        space, cells, AnchorSettings.from_config(ANNOTATE), weighing
    )
    predictions = predictions_table(weights.obs_names, transfer(anchors, weights, weighing))
    tables = []
    for coverage in (0.8, 0.9, 0.95):
        own = call(predictions, calibration, replace(called, coverage=coverage))
        tables.append(own.assign(coverage=coverage))
    return pd.concat(tables)


def pairs(options: argparse.Namespace) -> dict[str, pd.DataFrame]:
    """Accuracy and macro F1 of each pair."""
    rows = []
    for name, (*_, asked) in PAIRS.items():
        data, reference = read_pair(options.oracle, name)
        truth = data.obs["label"].to_numpy(dtype=str)[~reference]
        stored = json.loads((options.oracle / name / "metrics.json").read_text())
        rows.append(
            {"pair": name, "method": "Seurat 4.3.0", "accuracy": stored["accuracy"],
             "macro_f1": stored["macro_f1"]}
        )  # fmt: skip
        for space_name, space, _ in spaces_of(data, reference, 0, **asked):
            calls = calls_of(space, data, reference)
            own = calls[calls["coverage"] == 0.9]
            found = own["predicted"].to_numpy(dtype=str)
            given = own["prediction_set"].str.split("|")
            rows.append(
                {"pair": name, "method": f"ours, space {space_name}",
                 **right_labels(truth, found),
                 "coverage": np.mean([t in labels for t, labels in zip(truth, given, strict=True)]),
                 **flagged("p_below_{}", own["p_reference"].to_numpy())}
            )  # fmt: skip
            if asked:
                break  # the denoised space has neither
        print(pd.DataFrame(rows[-3:]).round(4).to_string(index=False), flush=True)
    return {"pairs": pd.DataFrame(rows)}


def read_pair(oracle: Path, pair: str) -> tuple[ad.AnnData, np.ndarray]:
    """Labelled counts of a pair of the oracle, and which cells are the reference."""
    parts = dict(zip(("reference", "query"), PAIRS[pair][:2], strict=True))
    both = {role: read_mtx(oracle / "inputs" / part) for role, part in parts.items()}
    data = ad.concat(both, label="role", index_unique="-")
    return data, (data.obs["role"] == "reference").to_numpy()


def read_mtx(folder: Path) -> ad.AnnData:
    """Labelled counts of an input of the oracle."""
    genes, cells = (
        pd.read_csv(folder / f"{name}.tsv.gz", header=None, sep="\t", dtype=str)[0].tolist()
        for name in ("features", "barcodes")
    )
    labels = pd.read_csv(folder / "labels.csv", index_col=0)["label"].loc[cells].to_numpy()
    counts = sp.csr_matrix(scipy.io.mmread(folder / "matrix.mtx.gz").T)
    return ad.AnnData(
        counts, obs=pd.DataFrame({"label": labels}, index=cells), var=pd.DataFrame(index=genes)
    )


def sets(options: argparse.Namespace) -> dict[str, pd.DataFrame]:
    """Coverage and size of the sets; labels and p values of types that the reference lacks."""
    covered, lacking = [], []
    for seed in range(options.seeds):
        for name in SETS:
            data = read(options.data / name / f"{name}.h5ad", *SETS[name])
            labels = data.obs["label"].to_numpy(dtype=str)
            query = split(labels, seed)
            covered += coverage_rows(name, seed, data, query)
            print(pd.DataFrame(covered[-6:]).round(3).to_string(index=False), flush=True)
            common = pd.Series(labels[query]).value_counts().index
            for place in LEFT_OUT[: len(common)] if seed == 0 else ():
                lacking += left_out_rows(name, data, query, common[place])
                print(pd.DataFrame(lacking[-2:]).round(3).to_string(index=False), flush=True)
    return {"sets": pd.DataFrame(covered), "left_out": pd.DataFrame(lacking)}


def coverage_rows(name: str, seed: int, data: ad.AnnData, query: np.ndarray) -> Iterator[dict]:
    """Of both spaces, at three coverages."""
    truth = data.obs["label"].to_numpy(dtype=str)[query]
    for space_name, space, _ in spaces_of(data, ~query, seed, own_genes=True):
        calls = calls_of(space, data, ~query)
        for coverage, own in calls.groupby("coverage"):
            given = [set(text.split("|")) - {""} for text in own["prediction_set"]]
            held = np.array([t in found for t, found in zip(truth, given, strict=True)])
            by_label = pd.Series(held).groupby(truth).agg(["mean", "size"])
            large = by_label.loc[by_label["size"] >= MANY_CELLS, "mean"]
            yield {
                "data": name, "seed": seed, "space": space_name, "asked": coverage,
                "coverage": held.mean(), "least_of_a_label": large.min(),
                "mean_distance": (large - coverage).abs().mean(),
                "set_size": np.mean([len(found) for found in given]),
                "accuracy": (own["predicted"].to_numpy(dtype=str) == truth).mean(),
                **flagged("p_below_{}", own["p_reference"].to_numpy()),
            }  # fmt: skip


def flagged(name: str, p_values: np.ndarray) -> dict[str, float]:
    """Share of the cells with a small p value."""
    return {name.format(level): (p_values < level).mean() for level in (0.01, 0.05)}


def left_out_rows(name: str, data: ad.AnnData, query: np.ndarray, label: str) -> Iterator[dict]:
    """What becomes of the query cells of a type that the reference lacks, and of the others."""
    kept = query | (data.obs["label"] != label).to_numpy()
    data, query = data[kept].copy(), query[kept]
    new = (data.obs["label"] == label).to_numpy()[query]
    for space_name, space, background in spaces_of(data, ~query, 0):
        own = calls_of(space, data, ~query, outside_below=0.0).query("coverage == 0.9")
        low = own["cell_type"].to_numpy() == "unassigned"
        p_values = own["p_reference"].to_numpy()
        either = low | (p_values < ANNOTATE["outside_below"])
        yield {
            "data": name, "space": space_name, "left_out": label, "cells": new.sum(),
            "unassigned": either[new].mean(), "unassigned_others": either[~new].mean(),
            "low_score": low[new].mean(), "low_score_others": low[~new].mean(),
            **flagged("p_below_{}", p_values[new]), **flagged("p_below_{}_others", p_values[~new]),
            "auroc": np.nan if np.isnan(p_values).any() else roc_auc_score(new, -p_values),
            **({} if background is None else told_by_background(data, query, new, background)),
        }  # fmt: skip


def told_by_background(
    data: ad.AnnData, query: np.ndarray, new: np.ndarray, background: np.ndarray
) -> dict[str, float]:
    """How well `dice_background` tells the cells of the left-out type, calibrated as p values."""
    names, labels = data.obs_names[~query], data.obs["label"].to_numpy(dtype=str)[~query]
    held = background[~query][calibration_cells(names, labels)]
    p_values = conformal_p_values(held, background[query])
    return {
        "background_auroc": roc_auc_score(new, background[query]),
        **flagged("background_p_below_{}", p_values[new]),
        **flagged("background_p_below_{}_others", p_values[~new]),
    }


def resampled(source: ad.AnnData, n: int, seed: int) -> ad.AnnData:
    """Cells drawn with replacement, each count kept with a probability of its cell's (0.6 to 1)."""
    rng = np.random.default_rng(seed)
    drawn = source[rng.integers(source.n_obs, size=n)]
    counts = sp.csr_matrix(drawn.X).astype(np.int64)
    share = np.repeat(rng.uniform(0.6, 1.0, n), np.diff(counts.indptr))
    counts.data = rng.binomial(counts.data, share)
    counts.eliminate_zeros()
    names = [f"cell{seed}-{i}" for i in range(n)]
    obs = pd.DataFrame({"label": drawn.obs["label"].to_numpy(dtype=str)}, index=names)
    return ad.AnnData(counts, obs=obs, var=source.var[[]])


def speed(options: argparse.Namespace) -> dict[str, pd.DataFrame]:
    """Seconds of anchors and transfer, the filter on; peak memory of a process of its own."""
    rows = []
    exact = [(n, ANNOTATE["exact_up_to"]) for n in (5_000, 10_000, 20_000, 40_000, 80_000)]
    for n, exact_up_to in [*exact, (80_000, 50_000)]:
        command = [sys.executable, __file__, "one", "--data", options.data, "--cells", n,
                   "--exact-up-to", exact_up_to]  # fmt: skip
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    seurat = shutil.which("Rscript") and subprocess.run(
        ["Rscript", "-e", "library(Seurat)"], capture_output=True, check=False
    )
    if seurat and seurat.returncode == 0:
        for k_filter in ("NA", "200"):
            rows.append(seurat_speed(options.data, k_filter))
            print(rows[-1], flush=True)
    return {"speed": pd.DataFrame(rows)}


def zheng(data: Path) -> ad.AnnData:
    return read(data / "zheng_facs_pbmc" / "zheng_facs_pbmc.h5ad", *SETS["zheng_facs_pbmc"])


def one_speed(options: argparse.Namespace) -> None:
    """Print the figures of one size as JSON."""
    source, n = zheng(options.data), options.cells
    reference, query = resampled(source, n, 1), resampled(source, n, 2)
    order, _ = variable_genes(reference.X, ANNOTATE["nfeatures"])
    both = [sp.csr_matrix(part.X) for part in (reference, query)]
    expression = sp.vstack(
        [log_normalize(c[:, order], np.asarray(c.sum(axis=1)).ravel()) for c in both], format="csr"
    )
    space, rows = ExpressionSpace(expression), np.arange(n)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    annotate = ANNOTATE | {"exact_up_to": options.exact_up_to}
    anchors, embedding = space.anchors(rows, rows + n, AnchorSettings.from_config(annotate))
    found = time.perf_counter()
    weights = WeightSettings.from_config(annotate)
    result = transfer_labels(anchors, embedding, reference.obs["label"], weights)
    done = time.perf_counter()
    predicted = np.array(result.labels)[result.scores.argmax(axis=1)]
    method = "ours" if n <= options.exact_up_to else "ours, approximate neighbours"
    print(json.dumps({
        "method": method, "cells": n,
         "anchors_s": found - start, "transfer_s": done - found,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "input_mb": before,
        "accuracy": float((predicted == query.obs["label"].to_numpy()).mean()),
    }))  # fmt: skip


def seurat_speed(data: Path, k_filter: str) -> dict:
    """The original on the same cells; stopped after `PATIENCE` seconds."""
    row = {"method": f"Seurat 4.3.0, k.filter {k_filter}", "cells": SEURAT_CELLS}
    source = zheng(data)
    with tempfile.TemporaryDirectory() as folder:
        for name, seed in (("reference", 1), ("query", 2)):
            drawn = resampled(source, SEURAT_CELLS, seed)
            write_input(Path(folder) / name, drawn, drawn.obs["label"].to_numpy())
        script = ROOT / "tests" / "oracle" / "seurat_transfer.R"
        arguments = [f"{folder}/reference", f"{folder}/query", f"{folder}/out", "2000", k_filter,
                     "pcaproject", "annoy"]  # fmt: skip
        command = ["timeout", str(PATIENCE), "Rscript", str(script), *arguments]
        # A process of its own, whose children are this one run: their peak is the run's.
        peak = (
            "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]).returncode; "
            "print(done, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
        )
        done = subprocess.run(
            [sys.executable, "-c", peak, *command], capture_output=True, text=True, check=True
        )
        status, megabytes = done.stdout.split()[-2:]
        row["peak_mb"] = float(megabytes)
        if status == "124":
            return row | {"note": f"not finished after {PATIENCE} s"}
        found = json.loads((Path(folder) / "out" / "metrics.json").read_text())
    return row | {
        "anchors_s": found["anchors_seconds"], "transfer_s": found["transfer_seconds"],
        "accuracy": found["accuracy"],
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["pairs", "sets", "speed", "one"])
    parser.add_argument("--oracle", type=Path, help="folder of <pair>/metrics.json and inputs/")
    parser.add_argument("--data", type=Path, help="folder of <name>/<name>.h5ad")
    parser.add_argument("--exact-up-to", type=int, default=ANNOTATE["exact_up_to"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", type=int, default=SEURAT_CELLS)
    options = parser.parse_args()
    if options.part == "one":
        one_speed(options)
    else:
        OUT.mkdir(parents=True, exist_ok=True)
        made = {"pairs": pairs, "sets": sets, "speed": speed}[options.part](options)
        for name, table in made.items():
            path = OUT / f"transfer_{name}.tsv"
            table.to_csv(path, sep="\t", index=False, float_format="%.5g")
