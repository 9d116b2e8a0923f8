"""Marker lists on labelled cells: how right their labels are, and what they say without reason.

    python tests/benchmarks/markers.py --data DIR [--folder DIR] [--draws 60]

Each set is clustered by the workflow itself, as a query without a reference. At each resolution the
list of config/examples/markers_pbmc.csv labels the clusters through the rule's own functions. Then
random genes stand in place of those of the list: uniformly drawn ones, and ones of about the same
mean rank. Then one type at a time is missing from the list. Clusters of an earlier run in --folder
are taken as they are. Writes docs/benchmarks/markers.tsv, markers_null.tsv and markers_missing.tsv.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from dice_atlas.marker_lists.calls import NO_LIST, SEVERAL, called, weigh_all
from dice_atlas.marker_lists.evidence import similar_genes
from dice_atlas.marker_lists.genes import found_genes, gene_table
from dice_atlas.marker_lists.lists import read_marker_list
from dice_atlas.marker_lists.ranks import MOST_RANKS, Scored, common_genes, score_cells
from dice_atlas.names import UNASSIGNED
from runs import ROOT, run_workflow

OUT = ROOT / "docs/benchmarks"
LIST = ROOT / "config/examples/markers_pbmc.csv"
B, CD4, CD8, NK = ("B cell",), ("CD4+ T cell",), ("CD8+ T cell",), ("NK cell",)
CD14, CD16, PROGENITOR = ("CD14+ monocyte",), ("CD16+ monocyte",), ("hematopoietic precursor cell",)
DC = ("dendritic cell", "plasmacytoid dendritic cell")
# Column of the truth, and the types of the list that are right for each of its labels. Cells of
# other labels ("unlabelled") are not judged.
SETS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "pbmc3k": ("cell_type", {
        "Naive CD4 T": CD4, "Memory CD4 T": CD4, "CD8 T": CD8, "NK": NK, "B": B,
        "CD14+ Mono": CD14, "FCGR3A+ Mono": CD16, "DC": DC, "Platelet": ("megakaryocyte",),
    }),
    "pbmc4k": ("cell_type", {
        "T_CD4": CD4, "T_CD8": CD8, "NK": NK, "B": B, "MNP": CD14 + CD16 + DC,
    }),
    "zheng_facs_pbmc": ("cell_type_fine", {
        "CD19+ B": B, "CD34+": PROGENITOR, "CD56+ NK": NK, "CD8+ Cytotoxic T": CD8,
        "CD8+/CD45RA+ Naive Cytotoxic": CD8, "CD4+ T Helper2": CD4, "CD4+/CD45RO+ Memory": CD4,
        "CD4+/CD25 T Reg": CD4, "CD4+/CD45RA+/CD25- Naive T": CD4, "CD14+ Monocyte": CD14,
    }),
}  # fmt: skip
Signs = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Labelled:
    """A set: its samples, clusters by resolution, the chosen one, and right types of each cell."""

    name: str
    samples: list[Path]
    partitions: dict[str, np.ndarray]
    chosen: str
    right: np.ndarray
    genes: pd.Index
    signs: Signs

    def scored(self, resolution: str) -> Scored:
        """Mean ranks of the clusters of a resolution."""
        nothing = np.zeros((len(self.genes), 0))
        codes, most = self.partitions[resolution], min(MOST_RANKS, len(self.genes))
        return score_cells(self.samples, self.genes, codes, nothing, most)


def read_set(name: str, data: Path, folder: Path) -> Labelled:
    """Cluster a set by the workflow, or read what it made before."""
    target, counts = folder / name / "results" / name, data / name / f"{name}.h5ad"
    if not (target / "clusters/clusters.tsv.gz").exists():
        (folder / name).mkdir(parents=True, exist_ok=True)
        rows = f"sample,path,role,batch\n{name},{counts},query,one\n"
        wanted = f"results/{name}/clusters/clusters.tsv.gz"
        run_workflow(folder / name, rows, {"atlas": name}, 2, "--", wanted)
    table = pd.read_csv(target / "clusters/clusters.tsv.gz", sep="\t", dtype=str)
    resolutions = pd.read_csv(target / "clusters/resolutions.tsv", sep="\t")
    chosen = resolutions.loc[resolutions["chosen"], "resolution"].iloc[0]
    key, types = SETS[name]
    obs = ad.read_h5ad(counts, backed="r").obs
    truth = obs[key].astype(str).set_axis([f"{name}_{cell}" for cell in obs.index])
    right = truth.reindex(table["cell"]).map(lambda label: types.get(label, ()))
    samples = [target / f"samples/{name}/filtered.h5ad"]
    var = common_genes(samples)
    return Labelled(
        name, samples,
        {f"{r:g}": table[f"leiden_{r:g}"].astype(int).to_numpy()
         for r in resolutions["resolution"]},
        f"{chosen:g}", right.to_numpy(), var.index,
        found_genes(gene_table(read_marker_list(LIST), var), str(LIST)),
    )  # fmt: skip


def calls_of(scored: Scored, signs: Signs, genes: pd.Index) -> pd.DataFrame:
    """Label and rule of each cluster."""
    found = weigh_all(scored, signs, genes, 0)
    rows = [called(k, found, genes) for k in range(len(scored.means))]
    return pd.DataFrame(rows, columns=["label", "rule", "types", "q", "carried_by"])


def label_rows(data: Labelled) -> Iterator[dict]:
    """How right the labels are at each resolution."""
    judged = np.array([len(types) > 0 for types in data.right])
    for resolution, codes in data.partitions.items():
        calls = calls_of(data.scored(resolution), data.signs, data.genes)
        label = calls["label"].to_numpy()[codes][judged]
        right = np.array([a in b for a, b in zip(label, data.right[judged], strict=True)])
        best = pd.crosstab(codes[judged], [str(types) for types in data.right[judged]])
        given = label != UNASSIGNED
        yield {
            "set": data.name, "resolution": resolution, "chosen": resolution == data.chosen,
            "cells": int(judged.sum()), "clusters": len(calls), "assigned": given.mean(),
            "accuracy": right.mean(), "accuracy_assigned": right[given].mean(),
            # Each cluster called by the truth of most of its cells: no label of clusters is better.
            "best_possible": best.max(axis=1).sum() / judged.sum(),
            "clusters_without": int((calls["rule"] == NO_LIST).sum()),
            "clusters_several": int((calls["rule"] == SEVERAL).sum()),
        }  # fmt: skip


def random_list(signs: Signs, level: np.ndarray, genes: pd.Index, how: str, rng) -> Signs:
    """A list of random genes, as many of each sign for each type."""
    drawn = {}
    for name, own in signs.items():
        rows = genes.get_indexer(list(own))
        if how == "any":
            picked = rng.choice(np.flatnonzero(level > 0), len(rows), replace=False)
        else:
            similar = similar_genes(level, rows)
            picked = np.array([rng.choice(row) for row in similar])
        drawn[name] = dict(zip(genes[picked], own.values(), strict=True))
    return drawn


def null_rows(data: Labelled, draws: int) -> Iterator[dict]:
    """Share of the clusters that random lists label."""
    finest = list(data.partitions)[-1]
    for resolution in dict.fromkeys((data.chosen, "0.6", finest)):
        scored = data.scored(resolution)
        level = scored.means.mean(axis=0)
        for how in ("any", "same level"):
            rng = np.random.default_rng(1)
            found = [
                calls_of(scored, random_list(data.signs, level, data.genes, how, rng), data.genes)
                for _ in range(draws)
            ]
            whole = pd.concat(found)
            yield {
                "set": data.name, "resolution": resolution, "genes": how, "lists": draws,
                "clusters": len(found[0]), "labelled": (whole["label"] != UNASSIGNED).mean(),
                "significant": (whole["rule"] != NO_LIST).mean(),
            }  # fmt: skip


def missing_rows(data: Labelled) -> Iterator[dict]:
    """What the clusters of a type are called if the list lacks it."""
    resolution = "0.6"
    codes, scored = data.partitions[resolution], data.scored(resolution)
    for types in dict.fromkeys(filter(None, data.right)):
        own = np.array([its == types for its in data.right])
        mostly = pd.Series(own).groupby(codes).mean() > 0.5
        clusters = mostly.index[mostly]
        if not len(clusters):
            continue
        signs = {name: genes for name, genes in data.signs.items() if name not in types}
        calls = calls_of(scored, signs, data.genes)
        cells = pd.Series(codes)[own & np.isin(codes, clusters)]
        label = calls["label"].to_numpy()[cells]
        counts = pd.Series(label[label != UNASSIGNED]).value_counts()
        yield {
            "set": data.name, "type": "|".join(types), "clusters": len(clusters),
            "cells": len(cells),
            "unassigned": (label == UNASSIGNED).mean(),
            "called": counts.index[0] if len(counts) else "",
            "called_share": counts.iloc[0] / len(cells) if len(counts) else 0.0,
        }  # fmt: skip


def main() -> None:
    """Measure all sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--draws", type=int, default=60)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    folder = given.folder or Path(tempfile.mkdtemp())
    tables: dict[str, list[dict]] = {"markers": [], "markers_missing": [], "markers_null": []}
    for name in SETS:
        data = read_set(name, given.data, folder)
        tables["markers"] += label_rows(data)
        tables["markers_missing"] += missing_rows(data)
        tables["markers_null"] += null_rows(data, given.draws)
        print(name, flush=True)
    for name, rows in tables.items():
        table = pd.DataFrame(rows)
        table.to_csv(OUT / f"{name}.tsv", sep="\t", index=False, float_format="%.4g")
        print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
