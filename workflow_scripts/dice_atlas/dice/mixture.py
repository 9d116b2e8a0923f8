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
MOST_CELLS = 20_000


def fit_mixture(
    latents: np.ndarray, held: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (c,), centers (c, k) and covariances (c, k, k) of a mixture, by EM.

    The number of components rises as long as the likelihood of the held-out latents does; it is 1
    where none are held out.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(latents))[:MOST_CELLS]
    data, best, best_score = latents[rows].astype(np.float64), None, -np.inf
    for components in COMPONENTS if len(held) else COMPONENTS[:1]:
        if len(data) < 10 * components:
            break
        model = GaussianMixture(
            components, reg_covar=LEAST_VARIANCE, random_state=seed, max_iter=50
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(data)
        score = model.score(held.astype(np.float64)) if len(held) else 0.0
        if score <= best_score:
            break
        best, best_score = model, score
    logger.info("a mixture of %d Gaussians to start from", len(best.weights_))
    return (
        best.weights_.astype(np.float32),
        best.means_.astype(np.float32),
        best.covariances_.astype(np.float32),
    )
