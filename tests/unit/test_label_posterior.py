"""Labels of posterior samples against scikit-learn's nearest neighbours."""

import numpy as np
import torch
from dice_atlas.dice.label_posterior import label_shares, subsample_per_label
from sklearn.neighbors import KNeighborsClassifier


def test_shares_are_those_of_nearest_neighbour_votes():
    rng = np.random.default_rng(0)
    reference, codes = rng.standard_normal((300, 5)), rng.integers(4, size=300)
    samples = rng.standard_normal((6, 40, 5))
    shares = label_shares(
        torch.tensor(samples), torch.tensor(reference), torch.tensor(codes), 4, 15
    ).numpy()
    votes = KNeighborsClassifier(15).fit(reference, codes).predict(samples.reshape(-1, 5))
    expected = np.stack([(votes.reshape(6, 40) == c).mean(0) for c in range(4)], axis=1)
    assert np.allclose(shares, expected)


def test_subsample_keeps_every_label():
    labels = np.array(["common"] * 5000 + ["rare"] * 2)
    rows = subsample_per_label(labels, 500, 0)
    kept = labels[rows]
    assert (kept == "rare").sum() == 1
    assert 450 < len(rows) <= 501
    assert np.array_equal(subsample_per_label(labels, 10_000, 0), np.arange(5002))
