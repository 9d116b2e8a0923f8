"""select_genes: the genes of the feature space, by the Seurat v3 criterion over the batches."""

from dice_atlas.features.selection import select_genes
from dice_atlas.files import write_table
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, params = snakemake.input, snakemake.params
        card = next((path for path in given.prior if path.endswith("card.json")), None)
        genes, least = params.genes, params.min_cells
        table = select_genes(
            given.samples, genes["n_top"], genes["mode"], least, params.batch_keys, card
        )
        log.info("%d genes are in all samples, %d selected", len(table), table["selected"].sum())
        write_table(table, snakemake.output.genes)
