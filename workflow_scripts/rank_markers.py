"""rank_markers: genes that set each cluster apart from all other cells."""

if __name__ == "__main__":
    import anndata as ad
    from dice_atlas.cells import require_same_cells
    from dice_atlas.clustering.markers import rank_markers
    from dice_atlas.files import write_table
    from dice_atlas.logs import job_log
    from dice_atlas.tables import read_text_table

    with job_log(snakemake.log[0]) as log:
        normalized = ad.read_h5ad(snakemake.input.normalized)
        clusters = read_text_table(snakemake.input.clusters)
        pair = f"{snakemake.input.clusters} and {snakemake.input.normalized}"
        require_same_cells(clusters["cell"], normalized.obs_names, pair)
        markers = rank_markers(normalized, clusters["cluster"].to_numpy())
        log.info("%d rows for %d clusters", len(markers), markers["cluster"].nunique())
        write_table(markers, snakemake.output.markers)
