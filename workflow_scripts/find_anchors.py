"""find_anchors: Seurat's anchors between reference and query, in one space, and calibration."""

from dice_atlas.features.card import read_card
from dice_atlas.files import write_h5ad, write_table
from dice_atlas.logs import job_log
from dice_atlas.transfer.dataset import read_cells
from dice_atlas.transfer.search import dice_space, expression_space, find
from dice_atlas.transfer.settings import AnchorSettings, ReductionSettings, WeightSettings

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, made, annotate = snakemake.input, snakemake.output, snakemake.params.annotate
        samples = [*given.samples, *given.synthetic]
        cells, settings = read_cells(samples), AnchorSettings.from_config(annotate)
        log.info("space %s, %s", snakemake.wildcards.space, cells["role"].value_counts().to_dict())
        if snakemake.wildcards.space == "pca":
            reduction = ReductionSettings.from_config(annotate)
            space = expression_space(
                given.samples, reduction, snakemake.params.seed, given.synthetic
            )
        else:
            embeddings = [given.embedding, *given.synthetic_embedding]
            space = dice_space(
                samples, embeddings, given.loadings, cells.index, settings.max_features
            )
        weighing = WeightSettings.from_config(annotate)
        listed = read_card(given.prior[0])["calibration"] if given.prior else None
        anchors, weights, calibration = find(
            space, cells, settings, weighing, listed, snakemake.params.one_of_several
        )
        write_table(anchors, made.anchors)
        write_h5ad(weights, made.weights)
        write_table(calibration, made.calibration)
