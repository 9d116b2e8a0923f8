"""synthesize_cells: one shard of the synthetic cells."""

from dice_atlas.dice.device import pick_device
from dice_atlas.files import write_h5ad
from dice_atlas.logs import job_log
from dice_atlas.synthesis.saved import load_generator
from dice_atlas.synthesis.settings import CellRequest
from dice_atlas.synthesis.synthetic import synthesize_shard

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        params = snakemake.params
        shard, of = map(int, snakemake.wildcards.scatteritem.split("-of-"))
        device = pick_device(params.device, snakemake.threads)
        generator = load_generator(snakemake.input.model, device)
        request = CellRequest.from_config(params.request)
        part = synthesize_shard(generator, request, params.seed, (shard, of))
        write_h5ad(part, snakemake.output.shard, compression="gzip")
