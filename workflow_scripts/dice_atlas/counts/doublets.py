"""Doublet scores of one sample by Scrublet, as scanpy has it."""

import logging
from typing import NamedTuple

import anndata as ad
import numpy as np

from dice_atlas.numerics.compiled import keep_compiled

logger = logging.getLogger(__name__)

# Fewer do not show the two modes that the threshold is set between: of 50 cells of pbmc3k Scrublet
# calls 30-66 %, of 75 11-44 %, of 100 2-38 %, of 150 0-9 % (test_doublets.py).
MIN_CELLS = 150
# No capture has so many doublets (Scrublet expects 5 %): the threshold is a wrong one.
MOST_CALLED = 0.25
EXACT_BELOW = 30_000  # cells; above, neighbours are approximate
N_PCS = 30


class Doublets(NamedTuple):
    """Scrublet's scores (cells; NaN = none), calls (cells, bool) and threshold (NaN = none)."""

    scores: np.ndarray
    predicted: np.ndarray
    threshold: float


def score_doublets(counts: ad.AnnData, seed: int, sample: str) -> Doublets:
    """Scrublet's scores and calls.

    Parameters
    ----------
    counts : raw counts of the cells that passed the other limits, cells x genes.
    seed : of the simulated doublets and the PCA.
    sample : its name, for messages.

    Notes
    -----
    A sample that is too small or too uniform, or whose scores show no threshold, gets NaN
    everywhere and a line in the log: doublet calls are an aid, not a reason to stop. One of which
    the threshold would call more than `MOST_CALLED` keeps its scores and gets no calls.
    Source: Wolock et al. 2019, doi:10.1016/j.cels.2018.11.005.
    """
    none = np.zeros(counts.n_obs, dtype=bool)
    nothing = Doublets(np.full(counts.n_obs, np.nan), none, np.nan)
    if counts.n_obs < MIN_CELLS:
        logger.warning(
            "%s: no doublet scores: %d cells, Scrublet needs %d", sample, counts.n_obs, MIN_CELLS
        )
        return nothing
    scored = ad.AnnData(counts.X.astype(np.float32))
    keep_compiled()
    # Not every job that imports this module needs it: it takes two seconds to load.
    import scanpy as sc

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
    threshold = float(scored.uns["scrublet"]["threshold"])
    if predicted.mean() > MOST_CALLED:
        logger.warning(
            "%s: no doublet calls: Scrublet's threshold %.3g would call %.0f %% of %d cells, more "
            "than any capture has",
            sample, threshold, 100 * predicted.mean(), counts.n_obs,
        )  # fmt: skip
        return Doublets(scores, none, np.nan)
    logger.info(
        "%s: %d of %d cells are predicted doublets (score above %.3g)",
        sample, predicted.sum(), counts.n_obs, threshold,
    )  # fmt: skip
    return Doublets(scores, predicted, threshold)
