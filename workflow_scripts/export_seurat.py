"""export_seurat: the atlas as a folder of text files, with a script that makes a Seurat object."""

from dice_atlas.export.seurat import write_seurat
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given = snakemake.input
        write_seurat(given.atlas, given.script, snakemake.output.folder)
        log.info("%s", snakemake.output.folder)
