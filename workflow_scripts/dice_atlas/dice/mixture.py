"""A Gaussian mixture of latents, from which the fast network starts."""

import logging
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

logger = logging.getLogger(__name__)

COMPONENTS = (1, 2, 3, 5, 8, 12, 18, 25)
# Added to the variances: a tenth of the noise of one gene, which is 1 in the latents' unit.
LEAST_VARIANCE = 0.1
MOST_DRAWS = 20_000
# A full covariance of fewer cells fits them and not the query.
CELLS_PER_COMPONENT = 100


def fit_mixture(
    latents: np.ndarray,
    held: np.ndarray,
    n_cells: int,
    n_held: int,
    seed: int,
    least_variance: float = LEAST_VARIANCE,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit a mixture by EM.

    The number of components rises as long as the held-out log-likelihood does by more than its
    standard error; it is 1 where nothing is held out, and at most one for `CELLS_PER_COMPONENT`.

    Parameters
    ----------
    latents, held : (n, k), draws to fit and to judge.
    n_cells, n_held : cells that the draws were made of; draws of one cell are no new evidence.
    seed : of the start, and of the choice of `MOST_DRAWS` draws.
    least_variance : added to the variances, in the latents' unit.

    Returns
    -------
    Weights (c,), centers (c, k) and covariances (c, k, k), float32.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(latents))[:MOST_DRAWS]
    data, held = latents[rows].astype(np.float64), held.astype(np.float64)
    best, best_scores = None, np.empty(0)
    for components in COMPONENTS if len(held) else COMPONENTS[:1]:
        if components > max(1, n_cells // CELLS_PER_COMPONENT):
            break
        model = GaussianMixture(
            components, reg_covar=least_variance, random_state=seed, max_iter=50
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(data)
        scores = model.score_samples(held) if len(held) else np.empty(0)
        if best is not None:
            gain = scores - best_scores
            if gain.mean() <= gain.std() / np.sqrt(n_held):
                break
        best, best_scores = model, scores
    assert best is not None  # one component is always fitted
    logger.info("a mixture of %d Gaussians to start from", len(best.weights_))
    return (
        best.weights_.astype(np.float32),
        best.means_.astype(np.float32),
        best.covariances_.astype(np.float32),
    )
