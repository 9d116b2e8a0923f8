"""How deep to sequence: labels of synthetic cells that come back at each depth (docs/synthesis.md).

    python tests/benchmarks/depth.py DATA [--set pbmc3k] [--depths 1 0.5 ...]

One generator is trained on the whole set. Half of its cells at depth 1 are the reference. The other
half, drawn at each depth, are the query. Writes docs/synthesis/depth.tsv.
"""

import argparse
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from runs import ROOT, run_workflow

OUT = ROOT / "docs" / "synthesis" / "depth.tsv"
CELLS = 4_000
# Shallow cells are what is measured: a limit on genes would hide them.
QC = {"doublets": "off", "min_genes": 1}


def cells_at(folder: Path, sheet: str, depth: float, saved: str | None) -> ad.AnnData:
    """Cells of the generator at a depth, which is trained unless it is saved."""
    config = {
        "atlas": f"depth{depth:g}",
        "synthesis": {"cells": CELLS, "test_share": 0, "depth": depth, "path": saved},
    }
    run_workflow(folder, sheet, config, 2, "synthesis")
    cells = ad.read_h5ad(folder / f"results/depth{depth:g}/synthesis/synthetic.h5ad")
    cells.obs["truth"] = cells.obs.pop("cell_type").astype(str)
    return cells


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", default="pbmc3k")
    parser.add_argument("--depths", nargs="+", type=float, default=[1, 0.5, 0.25, 0.1, 0.05, 0.02])
    given = parser.parse_args()
    source = (given.data / given.set / f"{given.set}.h5ad").resolve()
    sheet = f"sample,path,role,batch,labels\nref,{source},reference,A,cell_type\n"
    known = "sample,path,role,batch,labels,truth\n"
    known += "known,ref.h5ad,reference,A,truth,\nquery,query.h5ad,query,A,,truth\n"
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        whole = cells_at(folder, sheet, 1, None)
        reference = np.arange(whole.n_obs) % 2 == 0
        whole[reference].copy().write_h5ad(folder / "ref.h5ad")
        for depth in given.depths:
            saved = "results/depth1/synthesis"
            made = whole if depth == 1 else cells_at(folder, sheet, depth, saved)
            query = made[~reference].copy()
            query.write_h5ad(folder / "query.h5ad")
            config = {"atlas": f"known{depth:g}", "qc": QC}
            run_workflow(folder, known, config, 2, f"results/known{depth:g}/metrics.tsv")
            metrics = pd.read_csv(folder / f"results/known{depth:g}/metrics.tsv", sep="\t")
            totals = np.asarray(query.X.sum(axis=1)).ravel()
            for space in ("pca", "dice"):
                own = metrics[(metrics["embedding"] == space) & (metrics["cells"] == "query")]
                values = own.set_index("metric")["value"]
                rows.append(
                    {"set": given.set, "depth": depth, "median_counts": float(np.median(totals)),
                     "space": space, "accuracy": values["accuracy_top"],
                     "macro_f1": values["macro_f1"]}
                )  # fmt: skip
            print(rows[-2:], flush=True)
            pd.DataFrame(rows).to_csv(OUT, sep="\t", index=False)


if __name__ == "__main__":
    main()
