"""The negative binomial's log-likelihood of sparse counts."""

import torch


def negative_binomial_log_likelihood(
    counts: torch.Tensor, mean: torch.Tensor, theta: torch.Tensor
) -> torch.Tensor:
    """Log-likelihood of cells (n,), without the constant -lgamma(x + 1).

    Variance = mean + mean^2 / theta. lgamma is the cost of it, and vanishes where a count is 0:
    it is computed for the others alone.

    Parameters
    ----------
    counts, mean : (n, g).
    theta : (g,), inverse dispersion.
    """
    log_total = torch.log(theta + mean)
    result = (theta * (torch.log(theta) - log_total)).sum(dim=1)
    cell, gene = torch.nonzero(counts, as_tuple=True)
    x, own = counts[cell, gene], theta[gene]
    positive = torch.lgamma(x + own) - torch.lgamma(own)
    positive = positive + x * (torch.log(mean[cell, gene] + 1e-8) - log_total[cell, gene])
    return result.index_add(0, cell, positive)
