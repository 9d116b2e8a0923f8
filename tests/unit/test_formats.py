"""Every format of count files ends in the same counts; the table of formats says what holds."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr
from dice_atlas.counts.formats import FORMATS, has_obs_columns, member_files
from dice_atlas.counts.readers import read_counts, read_obs, recognise
from dice_atlas.errors import InputError
from dice_atlas.registry import load


@pytest.fixture
def cells():
    """30 cells x 12 genes with a column of types."""
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(1.0, (30, 12)), dtype=np.int32)
    obs = pd.DataFrame({"kind": np.repeat(["a", "b", "c"], 10)}, index=[f"c{i}" for i in range(30)])
    return ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(12)]))


def same(found, cells):
    assert found.obs_names.tolist() == cells.obs_names.tolist()
    assert found.var_names.tolist() == cells.var_names.tolist()
    assert found.X.dtype == np.int32
    assert (found.X.toarray() == np.asarray(cells.to_df())).all()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dense", [False, True])
def test_zarr_gives_what_h5ad_gives(cells, version, dense, tmp_path):
    stored = cells.copy()
    if dense:
        stored.X = stored.X.toarray()
    stored.layers["counts"] = stored.X.copy()
    stored.X = stored.X * 0.5  # the counts are not in X
    with ad.settings.override(zarr_write_format=version):
        stored.write_zarr(tmp_path / "s.zarr")
    stored.write_h5ad(tmp_path / "s.h5ad")
    for name in ("s.zarr", "s.h5ad"):
        same(read_counts(tmp_path / name), cells)
        assert "layers['counts']" in read_counts(tmp_path / name).uns["format"]
        same(read_counts(tmp_path / name, "kind=b|c"), cells[10:])
        assert read_obs(tmp_path / name)["kind"].astype(str).tolist() == list(cells.obs["kind"])


def test_a_zarr_folder_without_cells_is_refused(tmp_path):
    zarr.open_group(tmp_path / "empty.zarr", mode="w")
    with pytest.raises(InputError, match="without obs and var"):
        read_counts(tmp_path / "empty.zarr")


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_antibodies_are_no_genes_in_any_format(cells, suffix, tmp_path):
    cells.var["feature_types"] = ["Antibody Capture"] * 3 + ["Gene Expression"] * 8 + [""]
    path = tmp_path / f"s{suffix}"
    (cells.write_zarr if suffix == ".zarr" else cells.write_h5ad)(path)
    same(read_counts(path), cells[:, 3:])
    cells.var["feature_types"] = "Antibody Capture"
    path = tmp_path / f"t{suffix}"
    (cells.write_zarr if suffix == ".zarr" else cells.write_h5ad)(path)
    with pytest.raises(InputError, match="no feature of type 'Gene Expression'"):
        read_counts(path)


@pytest.mark.parametrize("dtype", ["float16", ">i4", ">f8", "uint8", "int64"])
def test_any_numeric_type_is_read(cells, dtype, tmp_path):
    stored = cells.copy()
    stored.X = stored.X.toarray().astype(dtype)
    stored.write_h5ad(tmp_path / "s.h5ad")
    same(read_counts(tmp_path / "s.h5ad"), cells)


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_the_table_of_formats_holds(kind):
    for reference in (kind.recognise, kind.reader, *filter(None, [kind.obs_reader])):
        assert callable(load(reference))
    for suffix in kind.suffixes:
        assert has_obs_columns(f"/some/FILE{suffix.upper()}") == kind.has_obs


def test_a_missing_file_and_the_parts_of_a_folder(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        recognise(tmp_path / "none.h5ad")
    for name in ("GSM1_matrix.mtx.gz", "GSM1_barcodes.tsv.gz", "notes.pdf"):
        (tmp_path / name).touch()
    found = [Path(path).name for path in member_files(str(tmp_path))]
    assert found == ["GSM1_barcodes.tsv.gz", "GSM1_matrix.mtx.gz"]
    assert member_files(str(tmp_path / "s.h5ad")) == [str(tmp_path / "s.h5ad")]
