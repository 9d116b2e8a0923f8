"""Data of the map in the report: what is packed is what the atlas holds, and how much of it."""

import base64
import json
import zlib
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from dice_atlas.numerics import blocks
from dice_atlas.plots.categories import category_colors
from dice_atlas.report.data import read_report_data
from dice_atlas.report.html import cells_of
from dice_atlas.viewer import cells, columns, genes, packing, payload
from report_files import make_report_files
from sklearn.decomposition import PCA

SETTINGS = payload.ViewerSettings((), 12.0, 200_000, 0)


@pytest.fixture(scope="module")
def files(tmp_path_factory, root):
    return make_report_files(tmp_path_factory.mktemp("viewer"), root)


@pytest.fixture(scope="module")
def made(files):
    return payload.make_payload(files["atlas"], cells_of(read_report_data(files, 2)), SETTINGS)


class Decoded:
    """A payload as a script would read it, written anew."""

    def __init__(self, made):
        self.head, self.blob = json.loads(made.head), base64.b64decode(made.blob)
        self.columns = {column["name"]: column for column in self.head["columns"]}

    def part(self, offset, length, kind="u1"):
        return np.frombuffer(zlib.decompress(self.blob[offset : offset + length]), dtype=kind)

    def names(self):
        return bytes(self.part(*self.head["ids"])).decode().split("\n")

    def category(self, name):
        column = self.columns[name]
        wide = len(column["values"]) >= 255
        codes = self.part(*column["part"], "<u2" if wide else "u1").astype(int)
        return np.array([*column["values"], ""], dtype=object)[
            np.minimum(codes, len(column["values"]))
        ]

    def number(self, name):
        """Values, and half a level at each."""
        column = self.columns[name]
        levels = self.part(*column["part"]).astype(float)
        levels[levels == 255] = np.nan
        low, high = column["low"], column["high"]
        if column["log"]:
            return [low * (high / low) ** ((levels + part) / 254) for part in (0, -0.5, 0.5)]
        step = (high - low) / 254
        return [low + step * (levels + part) for part in (0, -0.5, 0.5)]

    def gene(self, name):
        """Values, and half a step."""
        _, low, high, *part = next(one for one in self.head["genes"] if one[0] == name)
        packed = self.part(*part)
        levels = (
            np.stack([packed >> 4, packed & 15], axis=1).ravel()[: self.head["n"]].astype(float)
        )
        step = (high - low) / 14
        return np.where(levels > 0, low + step * (levels - 1), 0), step / 2


def test_100_random_cells_are_those_of_the_atlas(files, made):
    atlas, found = ad.read_h5ad(files["atlas"]), Decoded(made)
    assert found.names() == list(atlas.obs_names)
    rows = np.random.default_rng(0).choice(atlas.n_obs, 100, replace=False)
    obs = atlas.obs.iloc[rows]
    checked = set()
    for name, column in found.columns.items():
        if name not in obs:
            assert name in columns.ADDED
        elif "values" in column:
            assert (found.category(name)[rows] == obs[name].astype(str)).all()
            counts = atlas.obs[name].astype(str).value_counts()
            assert dict(zip(column["values"], column["counts"], strict=True)) == {
                value: n for value, n in counts.items() if value
            }
        else:
            value, low, high = (values[rows] for values in found.number(name))
            given = obs[name].to_numpy(float)
            assert (np.isnan(value) == np.isnan(given)).all()
            there = ~np.isnan(given)
            assert (given[there] >= low[there] - 1e-9).all()
            assert (given[there] <= high[there] + 1e-9).all()
        checked.add(name)
    assert {"cell_type", "cluster", "cell_type_score", "total_counts", "cell_type_doubt"} <= checked
    dense = atlas.X.toarray()[rows]
    assert {gene for gene, *_ in found.head["genes"]} == set(atlas.var_names)
    for j, gene in enumerate(atlas.var_names):
        value, half = found.gene(gene)
        assert ((value[rows] > 0) == (dense[:, j] > 0)).all()
        np.testing.assert_allclose(value[rows], dense[:, j], atol=half * 1.001 + 1e-4)


def test_places_keep_their_shape(files, made):
    umap, found = ad.read_h5ad(files["atlas"]).obsm["X_umap"], Decoded(made)
    maps = {one["key"]: one for one in found.head["maps"]}
    assert list(maps) == ["X_umap", "X_dice"]
    x, y = found.part(*maps["X_umap"]["part"], "<u2").reshape(2, -1) / 65535
    low, span = umap.min(axis=0), np.ptp(umap, axis=0).max()
    np.testing.assert_allclose(np.stack([x, y], axis=1), (umap - low) / span, atol=1e-4)


def test_a_second_run_gives_the_same_bytes(files, made):
    again = payload.make_payload(files["atlas"], cells_of(read_report_data(files, 2)), SETTINGS)
    assert (again.head, again.blob) == (made.head, made.blob)


def test_the_map_of_an_embedding_is_its_first_two_components(files, monkeypatch):
    monkeypatch.setattr(cells, "row_slices", lambda n: blocks.row_slices(n, 50))
    rows = np.arange(0, 240, 3)
    own = ad.read_h5ad(files["atlas"]).obsm["X_dice"][rows].astype(float)
    expected = PCA(2, svd_solver="full").fit_transform(own)
    found = cells.plane(files["atlas"], "X_dice", rows)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)
    assert cells.plane(files["atlas"], "X_none", rows) is None


def test_truth_and_set_size_are_added():
    obs = pd.DataFrame(
        {"role": ["query"] * 4 + ["reference"], "cell_type": ["a", "b", "unassigned", "a", "a"],
         "cell_type_set": ["a", "a|b", "", "a", ""],
         "cell_type_score": [0.9, 0.8, 0.1, 0.9, np.nan]},
        index=list("vwxyz"),
    )  # fmt: skip
    found = columns.with_added(obs, pd.Series({"v": "a", "w": "a", "x": "b"}))
    assert found["right"].tolist() == ["right", "wrong", "unassigned", "", ""]
    assert found["truth"].tolist() == ["a", "a", "b", "", ""]
    np.testing.assert_array_equal(found["set_size"], [1, 2, 0, 1, np.nan])
    assert "truth" not in columns.with_added(obs, None)


def test_numbers_are_levels_of_their_range_or_of_its_logarithm():
    values = np.array([1.0, 10.0, 100.0, np.nan])
    assert packing.pack_numbers(values, 1.0, 100.0, True).tolist() == [0, 127, 254, 255]
    assert packing.pack_numbers(values, 1.0, 100.0, False).tolist() == [0, 23, 254, 255]
    # Few whole numbers are kept as they are.
    frame = pd.DataFrame({"n": [3.0, 7.0, 250.0, np.nan], "same": 1.0})
    blob = packing.Blob()
    (entry,) = columns.numbers(frame, np.arange(4), blob)
    assert (entry["name"], entry["low"], entry["high"]) == ("n", 3.0, 257.0)
    levels = np.frombuffer(zlib.decompress(base64.b64decode(blob.text())), np.uint8)
    assert levels.tolist() == [0, 4, 247, 255]


def test_clusters_at_every_resolution_have_the_order_and_colours_of_clusters():
    obs = pd.DataFrame({"cluster": ["10", "2", "2"], "leiden_0.4": ["2", "10", "10"]})
    first, other = columns.categories(
        obs,
        np.arange(3),
        columns.Orders([], [], category_colors(obs.assign(cell_type="T"))),
        packing.Blob(),
    )
    assert first["values"] == other["values"] == ["2", "10"]
    assert first["colors"] == other["colors"]
    assert (other["title"], other["group"]) == ("clusters at 0.4", "Cluster")


def test_many_categories_take_two_bytes():
    obs = pd.DataFrame({"donor": [f"d{i}" for i in range(300)]})
    (entry,) = columns.categories(
        obs,
        np.arange(300),
        columns.Orders([], [], category_colors(obs.assign(cell_type="T"))),
        packing.Blob(),
    )
    assert entry["part"][1] > 300
    assert packing.pack_codes(np.array([0, -1]), 300).tolist() == [0, 65535]
    assert packing.pack_codes(np.array([0, -1]), 254).tolist() == [0, 255]


def test_of_many_cells_all_doubtful_ones_are_drawn_and_the_same_share_of_each_cluster():
    rng = np.random.default_rng(0)
    clusters = np.repeat(["0", "1", "2"], [9_000, 900, 100])
    doubtful = rng.uniform(size=10_000) < 0.05
    rows, complete = cells.drawn_cells(clusters, doubtful, 2_000, 1)
    assert complete
    assert set(np.flatnonzero(doubtful)) <= set(rows)
    assert len(set(rows)) == len(rows)
    assert (np.diff(rows) > 0).all()
    drawn = pd.Series(clusters[rows][~doubtful[rows]]).value_counts()
    share = (2_000 - doubtful.sum()) / (~doubtful).sum()
    assert drawn["0"] / (~doubtful[:9_000]).sum() == pytest.approx(share, rel=0.01)
    assert drawn["1"] / (~doubtful[9_000:9_900]).sum() == pytest.approx(share, rel=0.05)
    assert drawn["2"] == (~doubtful[9_900:]).sum()  # fewer than the least of a cluster
    assert (rows == cells.drawn_cells(clusters, doubtful, 2_000, 1)[0]).all()
    every, _ = cells.drawn_cells(clusters, doubtful, 10_000, 1)
    assert len(every) == 10_000
    some, complete = cells.drawn_cells(clusters, np.ones(10_000, bool), 2_000, 1)
    assert not complete
    assert len(some) == pytest.approx(2_000, abs=101)


MARKERS = pd.DataFrame(
    {"cluster": ["0", "0", "1", "1"], "rank": [1, 2, 1, 2], "gene": ["A", "B", "C", "D"],
     "log2_fold_change": [2.0, 1.0, 2.0, -1.0]}
)  # fmt: skip
VAR = pd.DataFrame(
    {"highly_variable": [True, False, True, True, True, False, True],
     "n_cells": [10, 10, 10, 10, 10, 10, 10]},
    index=["A", "B", "C", "D", "E", "Foxp3", "G"],
)  # fmt: skip


def test_genes_are_those_asked_for_then_markers_of_labels_and_variable_ones():
    label_genes = pd.DataFrame({"rank": [2, 1], "gene": ["E", "D"]})
    order = genes.gene_order(MARKERS, label_genes, ["FOXP3", "none"], VAR)
    assert order == ["Foxp3", "A", "C", "B", "D", "E", "G"]
    assert genes.gene_order(MARKERS, None, [], VAR) == ["A", "C", "B", "D", "E", "G"]


def test_further_genes_are_those_of_many_cells():
    var = VAR.assign(n_cells=[9, 1, 40, 30, 7, 50, 2])
    assert genes.further_genes(["C", "Foxp3"], var, 200) == ["D", "A", "E", "G"]


def test_the_page_says_which_genes_it_holds(files, made):
    """Of the fixture all genes are selected; with fewer of them variable, others fill the page."""
    assert (made.genes, made.further) == (12, 0)
    assert json.loads(made.head)["selected"] == 12
    assert made.which_genes == "all selected genes"
    part = replace(made, genes=5)
    assert part.which_genes == "the first of 12 selected genes, as many as fit"
    filled = replace(made, genes=2100, selected=2000, further=900)
    assert filled.which_genes == (
        "all 2,000 selected genes, and as many others found in at least 1% of the cells as fit "
        "(100)"
    )
    whole = replace(filled, genes=2900)
    assert whole.which_genes == (
        "all 2,000 selected genes, and all others found in at least 1% of the cells"
    )


def test_only_so_many_values_are_held(monkeypatch):
    monkeypatch.setattr(genes, "MOST_VALUES", 20)
    assert genes.as_many_as_fit(list("ACE"), VAR, 1.0) == ["A", "C"]
    assert genes.as_many_as_fit(list("ACE"), VAR, 0.5) == ["A", "C", "E"]


def test_expression_is_read_block_by_block(files, monkeypatch):
    rows, seen = np.arange(1, 240, 2), []

    def by_blocks(path):
        for place, block in blocks.read_blocks(path, 50):
            seen.append(block.shape[0])
            yield place, block

    monkeypatch.setattr(genes, "read_blocks", by_blocks)
    dense = ad.read_h5ad(files["atlas"])[rows, ["G7", "G2"]].X.toarray()
    for j, (positions, values) in enumerate(
        genes.read_expression(files["atlas"], rows, ["G7", "G2"])
    ):
        found = np.zeros(len(rows))
        found[positions] = values
        np.testing.assert_array_equal(found, dense[:, j])
    assert max(seen) == 50


def test_a_full_page_takes_no_more_genes(files):
    report = cells_of(read_report_data(files, 2))
    whole = payload.make_payload(files["atlas"], report, SETTINGS)
    most = len(whole.blob) / 1e6 - 0.0005
    part = payload.make_payload(
        files["atlas"], report, payload.ViewerSettings(("g9",), most, 9999, 0)
    )
    assert 0 < part.genes < whole.genes
    assert len(part.blob) <= most * 1e6 + 4
    assert json.loads(part.head)["genes"][0][0] == "G9"
    assert part.missing == ()
    none = payload.make_payload(
        files["atlas"], report, payload.ViewerSettings(("XY",), 1e-6, 9999, 0)
    )
    assert (none.genes, none.missing) == (0, ("XY",))


def test_a_script_cannot_be_ended_by_a_name():
    assert "</script" not in payload.as_script({"a": "</script><b>"})
    assert json.loads(payload.as_script({"a": "</script><b>"})) == {"a": "</script><b>"}


def test_50_000_cells_and_1_000_genes_are_less_than_15_mb(tmp_path):
    n, n_genes = 50_000, 1_000
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 12, n)
    # A gene is in 2 to 30 % of the cells.
    share = rng.uniform(0.02, 0.3, n_genes).astype(np.float32)
    there = [rng.random((n // 10, n_genes), dtype=np.float32) < share for _ in range(10)]
    matrix = sp.csr_matrix(sp.vstack([sp.csr_matrix(part) for part in there]), dtype=np.float32)
    matrix.data = np.log1p(rng.poisson(1.5, matrix.nnz) + 1).astype(np.float32)
    label = np.array([f"type {k}" for k in kind], dtype=object)
    obs = pd.DataFrame(
        {"sample": rng.choice(["a", "b", "c"], n), "role": "query", "batch": "x",
         "cell_type": label, "cell_type_set": label, "cluster": kind.astype(str),
         **{f"number_{k}": rng.normal(size=n) for k in range(12)},
         "cell_type_score": rng.uniform(size=n)},
        index=[f"a_{i:016d}-1" for i in range(n)],
    )  # fmt: skip
    var = pd.DataFrame({"highly_variable": True, "n_cells": matrix.getnnz(axis=0)},
                       index=[f"G{i}" for i in range(n_genes)])  # fmt: skip
    umap = rng.normal(size=(n, 2)).astype(np.float32)
    ad.AnnData(matrix, obs=obs, var=var, obsm={"X_umap": umap}).write_h5ad(tmp_path / "a.h5ad")
    orders = columns.Orders(sorted(set(label)), ["a", "b", "c"], category_colors(obs))
    whole = payload.Cells(obs, umap, None, MARKERS, None, orders)
    made = payload.make_payload(tmp_path / "a.h5ad", whole, SETTINGS)
    assert made.genes == n_genes
    assert len(made.head) + len(made.blob) < 15e6
