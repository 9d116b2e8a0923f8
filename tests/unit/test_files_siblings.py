"""Siblings of the cases in `test_files_as_they_are.py`: where else the same rules must hold."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr
from dice_atlas.counts.genes import read_names
from dice_atlas.counts.readers import read_counts, read_obs
from dice_atlas.errors import InputError
from test_files_as_they_are import CELLS, COUNTS, IDS, SYMBOLS, G, N, cells, folder, save

KINDS = np.array(["T cell", "B cell"] * (N // 2))
TYPES = np.array(["Gene Expression"] * (G - 5) + ["Antibody Capture"] * 5)


# Text


@pytest.mark.parametrize("suffix", [".h5ad", ".h5mu"])
def test_fixed_length_text_is_text(tmp_path, suffix):
    made = cells()
    made.obs["kind"] = KINDS.astype("S10")
    path = save(made, tmp_path / f"s{suffix}")
    assert read_obs(path)["kind"].tolist() == KINDS.tolist()


def test_names_of_fixed_length_are_names(tmp_path):
    path = save(cells(), tmp_path / "s.h5ad")
    with h5py.File(path, "r+") as file:
        del file["obs/_index"]
        file["obs/_index"] = np.array(CELLS, dtype="S")
        file["obs/_index"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    assert read_counts(path).obs_names.tolist() == CELLS


@pytest.mark.parametrize("suffix", [".h5ad", ".h5mu"])
def test_categories_of_anndata_07_are_read(tmp_path, suffix):
    path = save(cells(), tmp_path / f"s{suffix}")
    with h5py.File(path, "r+") as file:
        obs = file["obs" if suffix == ".h5ad" else "mod/rna/obs"]
        del obs["kind"]
        obs["kind"] = (KINDS == "T cell").astype(np.int8)
        obs["kind"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        names = obs.create_group("__categories").create_dataset("kind", data=["B cell", "T cell"])
        names.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        obs["kind"].attrs["categories"] = names.ref
    assert read_obs(path)["kind"].astype(str).tolist() == KINDS.tolist()


# Which features


@pytest.mark.parametrize("column", ["Type", "feature.type", "type"])
def test_types_under_other_names_set_antibodies_apart(tmp_path, column):
    made = cells()
    made.var[column] = TYPES
    assert read_counts(save(made, tmp_path / "s.h5ad")).n_vars == G - 5


@pytest.mark.parametrize("where", ["raw", "var"])
def test_types_of_the_other_gene_table_count(tmp_path, where):
    made = cells()
    typed = made.copy()
    typed.var["feature_types"] = TYPES
    if where == "raw":  # counts in X, types in raw.var
        made.raw = typed
        made.raw._X = sp.csr_matrix(np.log1p(COUNTS))
    else:
        typed.raw = made
        typed.X = sp.csr_matrix(np.log1p(COUNTS))
        made = typed
    assert read_counts(save(made, tmp_path / "s.h5ad")).n_vars == G - 5


@pytest.mark.parametrize("name", ["prot", "atac"])
def test_a_single_modality_of_another_kind_is_refused(tmp_path, name):
    path = save(cells(), tmp_path / "s.h5mu")
    with h5py.File(path, "r+") as file:
        file.move("mod/rna", f"mod/{name}")
    with pytest.raises(InputError, match=f"holds the modalities {name}, expected"):
        read_counts(path)


@pytest.mark.parametrize(
    "types",
    [
        ["gene"] * 40 + ["pseudogene"] * 10 + ["ncRNA_gene"] * (G - 50),
        ["mRNA"] * 40 + ["lncRNA"] * 10 + ["protein_coding"] * (G - 50),
        ["Gene Expression"] * 40 + ["nan"] * 10 + ["NA"] * (G - 50),
    ],
)
def test_unknown_types_are_genes(tmp_path, types):
    made = cells()
    made.var["feature_type"] = types
    assert read_counts(save(made, tmp_path / "s.h5ad")).n_vars == G


# Names of genes


@pytest.mark.parametrize("names", [range(G), range(1, G + 1), range(7000, 7000 + 3 * G, 3)])
def test_symbols_come_before_numbers(tmp_path, names):
    made = cells()
    made.var["gene_name"] = SYMBOLS
    made.var_names = [str(name) for name in names]
    assert read_counts(save(made, tmp_path / "s.h5ad")).var_names.tolist() == SYMBOLS


@pytest.mark.parametrize("first", [0, 1])
def test_row_numbers_are_no_names(tmp_path, first):
    made = cells()
    made.var_names = [str(i + first) for i in range(G)]
    with pytest.raises(InputError, match="these are row numbers, expected names; write symbols"):
        read_counts(save(made, tmp_path / "s.h5ad"))


def test_words_for_nothing_are_not_one_gene(tmp_path):
    symbols = ["NA"] * 9 + SYMBOLS[9:]
    text = "".join(f"{i}\t{s}\n" for i, s in zip(IDS, symbols, strict=True))
    read = read_counts(folder(tmp_path / "f", genes=text))
    assert read.var_names.tolist() == IDS[:9] + SYMBOLS[9:]


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_transcripts_between_ids_and_symbols_are_passed_over(tmp_path, separator):
    path = tmp_path / "names.txt"
    rows = [("id", "transcript", "symbol")]
    rows += [(i, f"ENST{n:011d}", s) for n, (i, s) in enumerate(zip(IDS, SYMBOLS, strict=True))]
    path.write_text("".join(separator.join(row) + "\n" for row in rows))
    assert read_names(path).tolist() == SYMBOLS


# Which matrix


def test_a_layer_called_counts_comes_before_other_whole_numbers(tmp_path, caplog):
    ranks = COUNTS.argsort(axis=1).argsort(axis=1)
    made = cells(np.log1p(COUNTS), X_binned=ranks, original_counts=COUNTS)
    read = read_counts(save(made, tmp_path / "s.h5ad"))
    assert read.uns["decided"]["matrix"] == "layers['original_counts']"
    del made.layers["original_counts"]
    read_counts(save(made, tmp_path / "t.h5ad"))
    assert "taken from layers['X_binned'], though" in caplog.text


def test_rounded_normalised_values_are_passed_over(tmp_path, caplog):
    many = np.random.default_rng(0).poisson(2.0, (N, 2000))
    rounded = np.rint(many / many.sum(axis=1, keepdims=True) * 1e5)
    made = cells(many[:, :G])
    large = type(made)(
        sp.csr_matrix(rounded), obs=made.obs, var=pd.DataFrame(index=[f"G{i}" for i in range(2000)])
    )
    large.layers["spliced"] = sp.csr_matrix(many)
    read = read_counts(save(large, tmp_path / "s.h5ad"))
    assert read.uns["decided"]["matrix"] == "layers['spliced']"
    del large.layers["spliced"]
    read_counts(save(large, tmp_path / "t.h5ad"))
    assert "all cells have the same total" in caplog.text


# zarr folders that are not whole


def test_missing_codes_of_a_column_are_seen(tmp_path):
    path = save(cells(), tmp_path / "s.zarr")
    (path / "obs/kind/codes/0").unlink()
    with pytest.raises(InputError, match="1 of 1 blocks of /obs/kind/codes are not there"):
        read_obs(path)


def test_missing_row_starts_are_seen(tmp_path):
    path = save(cells(), tmp_path / "s.zarr")
    (path / "X/indptr/0").unlink()
    with pytest.raises(InputError, match="1 of 1 blocks of /X/indptr are not there"):
        read_counts(path)


def test_a_folder_of_shards_is_whole(tmp_path):
    path = tmp_path / "s.zarr"
    with ad.settings.override(zarr_write_format=3):
        cells().write_zarr(path)
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    values, attributes = group["X/data"][:], dict(group["X/data"].attrs)
    del group["X/data"]
    made = group.create_array(
        "X/data", shape=values.shape, chunks=(100,), shards=(500,), dtype=values.dtype
    )
    made[:] = values
    made.attrs.update(attributes)
    zarr.consolidate_metadata(path)
    assert read_counts(path).X.sum() == COUNTS.sum()
    next((path / "X/data/c").iterdir()).unlink()
    with pytest.raises(InputError, match=r"1 of \d+ blocks of /X/data are not there"):
        read_counts(path)


# What nobody needs


def write_loom(path, **columns):
    """A loom file with further attributes of the cells."""
    with h5py.File(path, "w") as file:
        file["matrix"] = COUNTS.T
        file["row_attrs/Gene"] = np.array(SYMBOLS, dtype="S")
        file["col_attrs/CellID"] = np.array(CELLS, dtype="S")
        file.create_group("layers")
        for name, values in columns.items():
            file[f"col_attrs/{name}"] = values
    return path


@pytest.mark.parametrize(
    "values", [np.array([b"caf\xe9"] * N), np.arange(3), np.array(["a"] * (N + 1), dtype="S")]
)
def test_an_attribute_that_nobody_needs_stops_no_loom(tmp_path, values):
    read = read_counts(write_loom(tmp_path / "s.loom", other=values))
    assert (read.X.toarray() == COUNTS).all()


def test_a_layer_that_points_nowhere_stops_no_h5ad(tmp_path):
    path = save(cells(), tmp_path / "s.h5ad")
    with h5py.File(path, "r+") as file:
        file.require_group("layers")["gone"] = h5py.SoftLink("/nowhere")
    assert (read_counts(path).X.toarray() == COUNTS).all()
