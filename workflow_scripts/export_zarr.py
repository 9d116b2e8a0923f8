"""export_zarr: the atlas as a zarr store."""

from dice_atlas.export.store import write_zarr
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        write_zarr(snakemake.input.atlas, snakemake.output.store)
        log.info("%s", snakemake.output.store)
