"""Doublet scores of one sample by Scrublet, as scanpy has it."""

import logging

import anndata as ad
import numpy as np
import scanpy as sc

logger = logging.getLogger(__name__)

MIN_CELLS = 50  # fewer do not show the two modes that the threshold is set between
EXACT_BELOW = 30_000  # cells; above, neighbours are approximate
N_PCS = 30


def score_doublets(counts: ad.AnnData, seed: int, sample: str) -> tuple[np.ndarray, np.ndarray]:
    """Scrublet's scores and calls.

    Parameters
    ----------
    counts : raw counts of the cells that passed the other limits, cells x genes.
    seed : of the simulated doublets and the PCA.
    sample : its name, for messages.

    Returns
    -------
    scores : cells; NaN where no score can be given.
    predicted : cells, boolean; False where there is no score.

    Notes
    -----
    A sample that is too small or too uniform, or whose scores show no threshold, gets NaN
    everywhere and a line in the log: doublet calls are an aid, not a reason to stop.
    Source: Wolock et al. 2019, doi:10.1016/j.cels.2018.11.005.
    """
    nothing = np.full(counts.n_obs, np.nan), np.zeros(counts.n_obs, dtype=bool)
    if counts.n_obs < MIN_CELLS:
        logger.warning(
            "%s: no doublet scores: %d cells, Scrublet needs %d", sample, counts.n_obs, MIN_CELLS
        )
        return nothing
    scored = ad.AnnData(counts.X.astype(np.float32))
    try:
        # Approximate neighbours need not repeat from machine to machine; None lets scanpy choose.
        sc.pp.scrublet(
            scored,
            n_prin_comps=N_PCS,
            use_approx_neighbors=False if counts.n_obs < EXACT_BELOW else None,
            random_state=seed,
            verbose=False,
        )
    except (ValueError, ZeroDivisionError, IndexError) as error:
        # Too few variable genes for the PCA, or none: Scrublet says so in many ways.
        logger.warning("%s: no doublet scores: Scrublet failed: %s", sample, error)
        return nothing
    if "threshold" not in scored.uns["scrublet"]:
        logger.warning("%s: no doublet scores: Scrublet found no threshold", sample)
        return nothing
    scores = scored.obs["doublet_score"].to_numpy(dtype=np.float64, na_value=np.nan)
    predicted = scored.obs["predicted_doublet"].eq(True).to_numpy(dtype=bool)
    logger.info(
        "%s: %d of %d cells are predicted doublets (score above %.3g)",
        sample,
        predicted.sum(),
        counts.n_obs,
        scored.uns["scrublet"]["threshold"],
    )
    return scores, predicted
