"""The shards' posteriors put together; without torch."""

from collections.abc import Sequence

import anndata as ad

from dice_atlas.errors import InputError


def gather(parts: Sequence[ad.AnnData], cells: Sequence[str]) -> ad.AnnData:
    """Put the shards together.

    Parameters
    ----------
    parts : denoised.h5ad of each shard; uns is that of the first.
    cells : names of all cells, in the order of the result.

    Raises
    ------
    InputError
        A cell is missing or stands twice, or there is one more.
    """
    whole = ad.concat(parts, merge="same", uns_merge="first", index_unique=None)
    if sorted(whole.obs_names) != sorted(cells):
        other = sorted(set(whole.obs_names) ^ set(cells))[:3] or ["a cell stands twice"]
        raise InputError(
            f"the shards hold {whole.n_obs} cells and the latents {len(cells)}, not the same: "
            f"{', '.join(other)}; remove denoise/ and start again"
        )
    return whole[list(cells)].copy()
