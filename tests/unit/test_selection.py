"""Selection of genes over sample files: eligibility, batches, modes, a saved prior, errors."""

import json
import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from dice_atlas.counts.common_genes import common_genes
from dice_atlas.errors import InputError
from dice_atlas.features.card import FORMAT
from dice_atlas.features.normalize import selected_genes
from dice_atlas.features.selection import select_genes

GENES = [f"G{i}" for i in range(200)]


def write_sample(path, role, batch, cells=60, genes=GENES, seed=0, variable=range(20)):
    rng = np.random.default_rng(seed)
    x = rng.poisson(rng.gamma(2.0, 1.0, len(genes)) + 0.2, (cells, len(genes)))
    position = [i for i in variable if i < len(genes)]
    x[:, position] = rng.negative_binomial(0.3, 0.08, (cells, len(position)))
    obs = pd.DataFrame(
        {"role": role, "batch": batch, "total_counts": x.sum(axis=1)},
        index=[f"{path.stem}_{i}" for i in range(cells)],
    )
    var = pd.DataFrame({"gene_id": [f"ENSG{i:011d}" for i in range(len(genes))]}, index=genes)
    ad.AnnData(sp.csr_matrix(x.astype(np.int32)), obs=obs, var=var).write_h5ad(path)
    return path


@pytest.fixture
def pair(tmp_path):
    return [
        write_sample(tmp_path / "ref.h5ad", "reference", "a", seed=1),
        write_sample(tmp_path / "query.h5ad", "query", "b", seed=2, variable=range(10, 30)),
    ]


def test_joint_selection_is_scanpys(pair):
    table = select_genes(pair, 30, "joint", 3, ["batch"])
    data = ad.concat([ad.read_h5ad(p) for p in pair])
    data.X = data.X.astype(np.float32)
    theirs = sc.pp.highly_variable_genes(
        data, flavor="seurat_v3_paper", n_top_genes=30, batch_key="batch", inplace=False
    )
    theirs.index = data.var_names
    ours = table.set_index("gene").loc[theirs.index]
    assert set(ours.index[ours["selected"]]) == set(theirs.index[theirs["highly_variable"]])
    np.testing.assert_allclose(ours["mean"], theirs["means"], rtol=1e-6)
    np.testing.assert_allclose(ours["variance"], theirs["variances"], rtol=1e-4)
    np.testing.assert_array_equal(ours["n_batches"], theirs["highly_variable_nbatches"])
    assert table["rank"].tolist() == list(range(1, 201))
    assert table["selected"].sum() == 30
    assert table.loc[0, "gene_id"] == f"ENSG{int(table.loc[0, 'gene'][1:]):011d}"
    # Variable in both batches: the ten that the two samples share come first.
    assert len(set(table["gene"][:10]) & {f"G{i}" for i in range(10, 20)}) >= 9


def test_order_of_samples_in_one_batch_and_splitting_do_not_matter(tmp_path, pair):
    whole = ad.read_h5ad(pair[0])
    parts = []
    for name, cells in {"p": slice(0, 25), "q": slice(25, 60)}.items():
        parts.append(tmp_path / f"{name}.h5ad")
        whole[cells].copy().write_h5ad(parts[-1])
    once = select_genes([pair[0]], 50, "joint", 3, ["batch"])
    twice = select_genes(parts[::-1], 50, "joint", 3, ["batch"])
    pd.testing.assert_frame_equal(once, twice)


def test_genes_in_too_few_cells_or_not_in_all_samples_are_not_selected(tmp_path, caplog):
    genes = [*GENES, "RARE"]
    first = write_sample(tmp_path / "a.h5ad", "reference", "a", genes=genes)
    data = ad.read_h5ad(first)
    x = data.X.tolil()
    x[:, 200] = 0
    x[:2, 200] = 50
    data.X = x.tocsr()
    data.write_h5ad(first)
    second = write_sample(tmp_path / "b.h5ad", "query", "a", genes=[*GENES[1:], "OTHER"])
    table = select_genes([first], 1000, "joint", 3, ["batch"]).set_index("gene")
    assert table.loc["RARE", "n_cells"] == 2
    assert not table.loc["RARE", "selected"]
    assert table["selected"].sum() == 200
    assert "only 200 genes" in caplog.text
    both = select_genes([first, second], 50, "joint", 3, ["batch"])
    assert set(both["gene"]) == set(GENES[1:])
    with pytest.raises(
        InputError, match="0 of the 201 genes that all samples have are found in 9999"
    ):
        select_genes([first], 1000, "joint", 9999, ["batch"])


def test_intersection_takes_what_is_variable_in_both_roles(pair):
    table = select_genes(pair, 120, "intersection", 3, ["batch"])
    best = []
    for path in pair:
        own = select_genes([path], 120, "joint", 3, ["batch"])
        best.append(set(own.loc[own["selected"], "gene"]))
    assert set(table.loc[table["selected"], "gene"]) == best[0] & best[1]


def test_intersection_errors(pair):
    with pytest.raises(InputError, match="no batch of the query has the 20 cells"):
        select_genes(pair[:1], 100, "intersection", 3, ["batch"])
    with pytest.raises(InputError, match=r"of the 20 variable genes .* only 1"):
        select_genes(pair, 20, "intersection", 3, ["batch"])


def test_small_batches_are_left_out_of_the_ranking(tmp_path, pair, caplog):
    tiny = write_sample(tmp_path / "tiny.h5ad", "reference", "tiny", cells=5, seed=9)
    with caplog.at_level(logging.WARNING):
        with_tiny = select_genes([*pair, tiny], 30, "joint", 3, ["batch"])
    assert "reference tiny is left out" in caplog.text
    without = select_genes(pair, 30, "joint", 3, ["batch"])
    assert with_tiny.loc[with_tiny["selected"], "gene"].tolist() == (
        without.loc[without["selected"], "gene"].tolist()
    )
    assert select_genes([tiny], 30, "joint", 0, ["batch"])["selected"].sum() == 30


CARD = {"format": FORMAT, "preset": "fast", "k": 3, "settings": {}, "noise": "isotropic",
        "normalization": {}, "calibration": [], "sha256": "0" * 64}  # fmt: skip


def test_saved_prior_gives_its_genes_in_its_order(tmp_path, pair, caplog):
    card = tmp_path / "card.json"
    card.write_text(json.dumps(CARD | {"genes": ["G7", "ABSENT", "G150", "G3"]}))
    table = select_genes(pair, 30, "joint", 3, ["batch"], card)
    assert selected_genes(table)["gene"].tolist() == ["G7", "G150", "G3"]
    assert sorted(table["rank"]) == list(range(1, 201))
    assert "1 of the 4 genes of the saved prior" in caplog.text
    card.write_text(json.dumps(CARD | {"genes": ["X1", "X2", "X3", "G3"]}))
    with pytest.raises(InputError, match=r"1 of the 4 genes .* X1, X2, X3"):
        select_genes(pair, 30, "joint", 3, ["batch"], card)


def test_samples_without_common_genes():
    symbols = pd.Index([f"GENE{i}" for i in range(300)])
    ensembl = pd.Index([f"ENSG{i:011d}" for i in range(300)])
    with pytest.raises(InputError, match="Ensembl ids and the other gene symbols") as error:
        common_genes({"a": symbols, "b": ensembl})
    assert "GENE0" in str(error.value)
    assert "ENSG00000000000" in str(error.value)
    with pytest.raises(InputError, match="upper and lower case"):
        common_genes({"a": symbols, "b": symbols.str.capitalize()})
    with pytest.raises(InputError, match="differ in _ and -"):
        common_genes({"a": "HLA_" + symbols, "b": "HLA-" + symbols})
    few = pd.Index([*symbols[:55], *[f"OTHER{i}" for i in range(245)]])
    with pytest.raises(InputError, match="55 genes are common"):
        common_genes({"a": symbols, "b": few})
    assert common_genes({"a": symbols, "b": symbols[::-2]}).tolist() == symbols[1::2].tolist()


def test_unknown_batch_key(pair):
    with pytest.raises(InputError, match="donor"):
        select_genes(pair, 30, "joint", 3, ["donor"])
