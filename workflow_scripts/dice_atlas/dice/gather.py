"""The shards' posteriors put together; without torch."""

from collections.abc import Sequence

import anndata as ad


def gather(parts: Sequence[ad.AnnData], cells: Sequence[str]) -> ad.AnnData:
    """Put the shards together.

    Parameters
    ----------
    parts : denoised.h5ad of each shard; uns is that of the first.
    cells : names of all cells, in the order of the result.

    Raises
    ------
    ValueError
        The number of cells differs, or a cell stands twice.
    """
    whole = ad.concat(parts, merge="same", uns_merge="first", index_unique=None)
    if whole.n_obs != len(cells) or not whole.obs_names.is_unique:
        raise ValueError(f"the shards hold {whole.n_obs} cells, the latents {len(cells)}")
    return whole[list(cells)].copy()
