"""Damaged files of counts: read, or refused with a message, without a crash or a leftover."""

import contextlib
import gzip
import shutil

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from dice_atlas.counts.sample import load_sample
from fuzzing import DAMAGES, apart, cases, damaged, listing
from hypothesis import given
from hypothesis import strategies as st

N, G = 40, 60
RNG = np.random.default_rng(7)
COUNTS = sp.csr_matrix(RNG.poisson(0.6, (N, G)).astype(np.float32))
CELLS = [f"AAACCTG{i:03d}-1" for i in range(N)]
SYMBOLS = [f"GENE{i}" for i in range(G)]
IDS = [f"ENSG{i:011d}" for i in range(G)]
ROW = {"sample": "s", "role": "reference", "subset": "", "suffix": "", "slot": "", "expression": "",
       "extra": {"site": "x"}}  # fmt: skip


def write_h5ad(path):
    obs = pd.DataFrame(
        {"kind": pd.Categorical(["a", "b"] * (N // 2)), "lane": ["x"] * N}, index=CELLS
    )
    var = pd.DataFrame({"gene_ids": IDS}, index=SYMBOLS)
    made = ad.AnnData(COUNTS.copy(), obs=obs, var=var, layers={"counts": COUNTS.copy()})
    made.raw = made.copy()
    made.write_h5ad(path)


def write_tenx(path):
    turned = COUNTS.tocsc().T.tocsc()
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name, values in {
            "data": turned.data.astype("i4"), "indices": turned.indices.astype("i8"),
            "indptr": turned.indptr.astype("i8"), "shape": np.array([G, N], "i4"),
            "barcodes": np.array(CELLS, "S"),
        }.items():  # fmt: skip
            group[name] = values
        features = group.create_group("features")
        for name, values in {
            "id": IDS, "name": SYMBOLS, "feature_type": ["Gene Expression"] * G,
        }.items():  # fmt: skip
            features[name] = np.array(values, "S")


def write_loom(path):
    with h5py.File(path, "w") as file:
        file["matrix"] = COUNTS.T.toarray()
        file["row_attrs/Gene"] = np.array(SYMBOLS, "S")
        file["col_attrs/CellID"] = np.array(CELLS, "S")
        file["col_attrs/kind"] = np.array(["a", "b"] * (N // 2), "S")
        file.create_group("layers")


def write_table(path):
    frame = pd.DataFrame(COUNTS.T.toarray().astype(int), index=SYMBOLS, columns=CELLS)
    frame.to_csv(path, index_label="gene")


HDF5 = {"a.h5ad": write_h5ad, "a.h5": write_tenx, "a.loom": write_loom}
TABLES = {"a.csv": write_table, "b.csv.gz": write_table}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a whole file of every format, the working directory of all cases."""
    folder = tmp_path_factory.mktemp("files")
    with contextlib.chdir(folder):
        for name, write in (HDF5 | TABLES).items():
            write(folder / name)
        tenx = folder / "tenx"
        tenx.mkdir()
        scipy.io.mmwrite(tenx / "matrix.mtx", COUNTS.T.astype(int))
        texts = {
            "matrix.mtx": (tenx / "matrix.mtx").read_text(),
            "barcodes.tsv": "\n".join(CELLS) + "\n",
            "features.tsv": "".join(
                f"{i}\t{s}\tGene Expression\n" for i, s in zip(IDS, SYMBOLS, strict=True)
            ),
        }
        (tenx / "matrix.mtx").unlink()
        for name, text in texts.items():
            (tenx / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        (folder / "case").mkdir()
        yield folder


def try_to_load(path, **row):
    """What the job of a sample does with a file, in a process of its own."""
    columns = {"batch": "B", "labels": "", "labels_source": "", "path": str(path), **ROW, **row}

    def load():
        sample = load_sample(columns)
        assert sample.X.min() >= 0
        assert sample.obs_names.is_unique
        assert sample.var_names.is_unique
        sample.write_h5ad("case/loaded.h5ad", convert_strings_to_categoricals=False)

    before = listing(path.parent)
    apart(load)
    (path.parent / "loaded.h5ad").unlink(missing_ok=True)
    assert listing(path.parent) == before


def test_whole_files_are_read(whole):
    for name in (*HDF5, *TABLES, "tenx"):
        loaded = load_sample({"batch": "B", "labels": "", "labels_source": "",
                              "path": str(whole / name), **ROW})  # fmt: skip
        np.testing.assert_array_equal(loaded.X.toarray(), COUNTS.toarray())


@pytest.mark.parametrize("name", HDF5)
def test_damaged_hdf5(whole, name):
    content = (whole / name).read_bytes()
    obs = {} if name == "a.h5" else {"batch": "obs:kind", "labels": "kind"}

    @cases(0.05)
    @given(DAMAGES)
    def check(damages):
        path = whole / "case" / name
        path.write_bytes(damaged(content, damages))
        try_to_load(path, **obs, **({"labels_source": str(path)} if obs else {}))
        path.unlink()

    check()


@pytest.mark.parametrize("name", TABLES)
def test_damaged_tables(whole, name):
    content = (whole / name).read_bytes()

    @cases(0.03)
    @given(DAMAGES)
    def check(damages):
        path = whole / "case" / name
        path.write_bytes(damaged(content, damages))
        try_to_load(path)
        path.unlink()

    check()


@cases(0.04)
@given(
    DAMAGES, st.sampled_from(["matrix.mtx.gz", "barcodes.tsv.gz", "features.tsv.gz"]), st.booleans()
)
def test_damaged_10x_folders(whole, damages, part, inside):
    folder = whole / "case" / "tenx"
    shutil.copytree(whole / "tenx", folder)
    content = (folder / part).read_bytes()
    # The text itself, or the gzip file around it.
    if inside:
        content = gzip.compress(damaged(gzip.decompress(content), damages))
    else:
        content = damaged(content, damages)
    (folder / part).write_bytes(content)
    try_to_load(folder)
    shutil.rmtree(folder)
