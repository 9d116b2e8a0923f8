"""Labels of posterior samples against scikit-learn's nearest neighbours."""

import numpy as np
import pytest
import torch
from dice_atlas.dice import label_posterior
from dice_atlas.dice.label_posterior import LabelShares
from dice_atlas.dice.label_sets import credible_sets, label_entropy
from dice_atlas.numerics.exact_neighbors import nearest_on_device
from dice_atlas.numerics.sketch import subsample_per_label
from sklearn.neighbors import KNeighborsClassifier


@pytest.mark.parametrize("kept", [0, 100, 1000])
@pytest.mark.parametrize("points", [240, 7])
def test_shares_are_those_of_nearest_neighbour_votes(monkeypatch, points, kept):
    monkeypatch.setattr(label_posterior, "KEPT", kept)
    rng = np.random.default_rng(0)
    reference, codes = rng.standard_normal((300, 5)), rng.integers(4, size=300)
    # Samples of a kernel are its points, many of them the same.
    samples = rng.standard_normal((points, 5))[rng.permutation(240) % points].reshape(6, 40, 5)
    shares_of = LabelShares(torch.tensor(reference), torch.tensor(codes), 4)
    asked = []

    def counted(queries, *others):
        asked.append(len(queries))
        return nearest_on_device(queries, *others)

    monkeypatch.setattr(label_posterior, "nearest_on_device", counted)
    # Block by block, as a shard's cells come.
    blocks = [shares_of(block) for block in torch.tensor(samples).split([15, 5, 20], dim=1)]
    shares = torch.cat(blocks).numpy()
    if points == 240:
        # Samples that never come again are not kept.
        assert len(shares_of.known) == 0
    elif kept:
        assert len(shares_of.known) == sum(asked) == 7
    else:
        assert sum(asked) == 3 * 7
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


def test_credible_sets_are_the_smallest_that_reach_the_coverage():
    rng = np.random.default_rng(0)
    labels, coverage = ["c", "a", "b", "d"], 0.9
    # Multiples of 1/20 as of 20 samples: sums often meet the coverage exactly.
    shares = rng.multinomial(20, [0.7, 0.2, 0.08, 0.02], 300).astype(np.float32) / 20
    subsets = [[i for i in range(4) if code >> i & 1] for code in range(1, 16)]
    for row, text in zip(shares, credible_sets(shares, labels, coverage), strict=True):
        chosen = [labels.index(name) for name in text.split("|")]
        assert text.split("|") == sorted(text.split("|"))
        assert row[chosen].sum() >= coverage - 1e-6
        smaller = (s for s in subsets if len(s) < len(chosen))
        assert all(row[s].sum() < coverage - 1e-6 for s in smaller)


def test_entropy_is_in_nats():
    shares = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]], dtype=np.float32)
    assert np.allclose(label_entropy(shares), [0, np.log(4), np.log(2)])
