"""score_markers: cell types of clusters by lists of marker genes, without a reference."""

from dice_atlas.files import write_h5ad, write_table
from dice_atlas.logs import job_log
from dice_atlas.marker_lists.calls import annotate, cell_table
from dice_atlas.marker_lists.lists import read_marker_list
from dice_atlas.tables import read_text_table

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, made = snakemake.input, snakemake.output
        clusters = read_text_table(given.clusters)
        found = annotate(
            given.samples,
            clusters["cluster"].to_numpy(dtype=str),
            read_marker_list(given.lists),
            given.lists,
            snakemake.params.seed,
        )
        write_h5ad(cell_table(found, clusters), made.cells, compression="gzip")
        write_table(found.evidence, made.scores)
        write_table(found.calls, made.calls)
        write_table(found.genes, made.genes)
