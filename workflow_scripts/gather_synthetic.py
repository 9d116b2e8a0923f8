"""gather_synthetic: all synthetic cells in one file."""

from dice_atlas.files import write_h5ad
from dice_atlas.logs import job_log
from dice_atlas.synthesis.settings import CellRequest
from dice_atlas.synthesis.synthetic import gather_synthetic

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, params = snakemake.input, snakemake.params
        whole = gather_synthetic(given.shards, given.card, CellRequest.from_config(params.request))
        write_h5ad(whole, snakemake.output.synthetic, compression="gzip")
