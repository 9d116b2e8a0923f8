"""export_cellxgene: the atlas as CELLxGENE's schema wants it."""

from dice_atlas.export.cellxgene import write_cellxgene
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        write_cellxgene(snakemake.input.atlas, snakemake.output.atlas, snakemake.params.title)
        log.info("%s", snakemake.output.atlas)
