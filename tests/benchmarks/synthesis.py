"""Scores of synthetic cells on labelled data sets, beside the control and simple generators.

    python tests/benchmarks/synthesis.py DATA [--sets ...] [--seeds 0 1 2] [--rows ...]

DATA is a folder of labelled raw counts, <set>/<set>.h5ad with the classes in obs. 80 % of each
class train, 20 % judge (`scoring.fidelity`). Each finished row is appended to
docs/synthesis/scores.tsv at once, so that a run that was stopped goes on where it ended.
"""

import argparse
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from dice_atlas.features.variable_genes import variable_genes
from dice_atlas.scoring.fidelity import as_cells, copies, replaced
from dice_atlas.scoring.synthesis import SynthesisScorer
from dice_atlas.synthesis.baselines import BASELINES
from dice_atlas.synthesis.count_model import train_count_model
from dice_atlas.synthesis.saved import class_codes
from dice_atlas.synthesis.settings import CellRequest, ModelSettings
from dice_atlas.synthesis.training_cells import CountTable, drop_rare_genes, with_rest

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "synthesis" / "scores.tsv"
# Where `make scvi` was run; without it the row is left out.
SCVI, SCVI_PYTHON = "scvi", ROOT / ".venv-scvi" / "bin" / "python"
N_VARIABLE = 2000
SETS = {
    "zheng_facs_pbmc": "cell_type",
    "pbmc3k": "cell_type",
    "kang_ctrl_8donors": "cell_type",
    "worm_neuron": "cell_type",
    "pbmc3k_800": "cell_type",
}
UNLABELLED = ("unlabelled", "nan", "")
# Rows of the table that are generators of the product: settings, and whether they see labels.
ROWS = {
    "mixed": (ModelSettings(prior="mixed"), True),
    "gaussian": (ModelSettings(prior="gaussian"), True),
    "diffusion": (ModelSettings(prior="diffusion"), True),
    "posterior": (ModelSettings(prior="posterior"), True),
    "without labels": (ModelSettings(prior="diffusion"), False),
    "all genes": (ModelSettings(prior="mixed", genes="all"), True),
}


def read(folder: Path, name: str) -> CountTable:
    """All genes and labelled cells of a data set."""
    whole, _, number = name.rpartition("_")
    if not number.isdigit():
        whole, number = name, ""
    data = ad.read_h5ad(folder / whole / f"{whole}.h5ad")
    if number:
        chosen = np.random.default_rng(0).permutation(data.n_obs)[: int(number)]
        data = data[np.sort(chosen)].copy()
    labels = data.obs[SETS[name]].astype(str).to_numpy(object)
    kept = ~np.isin(labels, UNLABELLED)
    counts = sp.csr_matrix(data.X)[kept].astype(np.float32)
    n_cells, n_genes = counts.shape
    whole = with_rest(counts, np.arange(n_genes), n_genes)
    keys = np.array([f"{name}{i}" for i in range(n_cells)], dtype=object)
    genes = data.var_names.to_numpy(object)
    return CountTable(whole, genes, np.ones(n_genes, dtype=bool), labels[kept], keys)


def split(table: CountTable, seed: int) -> tuple[CountTable, CountTable]:
    """Training and held-out cells, 80 and 20 % of each class, at random by the seed.

    Variable genes are those of the training cells.
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(table.labels), dtype=bool)
    for label in np.unique(table.labels.astype(str)):
        own = rng.permutation(np.flatnonzero(table.labels == label))
        held[own[: max(1, round(0.2 * len(own)))]] = True
    training = table.rows(~held)
    chosen, _ = variable_genes(training.counts[:, :-1].tocsr(), N_VARIABLE)
    variable = np.isin(np.arange(len(table.genes)), chosen)
    found = CountTable(table.counts, table.genes, variable, table.labels, table.keys)
    # Rare genes are those of the training cells, too.
    kept = drop_rare_genes(found.rows(~held))
    columns = pd.Index(kept.genes).get_indexer(table.genes)
    counts = with_rest(table.counts, np.append(columns, -1), len(kept.genes))
    whole = CountTable(counts, kept.genes, kept.variable, table.labels, table.keys)
    return whole.rows(~held), whole.rows(held)


def unlabelled(table: CountTable) -> CountTable:
    """The same cells without classes."""
    none = np.full(len(table.labels), "", dtype=object)
    return CountTable(table.counts, table.genes, table.variable, none, table.keys)


def children() -> float:
    """CPU seconds of the processes that this one waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def scvi_cells(training: CountTable, numbers: dict[str, int], seed: int) -> CountTable:
    """Training cells drawn again from scVI's posterior predictive, in its own environment."""
    rng = np.random.default_rng(seed)
    chosen = np.concatenate(
        [rng.choice(np.flatnonzero(training.labels == name), n) for name, n in numbers.items()]
    )
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary) / "training.h5ad", Path(temporary) / "drawn.h5ad"
        ad.AnnData(training.counts, uns={"chosen": chosen}).write_h5ad(source)
        script = Path(__file__).with_name("scvi_cells.py")
        subprocess.run([SCVI_PYTHON, script, source, target, "--seed", str(seed)], check=True)
        counts = ad.read_h5ad(target).X
    return replaced(training, sp.csr_matrix(counts), training.labels[chosen])


def made_cells(
    row: str, training: CountTable, held_out: CountTable, seed: int
) -> tuple[CountTable, dict[str, float]]:
    """The cells of one row, and CPU seconds of training and of making them."""
    numbers = pd.Series(held_out.labels).value_counts().sort_index().to_dict()
    start, spent = time.process_time(), children()
    if row in BASELINES:
        counts, labels = BASELINES[row](training.counts, training.labels, numbers, seed)
        made = replaced(training, sp.csr_matrix(counts), labels)
        return made, {"train_seconds": 0.0, "make_seconds": time.process_time() - start}
    if row == SCVI:
        made = scvi_cells(training, numbers, seed)
        return made, {"train_seconds": children() - spent, "make_seconds": 0.0}
    settings, labelled = ROWS[row]
    source = training if labelled else unlabelled(training)
    _, codes = class_codes(source.labels)
    model = train_count_model(source, codes, settings, seed, "cpu")
    trained = time.process_time() - start
    wanted = np.repeat(np.arange(len(numbers)), list(numbers.values()))
    asked = wanted if labelled else np.zeros_like(wanted)
    counts = model.sample(asked, np.arange(len(wanted)), seed, CellRequest(len(wanted)))
    names = np.array(list(numbers), dtype=object)[wanted]
    made = replaced(source, counts, names if labelled else np.full(len(wanted), "", dtype=object))
    seconds = {"train_seconds": trained, "make_seconds": time.process_time() - start - trained}
    return made, seconds


def main() -> None:
    """Score what is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    rows = [*BASELINES, *ROWS, *([SCVI] if SCVI_PYTHON.exists() else [])]
    parser.add_argument("--rows", nargs="+", default=rows)
    given = parser.parse_args()
    torch.set_num_threads(1)
    known = pd.read_csv(OUT, sep="\t") if OUT.exists() else pd.DataFrame(columns=["set"])
    for name in given.sets:
        table = read(given.data, name)
        for seed in given.seeds:
            training, held_out = split(table, seed)
            small = training.variable_only(), held_out.variable_only()
            scorer = None
            for row in given.rows:
                if len(known) and ((known["set"] == name) & (known["seed"] == seed)
                                   & (known["row"] == row)).any():  # fmt: skip
                    continue
                if scorer is None:
                    scorer = SynthesisScorer(
                        *(as_cells(t, np.arange(len(t.genes))) for t in small), seed
                    )
                parts = (training, held_out) if row == "all genes" else small
                made, values = made_cells(row, *parts, seed)
                scores = scorer.score(as_cells(made, np.flatnonzero(made.variable)))
                values |= dict(zip(scores["metric"], scores["value"], strict=True))
                values |= {"copies": copies(made, parts[0]), "held_out": len(held_out.labels)}
                frame = pd.DataFrame(
                    {"set": name, "seed": seed, "row": row, "metric": list(values),
                     "value": list(values.values())}
                )  # fmt: skip
                OUT.parent.mkdir(parents=True, exist_ok=True)
                frame.to_csv(OUT, sep="\t", index=False, float_format="%.6g", mode="a",
                             header=not OUT.exists())  # fmt: skip
                print(name, seed, row, values.get("rf_auc_pc"), flush=True)


if __name__ == "__main__":
    main()
