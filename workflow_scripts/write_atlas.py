"""write_atlas: counts, expression, embeddings, labels and provenance of all cells in one h5ad."""

from dice_atlas.atlas.assemble import StageFiles, assemble
from dice_atlas.atlas.columns import cells_table, doubtful_table
from dice_atlas.atlas.matrices import add_graph, write_atlas
from dice_atlas.atlas.provenance import provenance
from dice_atlas.atlas.settings import AtlasSettings
from dice_atlas.files import atomic_path, write_table
from dice_atlas.logs import job_log
from dice_atlas.tables import selected_names

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, params = snakemake.input, snakemake.params
        settings = AtlasSettings.from_config(params.config["config"])
        files = StageFiles.from_rule(given)
        obs, obsm, uns = assemble(files, params.config["samples"], settings)
        labels = uns.get("cell_type_scores_names")
        uns["dice_atlas"] |= provenance(
            params.config, given.samples, given.card, given.prior, given.denoised, labels
        )
        with atomic_path(snakemake.output.atlas) as path:
            genes = selected_names(given.genes)
            write_atlas(
                path, given.samples, obs, obsm, uns, genes, params.target_sum, settings.palette
            )
            add_graph(path, given.graph)
        write_table(cells_table(obs, obsm["X_umap"]), snakemake.output.cells)
        write_table(doubtful_table(obs), snakemake.output.doubtful)
        log.info("%d cells", len(obs))
