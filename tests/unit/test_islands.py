"""Clusters that fall apart are those whose parts have hardly a link to each other."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from dice_atlas.report.islands import islands, part_links


def ring(n, start, size):
    """Links of n cells in a ring, each to its next two."""
    rows = np.arange(n)
    cols = [(rows + k) % n for k in (1, 2)]
    return sp.coo_matrix(
        (np.ones(2 * n), (start + np.tile(rows, 2), start + np.concatenate(cols))), (size, size)
    )


def atlas(bridges):
    """Cluster 0: rings of 60 and 30 cells, tied by some links; cluster 1: a ring of 50."""
    graph = (ring(60, 0, 140) + ring(30, 60, 140) + ring(50, 90, 140)).tolil()
    for i in range(bridges):
        graph[i, 60 + i] = 1
    graph = sp.csr_matrix(graph)
    obs = pd.DataFrame(
        {"cluster": ["0"] * 90 + ["1"] * 50, "leiden_2": ["0"] * 60 + ["2"] * 30 + ["1"] * 50}
    )
    obs["leiden_0.5"] = obs["cluster"]
    resolutions = pd.DataFrame({"resolution": [0.5, 2.0], "chosen": ["True", "False"]})
    return SimpleNamespace(obs=obs, graph=graph + graph.T, resolutions=resolutions)


def test_shares_of_links_are_counted():
    data = atlas(bridges=2)
    table = part_links(data.graph, data.obs["cluster"].to_numpy(), data.obs["leiden_2"].to_numpy())
    found = table.set_index(["cluster", "part"])
    assert found["cells"].to_dict() == {("0", "0"): 60, ("0", "2"): 30, ("1", "1"): 50}
    # 30 cells with 4 links each, and 2 that lead out.
    assert found.loc[("0", "2"), "share"] == pytest.approx(2 / (30 * 4 + 2))
    assert found.loc[("1", "1"), ["share", "of"]].tolist() == [0, 50]


@pytest.mark.parametrize(("bridges", "apart"), [(0, True), (2, True), (6, False)])
def test_a_cluster_of_two_islands_is_told_once(bridges, apart):
    data = atlas(bridges)
    # A cell fewer at a finer resolution is no other island; nor is a coarser one a remedy.
    data.obs["leiden_3"] = data.obs["leiden_2"].where(data.obs.index != 60, "9")
    data.obs["leiden_0.1"] = data.obs["leiden_2"]
    found = list(islands(data))
    assert len(found) == apart
    if apart:
        assert found[0].text.startswith("Cluster 0 falls apart: 30 of its 90 cells")
        assert found[0].pick == (("cluster", ("0",)), ("leiden_2", ("2",)))
    assert list(islands(SimpleNamespace(obs=data.obs, graph=None))) == []
