"""What `check` says before a run."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from dice_atlas.counts import common_genes
from dice_atlas.counts.overview import (
    AROUND_JOBS,
    MIB_PER_CELL,
    SECONDS_PER_CELL,
    START_MIB,
    START_SECONDS,
    look_at_all,
    overview,
    remarks,
)
from dice_atlas.counts.readers import look_at_counts
from dice_atlas.counts.sample import Look, load_sample, look_at_sample
from dice_atlas.counts.some_rows import runs_of, spread_rows
from dice_atlas.effort import AROUND

ROW = {
    "role": "query", "batch": "b", "labels": "", "labels_source": "", "subset": "", "suffix": "",
    "slot": "", "expression": "", "extra": {},
}  # fmt: skip


def look(name, role, genes, labels):
    """A sample with cells of these labels."""
    cells = pd.DataFrame({"sample": name, "role": role, "label": labels}, dtype=object)
    cells.index = [f"{name}_{i}" for i in range(len(labels))]
    return Look(cells, pd.Index([f"G{i}" for i in genes]), "h5ad", "X", any(labels))


@pytest.fixture
def looks():
    """Two samples: 60 labelled cells of 10 genes, and 5 cells that share 7 of their 14 genes."""
    return [
        look("r", "reference", range(10), ["B"] * 45 + ["T"] * 10 + [""] * 5),
        look("q", "query", range(3, 17), [""] * 5),
    ]


def test_each_sample_has_its_row(looks):
    table = overview(looks).table.set_index("sample")
    assert table.loc["r"].tolist() == ["reference", "h5ad", "X", 60, 10, "70%", "55 of 60"]
    assert table.loc["q"].tolist() == ["query", "h5ad", "X", 5, 14, "50%", "-"]


def test_what_may_be_wrong_is_named(looks):
    found = remarks(overview(looks))
    assert found[0] == "7 genes are in all samples."
    assert found[1].startswith("Look at r: 70% of its genes are in all samples.")
    assert found[2].startswith("Look at q: 50%")
    assert found[3] == "2 labels: B 45, T 10."
    assert found[4].endswith("coarse: T 10.")
    assert found[5].startswith("A whole run of 65 cells takes roughly 3 min of one core")
    truth = pd.Series(["T"] * 3 + ["B cell"] * 2)
    assert "lacks: B cell 2." in remarks(overview(looks, [truth]))[5]
    assert remarks(overview(looks, [truth[:3]])) == found


@pytest.mark.parametrize(
    ("preset", "genes", "end"),
    [
        (
            "kernel",
            range(2, 10),
            "1 of its 8 genes are not in all samples (G2). They are left out.",
        ),
        (
            "fast",
            range(2, 10),
            "Gibbs takes the place of the closed form: minutes per 1,000 cells.",
        ),
        (
            "kernel",
            range(20, 40),
            "(G20, G21, G22, G23, G24 ...). The run will stop: at least half",
        ),
        ("fast", range(3, 10), None),
    ],
)
def test_genes_that_a_saved_prior_needs_are_looked_for(looks, preset, genes, end):
    card = {"preset": preset, "genes": [f"G{i}" for i in genes]}
    found = [line for line in remarks(overview(looks), card) if "saved prior" in line]
    assert [end in line for line in found] == ([True] if end else [])


def test_a_saved_prior_without_a_reference_gives_no_labels(looks):
    card = {"preset": "kernel", "genes": [f"G{i}" for i in range(3, 17)]}
    told = [line for line in remarks(overview(looks[1:]), card) if "no cell gets a label" in line]
    assert told[0].startswith("Look at the labels: no reference sample has any")
    assert not [line for line in remarks(overview(looks), card) if "no cell gets" in line]
    assert not [line for line in remarks(overview(looks[1:]), card, True) if "no cell gets" in line]
    # The labels of a query are not used.
    looks[1].cells["label"] = "B"
    assert told[0] in remarks(overview(looks[1:]), card)


@pytest.mark.parametrize("label", ["unlabelled", "Unknown", "NA", "doublet", "low quality"])
def test_a_label_that_is_no_type_is_named(looks, label):
    looks[0] = look("r", "reference", range(10), ["B"] * 45 + [label] * 10)
    found = remarks(overview(looks))
    assert any(text.startswith(f"Look at {label} 10: cells of the query would") for text in found)


@pytest.mark.parametrize("cells", [10_000, 100_000])
def test_time_and_memory_are_those_of_the_benchmark(root, cells):
    table = pd.read_csv(root / f"docs/scale/{cells}.tsv", sep="\t")
    seconds = START_SECONDS + SECONDS_PER_CELL * cells
    assert seconds == pytest.approx(table["cpu_seconds"].sum(), rel=0.1)
    assert AROUND_JOBS == 40 * AROUND
    mib = START_MIB + MIB_PER_CELL * cells
    assert mib == pytest.approx(table["mib_largest"].max(), rel=0.1)


def test_rows_of_a_look_are_spread():
    assert spread_rows(500, 500) is spread_rows(9, None) is None
    rows = spread_rows(10_000, 500)
    assert len(rows) == 500
    assert (np.diff(rows) > 0).all()
    assert runs_of(rows) == [(0, 125), (3291, 3416), (6583, 6708), (9875, 10_000)]


N, GENES = 20_000, 40


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    X = sp.random(N, GENES, 0.25, "csr", random_state=0, data_rvs=lambda n: rng.poisson(3, n) + 1)
    obs = pd.DataFrame({"type": ["a", "b", "", "b"] * (N // 4)}, index=[f"c{i}" for i in range(N)])
    return ad.AnnData(
        X.astype(np.float32), obs, pd.DataFrame(index=[f"G{i}" for i in range(GENES)])
    )


@pytest.fixture
def values_read(monkeypatch):
    """Numbers that are read of each dataset of HDF5, by its name."""
    read = {}
    get = h5py.Dataset.__getitem__

    def counted(stored, *arguments):
        found = get(stored, *arguments)
        read[stored.name] = read.get(stored.name, 0) + int(np.size(found))
        return found

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    return read


def as_csr(counts, path):
    counts.layers["counts"] = counts.X
    counts.write_h5ad(path)
    return ("/X/data", "/X/indices", "/layers/counts/data"), "layers['counts']"


def as_dense(counts, path):
    ad.AnnData(counts.X.toarray(), counts.obs, counts.var).write_h5ad(path, compression="gzip")
    return ("/X",), "X"


def as_loom(counts, path):
    with h5py.File(path, "w") as file:
        file.create_dataset("matrix", data=counts.X.T.toarray(), chunks=(GENES, 500))
        file["col_attrs/CellID"] = counts.obs_names.to_numpy("S")
        file["col_attrs/type"] = counts.obs["type"].to_numpy("S")
        file["row_attrs/Gene"] = counts.var_names.to_numpy("S")
    return ("/matrix",), "matrix"


def as_tenx(counts, path):
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["shape"] = [GENES, N]
        group["barcodes"] = counts.obs_names.to_numpy("S")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(counts.X, name)
        group["features/id"] = group["features/name"] = counts.var_names.to_numpy("S")
        group["features/feature_type"] = np.full(GENES, b"Gene Expression")
    return ("/matrix/data", "/matrix/indices"), ""


@pytest.mark.parametrize("write", [as_csr, as_dense, as_loom, as_tenx])
def test_a_look_does_not_read_the_values_of_all_cells(
    counts, values_read, tmp_path, write, monkeypatch
):
    monkeypatch.setattr("dice_atlas.counts.some_rows.GAP", 1_000)
    path = tmp_path / f"a.{'loom' if write is as_loom else 'h5ad'}"
    matrices, slot = write(counts.copy(), path)
    has_obs = write is not as_tenx
    row = ROW | {"sample": "s", "path": str(path), "labels": "type" if has_obs else ""}
    row["labels_source"] = str(path) if has_obs else ""
    seen = look_at_sample(row)
    # A share of the cells; of dense ones also a first probe.
    dense = write in (as_dense, as_loom)
    most = 0.1 * N * GENES + 200_000 if dense else 0.1 * counts.X.nnz
    assert max(values_read.get(name, 0) for name in matrices) > 0
    assert all(values_read.get(name, 0) < most for name in matrices), values_read
    assert seen.slot == slot
    assert seen.cells.index.tolist() == [f"s_c{i}" for i in range(N)]
    loaded = load_sample(row)
    assert seen.genes.equals(loaded.var_names)
    assert seen.cells["label"].tolist() == loaded.obs["label"].tolist()
    assert overview([seen]).table["labels"].item() == ("15000 of 20000" if has_obs else "-")


def test_a_look_at_columns_holds_no_more_than_a_block(counts, tmp_path, monkeypatch):
    monkeypatch.setattr("dice_atlas.counts.some_rows.BLOCK", 1_000)
    largest = []
    dataset = h5py.Dataset.__getitem__

    def read(self, key, *rest):
        found = dataset(self, key, *rest)
        if self.name in ("/X/data", "/X/indices"):
            largest.append(np.size(found))
        return found

    path = tmp_path / "a.h5ad"
    some = counts[:2_000].copy()
    some.X = sp.csc_matrix(some.X)
    some.write_h5ad(path)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", read)
    looked, obs = look_at_counts(path)
    # A column has some 400 values.
    assert max(largest) <= 1_000 < some.X.nnz / 10
    assert len(obs) == 2_000
    expected = counts[looked.obs_names].X.toarray()
    np.testing.assert_array_equal(looked.X.toarray(), expected)


def test_a_look_at_a_10x_folder_reads_its_first_entries(counts, tmp_path, monkeypatch):
    monkeypatch.setattr("dice_atlas.counts.tenx.FIRST_ENTRIES", 3_000)
    some = counts[:1_000]
    scipy.io.mmwrite(tmp_path / "matrix.mtx", some.X.T.astype(int))
    (tmp_path / "barcodes.tsv").write_text("\n".join(some.obs_names) + "\n")
    (tmp_path / "genes.tsv").write_text("".join(f"{g}\t{g}\n" for g in some.var_names))
    # What is cut off is not seen; the job that reads all of it will say so.
    text = (tmp_path / "matrix.mtx").read_text().splitlines()
    (tmp_path / "matrix.mtx").write_text("\n".join(text[:5_000]) + "\nnot a number" * 5_000)
    seen = look_at_sample(ROW | {"sample": "s", "path": str(tmp_path)})
    assert (len(seen.cells), len(seen.genes), seen.kind) == (1_000, GENES, "10x mtx v2")


def test_what_cannot_be_read_is_named_for_all_samples_at_once(counts, tmp_path):
    few = counts[:50].copy()
    few.write_h5ad(tmp_path / "whole.h5ad")
    few.X = few.X / 3
    few.write_h5ad(tmp_path / "third.h5ad")
    rows = [
        ROW | {"sample": name, "path": str(tmp_path / f"{name}.h5ad"), "labels": labels}
        for name, labels in (("whole", ""), ("third", ""), ("none", ""))
    ]
    truth = {"truth": "nowhere", "truth_source": rows[0]["path"], "subset": "", "suffix": ""}
    seen = look_at_all(rows, None, {"whole": truth})
    assert seen.table["sample"].tolist() == ["whole"]
    first, second, third = seen.faults
    assert seen.table["shared genes"].tolist() == ["-"]
    assert "sample whole: " in first
    assert "no obs column 'nowhere'" in first
    assert "are not whole numbers" in second
    assert "does not exist" in third
    assert look_at_all(rows[2:], None, {}).table.empty


def test_samples_that_share_no_genes_stop_the_check(counts, tmp_path, monkeypatch):
    monkeypatch.setattr(common_genes, "MIN_COMMON", 30)
    few = counts[:50].copy()
    few.write_h5ad(tmp_path / "symbols.h5ad")
    few.var_names = [f"ENSG{i:011d}" for i in range(few.n_vars)]
    few.write_h5ad(tmp_path / "ids.h5ad")
    rows = [
        ROW | {"sample": name, "path": str(tmp_path / f"{name}.h5ad")}
        for name in ("symbols", "ids")
    ]
    (fault,) = look_at_all(rows, None, {}).faults
    assert "0 genes are common to the 2 samples" in fault
    assert "`genes: {names: human}`" in fault
    assert not look_at_all(rows[:1], None, {}).faults


def test_new_names_are_those_that_the_run_will_use(counts, tmp_path, monkeypatch):
    monkeypatch.setattr(common_genes, "MIN_COMMON", 30)
    few = counts[:60].copy()
    few.obs["type"] = ["A"] * 30 + ["B"] * 20 + ["odd"] * 10
    few.write_h5ad(tmp_path / "few.h5ad")
    row = ROW | {"path": str(tmp_path / "few.h5ad")}
    rows = [row | {"sample": "ref", "role": "reference", "labels": "type"}, row | {"sample": "q"}]
    truth = {"truth": "type", "truth_source": row["path"], "subset": "", "suffix": ""}
    seen = look_at_all(rows, None, {"q": truth}, {"A": "T", "odd": ""})
    assert seen.labels.to_dict()["T"] == 30
    assert seen.truth.value_counts().to_dict() == {"T": 30, "B": 20}
    assert not [line for line in remarks(seen) if "truth" in line or "rename" in line]
    seen = look_at_all(rows, None, {"q": truth}, {"A": "T", "Od": "B"})
    assert "Look at annotate.rename: no sample has the label or truth 'Od' (near: 'odd')." in (
        remarks(seen)
    )
    # Tables and coarser levels have labels of their own.
    assert not look_at_all(rows, None, {}, {"Od": "B"}, complete=False).unknown_renames
