"""A Gaussian mixture of latents, from which the fast network starts, and the broad background."""

import logging
import warnings

import numpy as np

logger = logging.getLogger(__name__)

Mixture = tuple[np.ndarray, np.ndarray, np.ndarray]

COMPONENTS = (1, 2, 3, 5, 8, 12, 18, 25, 35)
# Added to the variances: a tenth of the noise of one gene, which is 1 in the latents' unit.
LEAST_VARIANCE = 0.1
MOST_DRAWS = 20_000
# A full covariance of fewer cells fits them and not the query.
CELLS_PER_COMPONENT = 50


def fit_mixture(
    latents: np.ndarray,
    held: np.ndarray,
    n_cells: int,
    n_held: int,
    seed: int,
    least_variance: float = LEAST_VARIANCE,
) -> Mixture:
    """Fit a mixture by EM, with the least components that are as good as any.

    As good is a held-out log-likelihood that falls short of the best one's by no more than the
    standard error of the difference. It is 1 where nothing is held out, and at most one for
    `CELLS_PER_COMPONENT` cells.

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
    # Not every job that imports this module needs it: it takes a second to load.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(latents))[:MOST_DRAWS]
    data, held = latents[rows].astype(np.float64), held.astype(np.float64)
    fits: list[tuple[GaussianMixture, np.ndarray]] = []
    for components in COMPONENTS if len(held) else COMPONENTS[:1]:
        if components > max(1, n_cells // CELLS_PER_COMPONENT):
            break
        model = GaussianMixture(
            components, reg_covar=least_variance, random_state=seed, max_iter=50
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(data)
        logger.info("a mixture of %d Gaussians is fitted", components)
        fits.append((model, model.score_samples(held) if len(held) else np.zeros(1)))
    most = max((scores for _, scores in fits), key=np.mean)
    best = next(
        model
        for model, scores in fits
        if (most - scores).mean() <= (most - scores).std() / np.sqrt(max(n_held, 1))
    )
    logger.info("a mixture of %d Gaussians to start from", len(best.weights_))
    return (
        best.weights_.astype(np.float32),
        best.means_.astype(np.float32),
        best.covariances_.astype(np.float32),
    )


def with_background(mixture: Mixture, latents: np.ndarray, share: float) -> Mixture:
    """The mixture with one more component, the last: a Gaussian as broad as all cells together.

    The posterior of a cell far from all that the reference holds then stays near the cell.

    Parameters
    ----------
    mixture : weights, centers and covariances.
    latents : (n, k), of the cells.
    share : weight of the component; 0: the mixture as it is.
    """
    if not share:
        return mixture
    weight, center, covariance = mixture
    mean, spread = background_of(latents)
    return (
        np.append(weight * (1 - share), share).astype(np.float32),
        np.concatenate([center, mean[None]]).astype(np.float32),
        np.concatenate([covariance, spread[None]]).astype(np.float32),
    )


def background_of(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (k,) and covariance (k, k) of all cells (n, k)."""
    points = np.asarray(latents, dtype=np.float64)
    return points.mean(axis=0), np.atleast_2d(np.cov(points.T, bias=True))
