"""The atlas in other tools: scanpy takes it without a warning, old readers know its types."""

import re
import runpy
import sys
import warnings

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from dice_atlas.atlas.columns import cells_table, doubtful_table
from dice_atlas.atlas.doubt import doubts
from dice_atlas.atlas.matrices import add_graph
from dice_atlas.errors import InputError
from dice_atlas.names import DOUBTS, NO_DOUBT
from dice_atlas.numerics.blocks import SparseAppender
from dice_atlas.plots.categories import by_frequency, category_colors
from dice_atlas.plots.style import (
    CLUSTER_COLORS,
    ROLE_COLORS,
    SAMPLE_COLORS,
    TYPE_COLORS,
    UNASSIGNED_COLOR,
)
from factories import make_atlas

# What the registry of anndata 0.8.0 (2022) reads, the nullable types left out.
OLD = {
    ("anndata", "0.1.0"), ("array", "0.2.0"), ("bytes", "0.2.0"), ("categorical", "0.2.0"),
    ("csc_matrix", "0.1.0"), ("csr_matrix", "0.1.0"), ("dataframe", "0.2.0"), ("dict", "0.1.0"),
    ("numeric-scalar", "0.2.0"), ("raw", "0.1.0"), ("rec-array", "0.2.0"), ("string", "0.2.0"),
    ("string-array", "0.2.0"),
}  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_atlas(tmp_path_factory.mktemp("atlas"))


def test_scanpy_plots_and_tests_it_without_a_warning(path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Of scanpy's own dependencies; the atlas has no part in them.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        atlas = ad.read_h5ad(path)
        before = {key: list(atlas.uns[key]) for key in atlas.uns if key.endswith("_colors")}
        axes = sc.pl.umap(
            atlas, color=["cell_type", "cluster", "leiden_2", "sample", "role", "g5"], edges=True,
            show=False,
        )  # fmt: skip
        sc.tl.rank_genes_groups(atlas, "cluster", method="wilcoxon")
        sc.tl.rank_genes_groups(atlas, "cell_type", method="t-test")
        sc.tl.paga(atlas, "leiden_2")
    assert len(axes) == 6
    # scanpy puts its own colours where those of the atlas are too few or no colours.
    assert {key: list(atlas.uns[key]) for key in before} == before
    assert {"cell_type_colors", "cluster_colors", "leiden_2_colors", "role_colors"} < before.keys()


@pytest.mark.parametrize("name", ["cellxgene", "cellxgene-desktop", "anndata"])
def test_the_page_s_table_is_of_the_pinned_tools(root, name):
    lines = (root / f"requirements-{name}.in").read_text().splitlines()
    tool, version = next(line for line in lines if "==" in line).split("==")
    page = (root / "docs/handover.md").read_text()
    table = page.split("<!-- checks: start -->")[1].split("<!-- checks: end -->")[0]
    assert re.search(rf"\| {tool} {re.escape(version)}\b", table), "run make handover"


CASE = """<testsuites><testsuite><testcase name="a">{}</testcase></testsuite></testsuites>"""
SEEN = {"export": "`x`", "tool": "t 1", "command": "c", "result": "all"}


def test_a_tool_that_did_not_run_gives_no_table(root, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(root / "docs"), *sys.path])
    checks = runpy.run_path(str(root / "docs/update_handover.py"))["checks"]
    report = tmp_path / "handover.xml"
    rows = "".join(f'<property name="{name}" value="{text}"/>' for name, text in SEEN.items())
    report.write_text(CASE.format(f"<properties>{rows}</properties>"))
    assert checks(report).splitlines()[2:] == ["| `x` | t 1 | c | all |"]
    report.write_text(CASE.format('<skipped message="there is no R"/>'))
    with pytest.raises(SystemExit, match="a did not pass: there is no R"):
        checks(report)


def test_colours_follow_the_categories_and_are_those_of_the_report(path):
    atlas = ad.read_h5ad(path)
    types = by_frequency(atlas.obs["cell_type"])
    assert sorted(types) == sorted(set(atlas.obs["cell_type"]) - {"unassigned"})
    colors = dict(
        zip(atlas.obs["cell_type"].cat.categories, atlas.uns["cell_type_colors"], strict=True)
    )
    assert [colors[name] for name in types] == list(TYPE_COLORS[: len(types)])
    assert colors["unassigned"] == UNASSIGNED_COLOR
    # By number: 10 comes after 9, and the palette goes on in this order.
    assert atlas.obs["leiden_2"].cat.categories.tolist() == [str(i) for i in range(12)]
    assert list(atlas.uns["leiden_2_colors"]) == list(CLUSTER_COLORS[:12])
    assert list(atlas.uns["role_colors"]) == [ROLE_COLORS["query"], ROLE_COLORS["reference"]]
    # Samples choose in the order of the sheet: ref, q1, q_2.
    assert atlas.obs["sample"].cat.categories.tolist() == ["q1", "q_2", "ref"]
    assert list(atlas.uns["sample_colors"]) == [SAMPLE_COLORS[i] for i in (1, 2, 0)]


def test_labels_of_one_voter_alone_get_colours_too():
    obs = pd.DataFrame(
        {"cell_type": ["B", "T", "T"], "cell_type_in_pca": ["NK", "T", "unassigned"]}
    )
    colors = category_colors(obs)
    assert colors["cell_type_in_pca"].items() >= colors["cell_type"].items()
    assert colors["cell_type_in_pca"]["NK"] == TYPE_COLORS[2]


def test_the_logarithm_is_said_as_scanpy_reads_it(path):
    atlas = ad.read_h5ad(path)
    # scanpy 1.9 fails where there is no base.
    assert np.log(atlas.uns["log1p"]["base"]) == 1.0
    sc.tl.rank_genes_groups(atlas, "cluster", groups=["0"], n_genes=3)
    found = sc.get.rank_genes_groups_df(atlas, "0").set_index("names")["logfoldchanges"]
    cells = (atlas.obs["cluster"] == "0").to_numpy()
    means = [np.expm1(atlas[part].X.mean(axis=0)).A1 for part in (cells, ~cells)]
    expected = pd.Series(np.log2((means[0] + 1e-9) / (means[1] + 1e-9)), index=atlas.var_names)
    np.testing.assert_allclose(found, expected[found.index], rtol=1e-5)


def test_the_graph_is_the_one_of_the_clusters(path):
    atlas, graph = ad.read_h5ad(path), ad.read_h5ad(path.with_name("graph.h5ad"))
    for name in ("connectivities", "distances"):
        assert (atlas.obsp[name] != graph.obsp[name]).nnz == 0
    params = atlas.uns["neighbors"]["params"]
    assert params["use_rep"] in atlas.obsm
    assert params["n_neighbors"] == 10


def test_a_graph_of_other_cells_is_refused(path, tmp_path):
    graph = ad.read_h5ad(path.with_name("graph.h5ad"))
    graph[::-1].copy().write_h5ad(tmp_path / "graph.h5ad")
    with pytest.raises(InputError, match=r"graph.h5ad and the atlas"):
        add_graph(path, tmp_path / "graph.h5ad")


def test_readers_of_2022_know_every_type_and_every_filter(path):
    seen, filters, numbers = set(), set(), set()

    def look(name, item):
        if "encoding-type" in item.attrs:
            seen.add((item.attrs["encoding-type"], item.attrs["encoding-version"]))
        if isinstance(item, h5py.Dataset):
            plist = item.id.get_create_plist()
            filters.update(plist.get_filter(i)[0] for i in range(plist.get_nfilters()))
            numbers.add(item.dtype.kind)

    with h5py.File(path) as file:
        file.visititems(look)
        assert not any("nullable" in kind for kind, _ in seen)
    assert ("categorical", "0.2.0") in seen
    assert seen <= OLD
    # Deflate and shuffle are in every HDF5; lzf (32000) and zstd (32015) are not.
    assert h5py.h5z.FILTER_DEFLATE in filters
    assert filters <= {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}
    assert numbers <= set("biufO")


@pytest.mark.parametrize(("size", "kind"), [(2**31 - 1, np.int32), (2**31, np.int64)])
def test_both_indices_of_a_matrix_have_the_type_that_the_number_of_values_needs(
    tmp_path, size, kind
):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        SparseAppender(file, "X", 3, np.float32, size)
        assert {file["X"][name].dtype for name in ("indices", "indptr")} == {np.dtype(kind)}


def test_the_table_of_cells_has_every_column_and_the_map(path):
    atlas = ad.read_h5ad(path)
    table = cells_table(atlas.obs, atlas.obsm["X_umap"])
    assert table.columns.tolist() == ["cell", *atlas.obs, "umap1", "umap2"]
    assert table["cell"].tolist() == atlas.obs_names.tolist()
    np.testing.assert_array_equal(table[["umap1", "umap2"]], atlas.obsm["X_umap"])
    assert table["cell_type"].tolist() == atlas.obs["cell_type"].tolist()


def test_the_table_of_doubtful_cells_holds_each_reason_with_its_evidence(path):
    obs = ad.read_h5ad(path).obs
    obs["cell_type_doubt"] = doubt = doubts(obs, "dice")
    table = doubtful_table(obs)
    assert sorted(table["cell"]) == sorted(obs.index[~np.isin(doubt, ["", NO_DOUBT])])
    assert table["cell_type_doubt"].nunique() > 1
    rank = table["cell_type_doubt"].map(list(DOUBTS).index)
    assert rank.is_monotonic_increasing
    for _, rows in table.groupby("cell_type_doubt"):
        assert rows["cell_type_score"].is_monotonic_increasing
    kept = table.set_index("cell")
    for name in ("cell_type", "cell_type_set", "cell_type_second", "cluster"):
        assert (kept[name] == obs.loc[kept.index, name]).all()
    assert doubtful_table(obs.drop(columns="cell_type_doubt")).empty
