"""Counter-based noise: known answers of Philox, the normal law, independence of the shard."""

import numpy as np
import pytest
import torch
from dice_atlas.dice.noise import CellNoise, philox
from scipy import stats


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # Random123's kat_vectors, philox4x32 10
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_known_answers(counter, key, expected):
    words = philox(torch.tensor(counter), key).tolist()
    assert " ".join(f"{word:08x}" for word in words) == expected


def test_noise_is_standard_normal_and_uncorrelated():
    noise = CellNoise(3, torch.arange(40_000), 0, 5)
    first, second = noise().double(), noise().double()
    assert stats.kstest(first.flatten().numpy(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(torch.cat([first, second], dim=1).T)
    assert np.abs(correlation - np.eye(10)).max() < 0.025


def test_noise_of_a_cell_depends_on_seed_cell_draw_and_step_only():
    whole = CellNoise(1, torch.arange(10), 4, 7)
    part = CellNoise(1, torch.arange(6, 9), 4, 7)
    for _ in range(3):
        assert torch.equal(whole()[6:9], part())
    other_seed = CellNoise(2, torch.arange(10), 4, 7)()
    other_draw = CellNoise(1, torch.arange(10), 5, 7)()
    base = CellNoise(1, torch.arange(10), 4, 7)()
    assert not (base == other_seed).any()
    assert not (base == other_draw).any()
