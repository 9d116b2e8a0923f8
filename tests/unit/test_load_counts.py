"""load_sample: one sample as the other rules expect it."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from dice_atlas.counts.genes import without_numbers
from dice_atlas.counts.sample import load_sample
from dice_atlas.errors import InputError
from dice_atlas.files import sha256

ROW = {
    "sample": "s1", "role": "reference", "batch": "obs:run", "labels": "kind",
    "labels_source": "", "subset": "run=1", "suffix": "", "slot": "", "expression": "",
    "extra": {"site": "Leipzig", "lane": "obs:run"},
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    obs = pd.DataFrame(
        {"run": [1, 2, 1], "kind": pd.Categorical(["B", "T", None])}, index=["c1", "c2", "c3"]
    )
    var = pd.DataFrame(index=["G1", "G2"])
    ad.AnnData(sp.csr_matrix([[1, 0], [2, 3], [0, 4]]), obs, var).write_h5ad(tmp_path / "a.h5ad")
    return str(tmp_path / "a.h5ad")


def test_contract(path, tmp_path):
    sample = load_sample(ROW | {"path": path, "labels_source": path})
    # The next rules get what is left after a round trip through the file.
    sample.write_h5ad(tmp_path / "counts.h5ad", convert_strings_to_categoricals=False)
    sample = ad.read_h5ad(tmp_path / "counts.h5ad")
    assert sample.obs.columns.tolist() == [
        "barcode", "cell_key", "sample", "role", "batch", "label", "site", "lane"
    ]  # fmt: skip
    assert sample.obs_names.tolist() == ["s1_c1", "s1_c3"]
    assert sample.obs["barcode"].tolist() == ["c1", "c3"]
    assert sample.obs["batch"].tolist() == ["1", "1"]
    assert sample.obs["label"].tolist() == ["B", ""]
    assert sample.obs["site"].tolist() == ["Leipzig"] * 2
    assert sample.obs["lane"].tolist() == ["1", "1"]
    assert set(sample.obs.dtypes) == {np.dtype(object)}
    assert sample.var.columns.tolist() == ["gene_id"]
    assert sample.X.dtype == np.int32
    np.testing.assert_array_equal(sample.X.toarray(), [[1, 0], [0, 4]])
    source = dict(sample.uns["source"])
    assert dict(source.pop("decided")) == {
        "matrix": "X", "passed_over": "", "gene_names": "the file's own names",
        "labels": "1 of 2 cells have a label",
    }  # fmt: skip
    assert source == {"path": path, "sha256": sha256(path), "format": "h5ad X"}


def test_several_columns_of_labels_are_kept_as_levels(path, tmp_path):
    data = ad.read_h5ad(path)
    data.obs["class"], data.obs["sub"] = ["lymphoid", "x", "myeloid"], ["B cell", "y", None]
    data.write_h5ad(path)
    row = ROW | {"path": path, "labels_source": path, "labels": "class|sub|kind"}
    sample = load_sample(row)
    assert sample.obs["label"].tolist() == ["B", ""]
    assert sample.obs["label_parents"].tolist() == ["lymphoid|B cell", "myeloid|"]
    with pytest.raises(InputError, match="'order'"):
        load_sample(row | {"labels": "order|kind"})


def test_subset_needs_obs(tmp_path):
    (tmp_path / "a.csv").write_text("gene,c1,c2\nA,1,2\n")
    with pytest.raises(InputError, match="leave `subset` empty"):
        load_sample(ROW | {"path": str(tmp_path / "a.csv")})


@pytest.fixture
def ensembl(tmp_path):
    genes = [f"ENSG{i:011d}" for i in range(1, 5)]
    var = pd.DataFrame(index=[genes[0] + ".3", *genes[1:]])
    path = tmp_path / "ids.h5ad"
    ad.AnnData(sp.csr_matrix(np.eye(4, dtype=int)), var=var).write_h5ad(path)
    return ROW | {"path": str(path), "batch": "b", "labels": "", "subset": "", "extra": {}}


def test_symbols_from_a_table_of_names(tmp_path, ensembl):
    table = tmp_path / "names.tsv"
    table.write_text(
        "gene_id\tsymbol\nENSG00000000001\tCD3D\nENSG00000000002.7\tCD3D\nENSG00000000003\t\n"
    )
    genes = load_sample(ensembl, table).var
    assert genes.index.tolist() == ["CD3D", "ENSG00000000003", "ENSG00000000004"]
    assert genes["gene_id"].tolist() == [
        "ENSG00000000001|ENSG00000000002", "ENSG00000000003", "ENSG00000000004",
    ]  # fmt: skip
    assert load_sample(ensembl, table).X.toarray().sum(axis=0).tolist() == [2, 1, 1]


def test_symbols_from_an_h5ad_of_names(tmp_path, ensembl):
    """A sample that has both kinds of names gives those that the other lacks."""
    var = pd.DataFrame({"gene_ids": [f"ENSG{i:011d}.2" for i in (3, 1)]}, index=["CD4", "CD3D"])
    both = tmp_path / "both.h5ad"
    ad.AnnData(sp.csr_matrix((1, 2), dtype=int), var=var).write_h5ad(both)
    genes = load_sample(ensembl, both).var
    assert genes.index.tolist() == ["CD3D", "ENSG00000000002", "CD4", "ENSG00000000004"]
    assert genes["gene_id"].tolist() == [f"ENSG{i:011d}" for i in range(1, 5)]
    with pytest.raises(InputError, match="expected symbols and Ensembl ids of the same genes"):
        load_sample(ensembl, ensembl["path"])


def test_numbers_that_another_tool_added_are_known_from_those_of_genes():
    names = ["A", "A-1", "A-2", "IGHV3-30", "IGHV3-30-2", "NKX2-1", "B-1", "C", "C-2", "C-01"]
    merged = ["A", "A", "A", *names[3:]]
    assert without_numbers(pd.Index(names)).tolist() == merged


def test_a_table_of_names_that_does_not_fit(tmp_path, ensembl, path):
    headless = tmp_path / "headless.csv"
    headless.write_text("ENSG00000000001,CD3D\nENSG00000000002,CD4\n")
    with pytest.raises(InputError, match="expected a csv or tsv with a header"):
        load_sample(ensembl, headless)
    table = tmp_path / "names.csv"
    table.write_text("symbol,gene_id\nCD3D,ENSG00000000001\n")
    with pytest.raises(InputError, match="'CD3D' in the first; expected a csv or tsv"):
        load_sample(ensembl, table)
    table.write_text("gene_id,symbol\nENSMUSG00000000001,Cd3d\n")
    with pytest.raises(InputError, match=r"none of its 4 Ensembl ids .* ENSMUSG00000000001"):
        load_sample(ensembl, table)
    for text, message in (
        ("", "No columns to parse"),
        ("only\none\n", "has the columns only"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=message):
            load_sample(ensembl, table)
    table.write_text("gene_id,symbol\nENSMUSG00000000001,Cd3d\n")
    # A file with symbols is left as it is.
    assert load_sample(ROW | {"path": path}, table).var_names.tolist() == ["G1", "G2"]
