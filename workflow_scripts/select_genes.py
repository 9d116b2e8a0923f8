"""select_genes: the genes of the feature space, by the Seurat v3 criterion over the batches."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from dice_atlas.features.selection import (
    choose_genes,
    common_genes,
    read_gene_names,
    saved_genes,
    stream_groups,
)


def select_genes(
    paths: Sequence[str | Path],
    n_top: int,
    mode: str,
    min_cells: int,
    batch_keys: Sequence[str],
    card: str | Path | None = None,
) -> pd.DataFrame:
    """Table of the genes common to all samples (features/genes.tsv), best first."""
    names, gene_ids = read_gene_names(paths)
    genes = common_genes(names)
    saved = None if card is None else saved_genes(card, genes)
    groups = stream_groups(paths, genes, batch_keys)
    table = choose_genes(genes, groups, n_top, mode, min_cells, saved)
    table.insert(1, "gene_id", table["gene"].map(gene_ids).fillna("").astype(str))
    return table


if __name__ == "__main__":
    from dice_atlas.files import write_table
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]) as log:
        settings = snakemake.params.genes
        prior = list(snakemake.input.prior)
        table = select_genes(
            snakemake.input.samples,
            settings["n_top"],
            settings["mode"],
            snakemake.params.min_cells,
            snakemake.params.batch_keys,
            next((path for path in prior if path.endswith("card.json")), None),
        )
        log.info(
            "%d genes are in all samples, %d are selected", len(table), table["selected"].sum()
        )
        write_table(table, snakemake.output.genes)
