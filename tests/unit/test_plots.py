"""Colours, names and points of all figures."""

import numpy as np
import pandas as pd
import pytest
from dice_atlas.plots import categories, placement, points, style
from dice_atlas.report import (
    maps,
)
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab


def test_names_on_a_map_do_not_overlap_and_stay_inside():
    rng = np.random.default_rng(2)
    low, high = np.zeros(2), np.array([560.0, 400.0])
    anchors = rng.uniform(200, 300, (12, 2))
    sizes = np.stack([rng.uniform(40, 150, 12), np.full(12, 15.0)], axis=1)
    found = placement.place(anchors, sizes, low, high, rng.normal(250, 40, (500, 2)))
    for i in range(12):
        for j in range(i):
            assert placement.overlap(found[i], sizes[i], found[j], sizes[j]) == 0
    assert (found - sizes / 2 >= low).all()
    assert (found + sizes / 2 <= high).all()


def test_a_name_alone_stays_where_it_belongs_and_leaves_points_free():
    low, high, size = np.zeros(2), np.full(2, 200.0), np.array([[40.0, 12.0]])
    anchor = np.array([[100.0, 100.0]])
    nothing = np.empty((0, 2))
    assert (placement.place(anchor, size, low, high, nothing) == anchor).all()
    cloud = np.random.default_rng(0).uniform(85, 115, (2000, 2))
    moved = placement.place(anchor, size, low, high, cloud)[0]
    cover = placement.Cover(cloud, low, high)
    assert cover.share(anchor[0] - size[0] / 2, anchor[0] + size[0] / 2) > 0.6
    assert cover.share(moved - size[0] / 2, moved + size[0] / 2) < 0.1
    assert np.abs(moved - anchor[0]).max() < 60


def test_the_densest_place_of_a_ring_is_on_the_ring():
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 2000)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert np.linalg.norm(placement.densest(ring)) > 0.9
    assert np.linalg.norm(np.median(ring, axis=0)) < 0.2


def test_colours_are_those_of_the_label_and_grey_is_unassigned():
    names = [f"type {i}" for i in range(45)]
    colors = style.palette([*names, "unassigned"])
    assert len({colors[name] for name in names}) == 45
    assert colors["unassigned"] == style.UNASSIGNED_COLOR
    assert style.palette(names)["type 3"] == colors["type 3"]
    assert style.natural(["10", "9", "b", "a"]) == ["9", "10", "a", "b"]


# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
}  # fmt: skip


def seen_by(colors, matrix):
    """Colours (#RRGGBB) as such a reader sees them, in CIELAB."""
    rgb = np.array([to_rgb(color) for color in colors])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.asarray(matrix).T, 0, 1)
    return rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("vision", VISION)
def test_ten_types_and_unassigned_are_told_apart_by_colour_blind_readers(vision):
    colors = [*style.TYPE_COLORS[:10], style.UNASSIGNED_COLOR]
    lab = seen_by(colors, VISION[vision])
    apart = deltaE_ciede2000(lab[:, None], lab[None])
    assert apart[np.triu_indices(11, 1)].min() >= 10


def test_many_types_with_levels_are_shades_of_the_hue_of_their_parent():
    sizes = {"T": 5, "B": 4, "Myeloid": 3, "NK": 1}
    parents = {f"{one} {i}": one for one, n in sizes.items() for i in range(n)}
    names = [name for i, name in enumerate(parents) for _ in range(20 - i)]
    obs = pd.DataFrame({"cell_type": [*names, "unassigned", "T 0"]})
    obs["cell_type_at_1"] = [*map(parents.get, names), "T", "B"]  # one cell's level differs
    found = categories.category_colors(obs)
    colors = found["cell_type"]
    assert colors["NK 0"] == style.TYPE_COLORS[3]
    assert found["cell_type_at_1"]["T"] == style.TYPE_COLORS[0]
    assert colors["unassigned"] == style.UNASSIGNED_COLOR
    seen = {name: rgb2lab(np.array([to_rgb(colors[name])]))[0] for name in parents}
    for one in ("T", "B", "Myeloid"):
        own = np.array([seen[name] for name in parents if parents[name] == one])
        apart = deltaE_ciede2000(own[:, None], own[None])
        assert apart[np.triu_indices(len(own), 1)].min() >= 10
        hue = np.arctan2(own[:, 2], own[:, 1])
        assert np.ptp(np.unwrap(np.sort(hue))) < 0.6  # radians of CIELAB
        assert (np.diff(own[:, 0]) > 0).all()  # the most frequent is the darkest
    few = obs[obs["cell_type"].isin(["T 0", "T 1", "B 0"])]
    assert categories.category_colors(few)["cell_type"]["T 1"] == style.TYPE_COLORS[1]
    flat = categories.category_colors(obs[["cell_type"]])["cell_type"]
    assert [flat[name] for name in list(parents)[:12]] == list(style.TYPE_COLORS[:12])


def test_points_drawn_are_a_seeded_subset():
    rows = points.drawn_rows(80_000, 0)
    assert len(set(rows)) == points.MOST_POINTS
    assert (rows == points.drawn_rows(80_000, 0)).all()
    assert (rows != points.drawn_rows(80_000, 1)).any()


def test_a_batch_that_is_the_sample_is_drawn_once():
    obs = pd.DataFrame({"sample": ["a", "b"], "batch": ["1", "2"], "role": "query"})
    assert list(maps.origins(obs)) == ["sample"]
    assert list(maps.origins(obs.assign(sample=["a", "a"]))) == ["sample", "batch"]
