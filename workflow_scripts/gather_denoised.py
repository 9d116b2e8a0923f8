"""gather_denoised: the shards' posteriors in the order of the atlas."""

from collections.abc import Sequence

import anndata as ad


def gather(parts: Sequence[ad.AnnData], cells: Sequence[str]) -> ad.AnnData:
    """Put the shards together, in the order of `cells`; raises if a cell is missing."""
    whole = ad.concat(parts, merge="same", uns_merge="first", index_unique=None)
    if whole.n_obs != len(cells) or not whole.obs_names.is_unique:
        raise ValueError(f"the shards hold {whole.n_obs} cells, the latents {len(cells)}")
    return whole[list(cells)].copy()


if __name__ == "__main__":
    from dice_atlas.files import atomic_path
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]):
        latents = ad.read_h5ad(snakemake.input.latents, backed="r")
        parts = [ad.read_h5ad(path) for path in snakemake.input.shards]
        with atomic_path(snakemake.output.denoised) as path:
            gather(parts, latents.obs_names).write_h5ad(path, compression="lzf")
