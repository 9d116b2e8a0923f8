"""Comparison of conditions on donors who differ in none, and with changes of known size.

    python tests/benchmarks/conditions.py DATA {null,planted,predicted} [--splits 35]

DATA has kang_ctrl_8donors/ and pbmc4k/: eight donors without a treatment, and another study whose
labels are transferred to them. The donors are split into four and four, in all 35 ways at most.
null: nothing is planted, labels are the authors'. planted: in each split, 100 genes of one type are
doubled in the second group (the counts of the first are thinned by a half), and half of the cells
of another type are removed from the second. predicted: the same with labels from pbmc4k, for each
of the three weightings. Everything goes through the functions of the rules. Writes
docs/benchmarks/conditions_<part>.tsv; splits of a file that is there are not measured again.
"""

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from annotation import tables_of
from dice_atlas.conditions.design import Comparison, comparisons
from dice_atlas.conditions.pseudobulk import as_table, cell_weights, groups_of
from dice_atlas.conditions.results import genes_of_type, shares_of
from dice_atlas.conditions.settings import LABEL, WEIGHTINGS, CompareSettings
from dice_atlas.names import SCORE, UNASSIGNED
from dice_atlas.transfer.calls import call
from dice_atlas.transfer.settings import CallSettings
from transfer import ANNOTATE, OUT

SETTINGS = CompareSettings("group", "donor", (), "query", "a", 10, 0.05)
GENES = 100
# Types in which something is planted, in turn; the next one loses cells.
PLANTED = ("CD4 T cells", "CD14+ Monocytes", "B cells", "CD8 T cells", "NK cells")
# Types of the donors' authors by those of pbmc4k.
COMMON = {
    "CD4 T cells": "CD4 T", "CD8 T cells": "CD8 T", "NK cells": "NK", "B cells": "B",
    "CD14+ Monocytes": "Mono/DC", "FCGR3A+ Monocytes": "Mono/DC", "Dendritic cells": "Mono/DC",
}  # fmt: skip


@dataclass(frozen=True)
class Labelled:
    """Cells with what the weightings need: `donor`, `truth`, and labels by someone."""

    counts: sp.csr_matrix
    cells: pd.DataFrame
    scores: np.ndarray
    names: list[str]
    genes: pd.Index


def true_labels(folder: Path) -> Labelled:
    """The donors' cells with the labels of their authors."""
    data = ad.read_h5ad(folder / "kang_ctrl_8donors/kang_ctrl_8donors.h5ad")
    truth = data.obs["cell_type"].astype(str)
    cells = pd.DataFrame(
        {"donor": data.obs["batch"].astype(str), "truth": truth, "cell_type": truth,
         "cell_type_set": truth, "cell_type_score": np.nan}
    )  # fmt: skip
    counts = sp.csr_matrix(data.X)
    return Labelled(counts, cells, np.empty((len(cells), 0)), [], data.var_names)


def predicted_labels(folder: Path) -> Labelled:
    """The same cells with labels, sets and scores of the consensus, from pbmc4k."""
    own = true_labels(folder)
    reference = ad.read_h5ad(folder / "pbmc4k/pbmc4k.h5ad")
    reference.var_names_make_unique()
    labels = pd.read_csv(folder / "pbmc4k/labels_common5.csv", dtype=str)
    known = labels.set_index("barcode")["label"].reindex(reference.obs_names.astype(str))
    reference = reference[known.notna().to_numpy()]
    shared = own.genes[own.genes.isin(reference.var_names)]
    both = ad.AnnData(
        sp.vstack(
            [reference[:, shared].X, own.counts[:, own.genes.get_indexer(shared)]], format="csr"
        ).astype(np.float32),
        obs=pd.DataFrame(
            {"label": [*known.dropna(), *own.cells["truth"].map(COMMON).fillna("other")]},
            index=[*("r_" + reference.obs_names), *("q_" + own.cells.index)],
        ),
        var=pd.DataFrame(index=shared),
    )
    tables, _ = tables_of(both, np.arange(both.n_obs) < reference.n_obs, 0)
    predictions, calibration = tables["consensus"]
    calls = call(predictions, calibration, CallSettings.from_config(ANNOTATE))
    columns = [name for name in predictions if name.startswith(SCORE)]
    # What is planted is planted in types that the labels know.
    cells = own.cells.assign(
        truth=own.cells["truth"].map(COMMON).fillna("other"),
        cell_type=calls["cell_type"].to_numpy(),
        cell_type_set=calls["prediction_set"].to_numpy(),
        cell_type_score=calls["score"].to_numpy(),
    )
    assigned = cells["cell_type"] != UNASSIGNED
    right = cells["cell_type"] == cells["truth"]
    sure = cells["cell_type"] == cells["cell_type_set"]
    print(
        f"assigned {assigned.mean():.3f}, right of these {right[assigned].mean():.3f}, certain "
        f"{sure[assigned].mean():.3f}, right of these {right[sure].mean():.3f}"
    )
    names = [name.removeprefix(SCORE) for name in columns]
    return Labelled(own.counts, cells, predictions[columns].to_numpy(), names, own.genes)


def splits(donors: list[str]) -> list[list[str]]:
    """The second halves, in a random order; the first donor is in the first half."""
    halves = [list(half) for half in itertools.combinations(donors[1:], len(donors) // 2)]
    order = np.random.default_rng(0).permutation(len(halves))
    return [halves[i] for i in order]


def plant(
    data: Labelled, second: np.ndarray, changed: str, fewer: str, rng: np.random.Generator
) -> tuple[Labelled, pd.Index, np.ndarray]:
    """The cells after the changes; the genes that were doubled; the cells that are left (mask)."""
    of_type = (data.cells["truth"] == changed).to_numpy()
    units = pd.factorize(data.cells["donor"])[0]
    group = sp.csr_matrix((np.ones(of_type.sum()), (units[of_type], np.flatnonzero(of_type))))
    often = np.flatnonzero(((group @ data.counts[: group.shape[1]]).toarray() >= 10).all(axis=0))
    chosen = rng.choice(often, GENES, replace=False)
    counts = data.counts.tocoo()
    thin = (of_type & ~second)[counts.row] & np.isin(counts.col, chosen)
    values = counts.data.copy()
    values[thin] = rng.binomial(values[thin], 0.5)
    lost = (data.cells["truth"] == fewer).to_numpy() & second & (rng.uniform(size=len(units)) < 0.5)
    thinned = sp.csr_matrix((values, (counts.row, counts.col)), counts.shape)[~lost]
    left = Labelled(
        thinned, data.cells[~lost], data.scores[~lost], data.names, data.genes
    )  # fmt: skip
    return left, data.genes[chosen], ~lost


def summed(data: Labelled, half: list[str]) -> ad.AnnData:
    """Pseudobulk sums of the donors, those of the second half in group b."""
    cells, donors = data.cells, sorted(set(data.cells["donor"]))
    used = (cells["cell_type"] != UNASSIGNED).to_numpy()
    units = pd.DataFrame(
        {"replicate": donors, "condition": np.where(np.isin(donors, half), "b", "a")},
        index=pd.Index(donors, name="unit"),
    )
    types = sorted({*data.names, *cells["cell_type"][used]})
    weights = cell_weights(cells[used], data.scores[used], data.names, types)
    unit = units.index.get_indexer(cells["donor"][used])
    groups = {name: groups_of(of, unit, len(units)) for name, of in weights.items()}
    sums = {name: of @ data.counts[used] for name, of in groups.items()}
    numbers = {name: of.sum(axis=1) for name, of in groups.items()}
    return as_table(units, types, data.genes, sums, numbers)


def pair_of(sums: ad.AnnData) -> Comparison:
    """The one comparison."""
    units = sums.obs.drop_duplicates("unit").set_index("unit")[["replicate", "condition"]]
    (pair,) = comparisons(units.astype(str), SETTINGS)
    return pair


def gene_rows(
    sums: ad.AnnData, types: list[str], weightings: tuple[str, ...], planted: dict[str, pd.Index]
) -> Iterator[dict]:
    """What is found in each type; of `planted` genes by type."""
    pair = pair_of(sums)
    for cell_type in types:
        own = sums[sums.obs["cell_type"] == cell_type].copy()
        own.obs_names = own.obs["unit"].astype(str)
        for name in weightings:
            about, table = genes_of_type(own, pair, name, SETTINGS, 1)
            found = table["p_adjusted"] < SETTINGS.fdr
            genes = planted.get(cell_type, pd.Index([]))
            here = table["log2_fold_change"].reindex(genes).dropna()
            yield {
                "kind": "genes", "cell_type": cell_type, "weighting": name,
                "tested": about["genes"], "findings": int(found.sum()),
                "planted": len(genes), "found": int(found.reindex(genes, fill_value=False).sum()),
                "false": int(found.drop(genes, errors="ignore").sum()),
                "estimate": here.median(), "truth": 1.0 if len(genes) else 0.0,
                "error": (here - 1).abs().median(), "reason": about["reason"],
            }  # fmt: skip


def share_rows(
    sums: ad.AnnData, weightings: tuple[str, ...], truth: pd.Series, fewer: str
) -> Iterator[dict]:
    """The change of each type's share, and the one that was planted."""
    pair = pair_of(sums)
    for name in weightings:
        table, _ = shares_of(sums, pair, name, SETTINGS)
        for row in table.itertuples():
            yield {
                "kind": "share", "cell_type": row.Index, "weighting": name, "tested": 1,
                "findings": int(row.p_adjusted < SETTINGS.fdr),
                "planted": int(row.Index == fewer), "estimate": row.log2_odds_ratio,
                "truth": truth.get(row.Index, 0.0), "low": row.interval_low,
                "high": row.interval_high, "p_value": row.p_value,
            }  # fmt: skip


def true_shift(before: pd.DataFrame, after: pd.DataFrame, half: list[str]) -> pd.Series:
    """Mean change of the log2 odds of each true type, over the donors of the second group."""
    odds = []
    for cells in (before, after):
        numbers = pd.crosstab(cells["donor"], cells["truth"]).loc[half]
        odds.append(np.log2(numbers.div(numbers.sum(axis=1).to_numpy()[:, None] - numbers)))
    return (odds[1] - odds[0]).mean()


def measure(data: Labelled, part: str, number: int, half: list[str]) -> Iterator[dict]:
    """Rows of one split."""
    if part == "null":
        sums = summed(data, half)
        yield from share_rows(sums, (LABEL,), pd.Series(dtype=float), "")
        yield from gene_rows(sums, list(dict.fromkeys(sums.obs["cell_type"])), (LABEL,), {})
        return
    second = data.cells["donor"].isin(half).to_numpy()
    predicted = part == "predicted"
    types = [COMMON[name] if predicted else name for name in PLANTED]
    changed, fewer = (types[(number + i) % len(types)] for i in (0, 1))
    left, genes, kept = plant(data, second, changed, fewer, np.random.default_rng(number))
    shift = true_shift(data.cells, data.cells[kept], half)
    sums = summed(left, half)
    weightings = WEIGHTINGS if predicted else (LABEL,)
    yield from share_rows(sums, weightings, shift, fewer)
    tested = list(dict.fromkeys(sums.obs["cell_type"])) if predicted else [changed]
    yield from gene_rows(sums, tested, weightings, {changed: genes})


def main() -> None:
    """Measure the splits that the part's table lacks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("part", choices=["null", "planted", "predicted"])
    parser.add_argument("--splits", type=int, default=35)
    asked = parser.parse_args()
    path = OUT / f"conditions_{asked.part}.tsv"
    rows = pd.read_csv(path, sep="\t").to_dict("records") if path.exists() else []
    data = (predicted_labels if asked.part == "predicted" else true_labels)(asked.data)
    for number, half in enumerate(splits(sorted(set(data.cells["donor"])))[: asked.splits]):
        if any(row["split"] == number for row in rows):
            continue
        found = measure(data, asked.part, number, half)
        rows += [{"split": number, "second": "|".join(half), **row} for row in found]
        pd.DataFrame(rows).to_csv(path, sep="\t", index=False, float_format="%.4g")
        print(asked.part, number, flush=True)


if __name__ == "__main__":
    main()
