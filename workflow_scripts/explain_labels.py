"""explain_labels: the genes behind each label, and how the clusters agree with the labels."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from dice_atlas.cells import require_same_cells
from dice_atlas.features.projection import load_space
from dice_atlas.tables import read_by_space, read_text_table
from dice_atlas.transfer.explain import cluster_agreement, label_genes


def explain(
    denoised: ad.AnnData, loadings: str | Path, calls: list[str], clusters: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """label_genes.tsv and cluster_labels.tsv."""
    require_same_cells(clusters["cell"], denoised.obs_names, "clusters.tsv.gz and denoised.h5ad")
    cells = denoised.obs[["role", "label"]].astype(str)
    labelled = ((cells["role"] == "reference") & (cells["label"] != "")).to_numpy()
    space = load_space(loadings)
    genes = label_genes(
        np.asarray(denoised.obsm["X_dice"], dtype=float)[labelled],
        cells["label"].to_numpy(dtype=str)[labelled],
        space.loadings,
        space.genes,
    )
    of_cell = pd.Series(clusters["cluster"].to_numpy(), index=clusters["cell"])
    return genes, cluster_agreement(cells, read_by_space(calls), of_cell)


if __name__ == "__main__":
    from dice_atlas.files import write_table
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]):
        genes, agreement = explain(
            ad.read_h5ad(snakemake.input.denoised),
            snakemake.input.loadings,
            list(snakemake.input.calls),
            read_text_table(snakemake.input.clusters),
        )
        write_table(genes, snakemake.output.genes)
        write_table(agreement, snakemake.output.clusters)
