"""Rare classes of a reference through the whole workflow, with synthetic cells and other remedies.

    python tests/benchmarks/augment.py DATA [--cases ...] [--numbers 10 20 50] [--seeds 0]

DATA is a folder of labelled raw counts, <set>/<set>.h5ad. 60 % of each class are the reference,
40 % the query. Of one class `n` reference cells are left. Labels are those of the workflow's own
rules; `cell_type` is compared before cells are unassigned. Each finished run is appended to
docs/synthesis/augment.tsv at once, so that a run that was stopped goes on where it ended.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from dice_atlas.names import SCORE
from dice_atlas.numerics.exact_neighbors import nearest
from dice_atlas.numerics.scaling import log1p_normalize
from runs import ROOT, run_workflow
from sklearn.metrics import f1_score

OUT = ROOT / "docs" / "synthesis" / "augment.tsv"
# Data set and the class of which few cells are left.
CASES = {
    "pbmc3k-NK": ("pbmc3k", "NK"),
    "pbmc3k-FCGR3A": ("pbmc3k", "FCGR3A+ Mono"),
    "zheng-CD14": ("zheng_facs_pbmc", "CD14+"),
    "zheng-NK": ("zheng_facs_pbmc", "NK cell"),
}
UNLABELLED = ("unlabelled", "nan", "")
# The limit that the docs advise, which other small classes of a set fall under as well.
BELOW, TARGET = 30, 60
NEIGHBORS = 5
Rows = Callable[[sp.csr_matrix, int, np.random.Generator], sp.csr_matrix]


def copies(cells: sp.csr_matrix, number: int, rng: np.random.Generator) -> sp.csr_matrix:
    """Oversampling: cells drawn again."""
    return cells[rng.integers(cells.shape[0], size=number)]


def smote(cells: sp.csr_matrix, number: int, rng: np.random.Generator) -> sp.csr_matrix:
    """Cells between a cell and one of its neighbours of the class (Chawla et al. 2002).

    Neighbours are those in log1p expression; the counts between two are rounded at random.
    """
    totals = np.asarray(cells.sum(axis=1), dtype=np.float64).ravel()
    points = log1p_normalize(cells, totals, 1e4).toarray()
    k = min(NEIGHBORS + 1, cells.shape[0])
    index, _ = nearest(points, points, k)
    one = rng.integers(cells.shape[0], size=number)
    other = index[one, rng.integers(1, k, size=number)]
    share = rng.random((number, 1))
    between = cells[one].toarray() * (1 - share) + cells[other].toarray() * share
    return sp.csr_matrix(np.floor(between + rng.random(between.shape)).astype(np.int32))


REMEDIES: dict[str, Rows | None] = {
    "none": None, "oversampling": copies, "SMOTE": smote, "synthetic cells": None
}  # fmt: skip


def write_cells(counts: sp.csr_matrix, genes: pd.Index, labels: np.ndarray, path: Path) -> None:
    """A count file with labels in obs."""
    names = [f"c{i}" for i in range(len(labels))]
    obs = pd.DataFrame({"cell_type": labels.astype(str)}, index=names)
    ad.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=genes)).write_h5ad(path)


def transfer_labels(folder: Path, below: int, seed: int) -> None:
    """Labels of query.h5ad from ref.h5ad of a folder, with synthetic cells below a number."""
    config = {
        "atlas": "run",
        "seed": seed,
        "augment": {"below": below, "target": TARGET},
        # Labels depend on the posterior's mean alone.
        "denoise": {"samples": 2, "shards": 1},
    }
    rows = "sample,path,role,batch,labels\nref,ref.h5ad,reference,A,cell_type\n"
    rows += "query,query.h5ad,query,A,\n"
    targets = [f"results/run/annotation/{space}/predictions.tsv.gz" for space in ("pca", "dice")]
    run_workflow(folder, rows, config, 2, *targets)


def scores(
    folder: Path, truth: np.ndarray, rare: str, sizes: dict[str, int]
) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Remedy ("" or class weights), space, and recall, precision and macro F1 of the labels.

    Class weights divide a label's scores by the label's reference cells.
    """
    for space in ("pca", "dice"):
        path = folder / "results" / "run" / "annotation" / space / "predictions.tsv.gz"
        table = pd.read_csv(path, sep="\t", keep_default_na=False).set_index("cell")
        own = truth[[int(name.removeprefix("query_c")) for name in table.index]]
        columns = [name for name in table if name.startswith(SCORE)]
        labels = np.array([name.removeprefix(SCORE) for name in columns])
        values = table[columns].to_numpy()
        weights = np.array([1 / sizes[label] for label in labels])
        for remedy, weighted in (("", values), ("class weights", values * weights)):
            told = labels[weighted.argmax(axis=1)]
            hit, called = own == rare, told == rare
            yield remedy, space, {
                "recall": float(called[hit].mean()),
                "precision": float(hit[called].mean()) if called.any() else np.nan,
                "macro_f1": float(f1_score(own, told, average="macro", labels=np.unique(own))),
            }  # fmt: skip


def run(data: Path, case: str, number: int, seed: int, remedy: str) -> Iterator[dict]:
    """Rows of the table of one run."""
    name, rare = CASES[case]
    cells = ad.read_h5ad(data / name / f"{name}.h5ad")
    cells = cells[~cells.obs["cell_type"].astype(str).isin(UNLABELLED).to_numpy()]
    labels, counts = cells.obs["cell_type"].astype(str).to_numpy(), sp.csr_matrix(cells.X)
    rng = np.random.default_rng(seed)
    query = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        query[own[: round(0.4 * len(own))]] = True
    few = rng.permutation(np.flatnonzero((labels == rare) & ~query))[:number]
    rows = np.concatenate([np.flatnonzero((labels != rare) & ~query), few])
    reference, known = counts[rows], labels[rows]
    sizes = dict(zip(*np.unique(known, return_counts=True), strict=True))
    make = REMEDIES[remedy]
    if make is not None:
        more = make(counts[few], TARGET - number, rng)
        reference = sp.vstack([reference, more], format="csr")
        known = np.append(known, [rare] * more.shape[0])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_cells(reference, cells.var_names, known, folder / "ref.h5ad")
        write_cells(counts[query], cells.var_names, labels[query], folder / "query.h5ad")
        transfer_labels(folder, max(BELOW, number + 1) if remedy == "synthetic cells" else 0, seed)
        about = {"case": case, "n": number, "seed": seed}
        for other, space, values in scores(folder, labels[query], rare, sizes):
            if not other or remedy == "none":
                yield {**about, "remedy": other or remedy, "space": space, **values}


def main() -> None:
    """Run what is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--numbers", nargs="+", type=int, default=[10, 20, 50])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    given = parser.parse_args()
    keys = ["case", "n", "seed", "remedy"]
    for seed, number, case, remedy in itertools.product(
        given.seeds, given.numbers, given.cases, REMEDIES
    ):
        known = pd.read_csv(OUT, sep="\t") if OUT.exists() else pd.DataFrame(columns=keys)
        if (known[keys] == [case, number, seed, remedy]).all(axis=1).any():
            continue
        rows = pd.DataFrame(run(given.data, case, number, seed, remedy))
        rows.to_csv(OUT, sep="\t", index=False, mode="a", header=not OUT.exists())
        print(rows.to_string(index=False, header=False), flush=True)


if __name__ == "__main__":
    main()
