"""Files as people have them: what was read wrongly, refused, or ended in another library's error.

Each case stands for a rule (which matrix, which features, which names, what is damaged) and is
tried in every format that the rule applies to.
"""

import gzip
import logging
import os
import signal

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.io
import scipy.sparse as sp
from anndata.io import read_elem
from dice_atlas.counts import h5ad, hdf5, some_rows
from dice_atlas.counts.check import check_log1p
from dice_atlas.counts.formats import member_files
from dice_atlas.counts.genes import read_names
from dice_atlas.counts.readers import read_counts, read_obs
from dice_atlas.errors import InputError
from dice_atlas.files import sha256
from scipy.io import mmwrite
from test_readers import write_tenx_h5

N, G = 40, 60
RNG = np.random.default_rng(7)
COUNTS = RNG.poisson(0.6, (N, G)) * (1 + RNG.poisson(1.0, (N, G)))
CELLS = [f"AAACCTG{i:03d}-1" for i in range(N)]
SYMBOLS = [f"GENE{i}" for i in range(G)]
IDS = [f"ENSG{i:011d}" for i in range(G)]


def cells(X=None, **layers):
    """An AnnData of N cells, of as many genes as X has."""
    X = COUNTS if X is None else X
    obs = pd.DataFrame({"kind": ["a", "b"] * (N // 2)}, index=CELLS)
    made = ad.AnnData(sp.csr_matrix(X), obs=obs, var=pd.DataFrame(index=SYMBOLS[: X.shape[1]]))
    made.layers.update({name: sp.csr_matrix(layer) for name, layer in layers.items()})
    return made


def save(made, path):
    """In the format that the path's suffix names."""
    if path.suffix == ".zarr":
        with ad.settings.override(zarr_write_format=2):
            made.write_zarr(path)
    elif path.suffix == ".h5mu":
        made.write_h5ad(path.with_suffix(".h5ad"))
        with h5py.File(path, "w") as file, h5py.File(path.with_suffix(".h5ad")) as own:
            rna = file.create_group("mod/rna")
            for name in own:
                own.copy(name, rna)
            own.copy("obs", file)
    else:
        made.write_h5ad(path)
    return path


def folder(path, matrix=None, barcodes=None, genes=None, name="genes.tsv"):
    """A 10x folder; the texts of its files are as given."""
    path.mkdir()
    mmwrite(path / "matrix.mtx", sp.coo_matrix(COUNTS.T if matrix is None else matrix))
    (path / "barcodes.tsv").write_text(barcodes or "".join(f"{cell}\n" for cell in CELLS))
    text = "".join(f"{i}\t{s}\n" for i, s in zip(IDS, SYMBOLS, strict=True))
    (path / name).write_text(genes or text)
    return path


ANNDATA = [".h5ad", ".zarr", ".h5mu"]


# Which matrix


@pytest.mark.parametrize("suffix", ANNDATA)
@pytest.mark.parametrize(
    ("X", "chosen"),
    [
        (np.minimum(COUNTS, 1), "layers['counts']"),
        (COUNTS > 0, "layers['counts']"),
        (np.zeros_like(COUNTS), "layers['counts']"),
        (np.log1p(COUNTS), "layers['counts']"),
        (COUNTS // 2, "layers['counts']"),
        (COUNTS, "layers['counts']"),
    ],
    ids=["binary", "bool", "zero", "log", "less", "same"],
)
def test_the_best_matrix_is_taken_and_the_others_are_said(tmp_path, suffix, X, chosen):
    path = save(cells(X, counts=COUNTS), tmp_path / f"s{suffix}")
    read = read_counts(path)
    assert (read.X.toarray() == COUNTS).all()
    decided = read.uns["decided"]
    assert decided["matrix"] == chosen
    other = "X" if chosen != "X" else "layers['counts']"
    assert decided["passed_over"].startswith(f"{other}: ")


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_all_genes_of_raw_come_before_the_variable_ones(tmp_path, suffix):
    made = cells()
    made.raw = made
    path = save(made[:, :20].copy(), tmp_path / f"s{suffix}")
    read = read_counts(path)
    assert read.shape == (N, G)
    assert read.uns["decided"]["passed_over"] == "X: 20 genes, raw.X has 60"
    assert read_counts(path, slot="X").shape == (N, 20)


def test_a_layer_that_is_usually_no_count_is_taken_last(tmp_path):
    ranks = COUNTS * 50
    path = save(cells(binned=ranks), tmp_path / "s.h5ad")
    assert (read_counts(path).X.toarray() == COUNTS).all()
    assert (read_counts(path, slot="binned").X.toarray() == ranks).all()
    path = save(cells(np.log1p(COUNTS), spliced=COUNTS), tmp_path / "t.h5ad")
    assert read_counts(path).uns["decided"]["matrix"] == "layers['spliced']"


def test_a_slot_that_is_not_there_or_no_counts_is_refused(tmp_path):
    path = save(cells(np.log1p(COUNTS), counts=COUNTS), tmp_path / "s.h5ad")
    with pytest.raises(InputError, match=r"no matrix 'umi', expected one of X, layers\['counts'\]"):
        read_counts(path, slot="umi")
    with pytest.raises(InputError, match=r"in X .*log-normalised"):
        read_counts(path, slot="X")
    (tmp_path / "s.csv").write_text("gene,c1,c2\nA,1,2\n")
    with pytest.raises(InputError, match="one matrix alone"):
        read_counts(tmp_path / "s.csv", slot="X")


@pytest.mark.parametrize("values", [np.minimum(COUNTS, 1), COUNTS > 0], ids=["ones", "bool"])
def test_whether_a_gene_was_found_is_no_count(tmp_path, values):
    values = np.tile(values, (1, 2))[:, :G] | 1 if values.dtype != bool else values
    with pytest.raises(InputError, match="whether a gene was found"):
        read_counts(save(cells(values), tmp_path / "s.h5ad"))


def test_a_broken_matrix_is_passed_over(tmp_path):
    path = save(cells(counts=COUNTS), tmp_path / "s.h5ad")
    for broken in (np.ones(5), np.array(["a"] * N, dtype="S1"), np.ones((N, 3))):
        with h5py.File(path, "r+") as file:
            del file["X"]
            file["X"] = broken
        read = read_counts(path)
        assert (read.X.toarray() == COUNTS).all()
        assert "is of size" in read.uns["decided"]["passed_over"]


def test_a_layer_of_a_loom_file(tmp_path):
    path = tmp_path / "s.loom"
    with h5py.File(path, "w") as file:
        file["matrix"] = np.log1p(COUNTS.T)
        file["layers/counts"] = COUNTS.T
        file["row_attrs/Gene"] = np.array(SYMBOLS, "S")
        file["col_attrs/CellID"] = np.array(CELLS, "S")
    assert (read_counts(path).X.toarray() == COUNTS).all()
    with h5py.File(path, "r+") as file:
        del file["layers"], file["matrix"]
        file["matrix"] = COUNTS
    with pytest.raises(InputError, match="is of size 40 x 60, the attributes name 60 genes x 40"):
        read_counts(path)


# Which features are genes, and how they are called


@pytest.mark.parametrize(
    "types",
    [("Gene Expression", "Antibody Capture"), ("gene expression", "adt"), ("RNA", "CRISPR")],
)
@pytest.mark.parametrize("suffix", [*ANNDATA, ".loom", "folder"])
def test_only_genes_count_in_every_format(tmp_path, suffix, types):
    kinds = [types[i >= 50] for i in range(G)]
    if suffix == "folder":
        rows = zip(IDS, SYMBOLS, kinds, strict=True)
        genes = "".join("\t".join(row) + "\n" for row in rows)
        path = folder(tmp_path / "s", genes=genes, name="features.tsv")
    elif suffix == ".loom":
        path = tmp_path / "s.loom"
        with h5py.File(path, "w") as file:
            file["matrix"] = COUNTS.T
            file["row_attrs/Gene"] = np.array(SYMBOLS, "S")
            file["row_attrs/feature_types"] = np.array(kinds, "S")
            file["col_attrs/CellID"] = np.array(CELLS, "S")
    else:
        made = cells()
        made.var["feature_types"] = kinds
        path = save(made, tmp_path / f"s{suffix}")
    read = read_counts(path)
    assert (read.X.toarray() == COUNTS[:, :50]).all()
    assert read.uns["decided"]["set_apart"] == f"{types[1]!r} (10)"


def test_biotypes_are_no_types_of_features(tmp_path):
    made = cells()
    made.var["feature_type"] = ["protein_coding", "lncRNA"] * 30  # CELLxGENE's
    assert read_counts(save(made, tmp_path / "s.h5ad")).n_vars == G
    genes = "".join(f"{i}\t{s}\tNA\n" for i, s in zip(IDS, SYMBOLS, strict=True))
    assert read_counts(folder(tmp_path / "odd", genes=genes)).n_vars == G
    arc = "".join(
        f"{i}\t{s}\tGene Expression\tchr1\t1\t9\t+\n" for i, s in zip(IDS, SYMBOLS, strict=True)
    )
    assert read_counts(folder(tmp_path / "arc", genes=arc)).n_vars == G


@pytest.mark.parametrize("name", ["__no_feature", "N_unmapped", "TOTAL", "no_feature"])
def test_counters_below_the_genes_are_left_out(tmp_path, name, caplog):
    made = cells()
    made.var_names = [*SYMBOLS[:-1], name]
    table = made.to_df().T
    table.to_csv(tmp_path / "t.csv")
    genes = "".join(f"{gene}\n" for gene in made.var_names)
    paths = [
        save(made, tmp_path / "s.h5ad"), tmp_path / "t.csv", folder(tmp_path / "f", genes=genes)
    ]  # fmt: skip
    for path in paths:
        caplog.clear()
        read = read_counts(path)
        assert (read.X.toarray() == COUNTS[:, :-1]).all()
        assert read.uns["decided"]["left_out"] == f"rows {name}"
        assert name in caplog.text


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.parametrize("side", ["raw", "var"])
def test_either_table_of_genes_gives_names_to_the_other(tmp_path, suffix, side):
    made = cells()
    full = made.copy()
    full.var_names = IDS
    if side == "raw":  # the symbols are in var alone
        full.raw = full
        full.var["feature_name"] = SYMBOLS
        full.X = np.log1p(full.X)
        expected = SYMBOLS
    else:  # the symbols are in raw.var alone, and the counts are in X
        full.var["gene_symbols"] = SYMBOLS
        full.raw = full[:, :30]
        del full.var["gene_symbols"]
        expected = [*SYMBOLS[:30], *IDS[30:]]
    read = read_counts(save(full, tmp_path / f"s{suffix}"))
    assert read.var_names.tolist() == expected
    assert read.var["gene_id"].tolist() == IDS


def test_symbols_in_the_index_find_their_ids_in_the_other_table(tmp_path):
    made = cells()
    made.raw = made
    made = made[:, :30].copy()
    made.var["gene_ids"] = IDS[:30]
    read = read_counts(save(made, tmp_path / "s.h5ad"))
    assert read.shape == (N, G)
    assert read.var["gene_id"].tolist() == [*IDS[:30], *[""] * 30]


# Tables


def as_table(columns, separator="\t"):
    frame = pd.DataFrame(COUNTS.T, index=SYMBOLS, columns=CELLS)
    return frame.assign(**columns).to_csv(sep=separator)


@pytest.mark.parametrize("name", ["length", "Start", "entrez_id"])
def test_a_column_about_the_genes_is_named(tmp_path, name):
    (tmp_path / "s.tsv").write_text(as_table({name: np.arange(G)}))
    with pytest.raises(InputError, match=f"{name}: seen among the names of the cells"):
        read_counts(tmp_path / "s.tsv")


def test_a_column_that_no_cell_could_be_is_named(tmp_path):
    (tmp_path / "s.tsv").write_text(as_table({"len_bp": 900 + np.arange(G)}))
    with pytest.raises(InputError, match=r"column\(s\) len_bp have a value for nearly every gene"):
        read_counts(tmp_path / "s.tsv")
    (tmp_path / "t.tsv").write_text(as_table({"about": ["text"] * G}))
    with pytest.raises(InputError, match=r"text in the column\(s\) about \('text'\)"):
        read_counts(tmp_path / "t.tsv")


def test_feature_counts_tables_are_read(tmp_path):
    frame = pd.DataFrame(COUNTS.T, columns=CELLS)
    names = ("Geneid", "Chr", "Start", "End", "Strand", "Length")
    about = (SYMBOLS, "chr1;chr1", "1;9", "5;20", "+;+", 17)
    for at, (name, values) in enumerate(zip(names, about, strict=True)):
        frame.insert(at, name, values)
    text = '# Program:featureCounts v2.0.1; Command:"featureCounts" "-a" "x.gtf"\n'
    (tmp_path / "s.txt").write_text(text + frame.to_csv(sep="\t", index=False))
    read = read_counts(tmp_path / "s.txt")
    assert (read.X.toarray() == COUNTS).all()
    assert read.obs_names.tolist() == CELLS
    assert "Length" in read.uns["decided"]["left_out"]


@pytest.mark.parametrize(
    ("name", "separator"), [("s.csv", ";"), ("s.txt", " "), ("s.tsv", ","), ("s.csv", "\t")]
)
def test_other_separators_are_read(tmp_path, name, separator):
    (tmp_path / name).write_text(as_table({}, separator))
    assert (read_counts(tmp_path / name).X.toarray() == COUNTS).all()


def test_a_spreadsheets_empty_columns_are_nothing(tmp_path):
    text = "".join(f"{line},,,\n" for line in as_table({}, ",").splitlines())
    (tmp_path / "s.csv").write_text(text)
    assert (read_counts(tmp_path / "s.csv").X.toarray() == COUNTS).all()


@pytest.mark.parametrize("number", ["1,0", "1,234", "1.234,0"])
def test_numbers_with_commas_are_refused_with_what_to_do(tmp_path, number):
    (tmp_path / "s.csv").write_text(f"gene;c1;c2\nA;{number};2\n")
    with pytest.raises(InputError, match=r"numbers with a comma .*without decimal or thousands"):
        read_counts(tmp_path / "s.csv")


def test_a_last_line_without_an_end_is_said(tmp_path, caplog):
    (tmp_path / "s.csv").write_text("gene,c1,c2\nA,1,2\nB,1,3")
    assert read_counts(tmp_path / "s.csv").n_vars == 2
    assert "is the file whole?" in caplog.text


# 10x folders as R and others write them


def test_quoted_files_of_r(tmp_path):
    barcodes = '"x"\n' + "".join(f'"{i + 1}" "{cell}"\n' for i, cell in enumerate(CELLS))
    genes = '"V1"\t"V2"\n' + "".join(
        f'"{i + 1}"\t"{gene}"\t"{name}"\n'
        for i, (gene, name) in enumerate(zip(IDS, SYMBOLS, strict=True))
    )
    read = read_counts(folder(tmp_path / "s", barcodes=barcodes, genes=genes))
    assert read.obs_names.tolist() == CELLS
    assert read.var_names.tolist() == SYMBOLS
    assert (read.X.toarray() == COUNTS).all()


def test_ragged_features_are_refused(tmp_path):
    rows = [f"{i}\t{s}\tGene Expression\n" for i, s in zip(IDS, SYMBOLS, strict=True)]
    rows[30] = rows[30].replace("\tGene Expression", "")
    with pytest.raises(InputError, match=r"line 31 has 2 fields and line 2 3"):
        read_counts(folder(tmp_path / "s", genes="".join(rows), name="features.tsv"))


@pytest.mark.parametrize("zipped", [False, True])
def test_a_header_that_claims_too_much_is_refused(tmp_path, zipped):
    path = folder(tmp_path / "s")
    text = f"%%MatrixMarket matrix coordinate integer general\n{G} {N} 4000000000\n1 1 3\n"
    if zipped:
        (path / "matrix.mtx").unlink()
        (path / "matrix.mtx.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (path / "matrix.mtx").write_text(text)
    with pytest.raises(InputError, match="claims 4,000,000,000 values"):
        read_counts(path)


def test_names_of_genes_may_be_gzipped(tmp_path):
    text = "id\tsymbol\nENSG00000000001\tCD3D\n"
    (tmp_path / "n.tsv.gz").write_bytes(gzip.compress(text.encode()))
    assert read_names(tmp_path / "n.tsv.gz").to_dict() == {"ENSG00000000001": "CD3D"}


@pytest.mark.parametrize("v3", [False, True])
def test_tenx_h5_is_read_as_scanpy_reads_it(tmp_path, v3):
    path = write_tenx_h5(tmp_path / "s.h5", COUNTS[:4, :6], v3)
    read, expected = read_counts(path), sc.read_10x_h5(path)
    shared = expected.var_names.isin(["CD3D", "MT-CO1", "ACTB"])
    assert read.obs_names.tolist() == expected.obs_names.tolist()
    assert (read.X.toarray()[:, :3] == expected.X.toarray()[:, shared]).all()


# Damaged and hostile files


def tamper(path, key, change):
    """Replace a dataset by `change` of its values."""
    with h5py.File(path, "r+") as file:
        values = file[key][:]
        del file[key]
        file[key] = change(values)
    return path


def out_of_range(values):
    values[3] = 10_000_000
    return values


def negative(values):
    values[3] = -5
    return values


def falling(values):
    values[1], values[2] = values[2], values[1] + 1000
    return values


@pytest.mark.parametrize("name", ["s.h5ad", "s.zarr", "s.h5mu", "csc.h5ad"])
@pytest.mark.parametrize("block", [1, 40, 10_000])
def test_a_subset_is_read_without_the_rest(tmp_path, monkeypatch, name, block):
    """A sample may be a few cells of a file of millions."""
    made = cells()
    rng = np.random.default_rng(3)
    made.obs["donor"] = rng.choice(["x", "y", "z"], N)
    made.obs.loc[made.obs_names[-1], "donor"] = "last"
    if name == "csc.h5ad":
        made.X = sp.csc_matrix(made.X)
    path = save(made, tmp_path / name)
    monkeypatch.setattr(some_rows, "BLOCK", block)

    def whole(stored, *arguments):
        assert "indptr" not in stored, "the matrix was read as a whole"
        return read_elem(stored, *arguments)

    monkeypatch.setattr(h5ad, "read_elem", whole)
    for donors in ("x", "y|last", "last", "x|y|z|last"):
        found = read_counts(path, f"donor={donors}")
        own = made.obs["donor"].isin(donors.split("|")).to_numpy()
        assert found.obs_names.tolist() == made.obs_names[own].tolist()
        np.testing.assert_array_equal(found.X.toarray(), COUNTS[own])


@pytest.mark.parametrize("subset", ["", "kind=a"])
@pytest.mark.parametrize("name", ["s.h5ad", "s.h5mu", "csc.h5ad", "s.h5"])
@pytest.mark.parametrize(
    ("array", "change"),
    [
        ("indices", out_of_range), ("indices", negative), ("indptr", falling),
        ("indptr", lambda v: v[:-2]), ("data", lambda v: v[:-1]), ("data", lambda v: v.astype("S")),
    ],
    ids=["range", "negative", "falling", "short", "fewer", "text"],
)  # fmt: skip
def test_a_sparse_matrix_that_is_none_is_refused(tmp_path, name, array, change, subset):
    path = tmp_path / name
    if subset and name == "s.h5":
        pytest.skip("a 10x file has no columns of cells")
    if name == "s.h5":
        write_tenx_h5(path, COUNTS[:4, :6], True)
        where = "matrix"
    else:
        made = cells()
        made.X = sp.csc_matrix(made.X) if name == "csc.h5ad" else made.X
        save(made, path)
        where = "mod/rna/X" if path.suffix == ".h5mu" else "X"
    with pytest.raises(InputError, match=f"{name}"):
        read_counts(tamper(path, f"{where}/{array}", change), subset)


def test_other_damage_of_h5ad_ends_in_one_sentence(tmp_path):
    def of(change):
        path = save(cells(), tmp_path / "s.h5ad")
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(InputError) as error:
            read_counts(path)
        assert str(path) in str(error.value)
        assert "Traceback" not in str(error.value)

    of(lambda file: file["X"].attrs.update(shape=(N, 10 * G)))
    of(lambda file: file["X"].attrs.update({"encoding-type": "unheard_of"}))
    of(lambda file: file.__delitem__("var"))
    of(lambda file: file["var"].attrs.__delitem__("_index"))
    of(lambda file: file["obs"].__delitem__("_index"))


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_folder_that_is_not_whole(tmp_path, version, caplog):
    def stored(name, made):
        with ad.settings.override(zarr_write_format=version):
            made.write_zarr(tmp_path / name)
        return tmp_path / name

    def chunk(folder):
        return next(p for p in sorted(folder.rglob("*")) if p.is_file() and p.name[-1].isdigit())

    path = stored("sparse.zarr", cells())
    before = sha256(path)
    meta = path / "obs" / (".zattrs" if version == 2 else "zarr.json")
    assert {str(meta), str(chunk(path / "X/data"))} <= set(member_files(str(path)))
    meta.write_text(meta.read_text() + " ")
    assert sha256(path) != before
    chunk(path / "X/data").unlink()
    with pytest.raises(InputError, match=r"1 of 1 blocks of /X/data are not there"):
        read_counts(path)
    whole = stored("other.zarr", cells())
    (whole / (".zmetadata" if version == 2 else "zarr.json")).write_text("no JSON")
    with pytest.raises(InputError, match="cannot be read"):
        read_counts(whole)
    dense = cells()
    dense.X = dense.X.toarray()
    path = stored("dense.zarr", dense)
    chunk(path / "X").unlink()
    with pytest.raises(InputError, match="every value is zero"):
        read_counts(path)
    assert "taken as zeros" in caplog.text


def test_a_column_that_nobody_needs_is_not_read(tmp_path):
    path = save(cells(), tmp_path / "s.h5ad")
    with h5py.File(path, "r+") as file:
        file["obs/odd"] = np.arange(3)
        file["obs/odd"].attrs["encoding-type"] = "unheard_of"
        order = [*file["obs"].attrs["column-order"], "odd", "_index"]
        file["obs"].attrs["column-order"] = order
    assert read_counts(path, columns={"kind"}).obs["kind"].tolist()[:2] == ["a", "b"]
    assert read_obs(path, {"kind"}).columns.tolist() == ["kind"]
    with pytest.raises(InputError, match="cannot be read"):
        read_counts(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_nul_in_text_is_refused(tmp_path, zipped):
    path = folder(tmp_path / "s")
    table = as_table({}, ",").replace("GENE7,", "GENE\0,").encode()
    matrix = (path / "matrix.mtx").read_bytes()
    matrix = matrix[:-60] + bytes(20) + matrix[-40:]
    end, pack = (".gz", gzip.compress) if zipped else ("", bytes)
    (path / "matrix.mtx").unlink()
    (path / f"matrix.mtx{end}").write_bytes(pack(matrix))
    (tmp_path / f"s.csv{end}").write_bytes(pack(table))
    for source in (path, tmp_path / f"s.csv{end}"):
        with pytest.raises(InputError, match="a NUL byte stands in the text"):
            read_counts(source)


@pytest.mark.parametrize("end", ["crash", "hang"])
def test_a_file_on_which_the_library_fails_is_refused(tmp_path, monkeypatch, end):
    def failing(path):
        os.kill(os.getpid(), signal.SIGSEGV if end == "crash" else signal.SIGSTOP)

    monkeypatch.setattr(hdf5, "read_structure", failing)
    monkeypatch.setattr(hdf5, "PATIENCE", 0.2)
    path = save(cells(), tmp_path / "s.h5ad")
    with pytest.raises(InputError, match="never ends" if end == "hang" else "crashes"):
        read_counts(path)


def test_values_of_other_files_are_refused(tmp_path):
    save(cells(), tmp_path / "other.h5ad")
    (tmp_path / "secret.txt").write_bytes(b"a" * 8 * N * G)
    path = save(cells(), tmp_path / "s.h5ad")
    with h5py.File(path, "r+") as file:
        file["layers/secret"] = h5py.ExternalLink("other.h5ad", "/X")
    with pytest.raises(InputError, match="layers/secret lies in another file"):
        read_counts(path)
    with h5py.File(path, "r+") as file:
        del file["layers/secret"], file["X"]
        outer = [(os.fspath(tmp_path / "secret.txt"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("X", (N, G), "i8", external=outer)
    with pytest.raises(InputError, match="/X lies in another file"):
        read_counts(path)


def test_an_array_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    path = save(cells(), tmp_path / "s.h5ad")
    with h5py.File(path, "r+") as file:
        for name in ("data", "indices"):
            del file[f"X/{name}"]
            file.create_dataset(f"X/{name}", (2_000_000_000,), "i4", chunks=(1 << 16,))
    with pytest.raises(InputError, match="claims 2,000,000,000 values"):
        read_counts(path)


@pytest.mark.parametrize("name", ["AAA\tC", "AAA\x07C", "AAA\u202eC"])
def test_control_characters_in_names_are_refused(tmp_path, name):
    made = cells()
    made.obs_names = [name, *CELLS[1:]]
    with pytest.raises(InputError, match=r"the barcode .* has a control character"):
        read_counts(save(made, tmp_path / "s.zarr"))
    lines = as_table({}, ",").replace("GENE7,", f"{name},")
    (tmp_path / "s.csv").write_text(lines)
    with pytest.raises(InputError, match=r"control character|cannot be read"):
        read_counts(tmp_path / "s.csv")


# Log-normalised expression


def test_log_values_are_read_as_such(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    made = cells()
    made.X = made.X.astype(np.float32)
    sc.pp.normalize_total(made, target_sum=1e4)
    sc.pp.log1p(made)
    read = read_counts(save(made, tmp_path / "s.h5ad"), expression="log1p")
    np.testing.assert_allclose(np.log1p(read.X.toarray()), made.X.toarray(), rtol=1e-5)
    assert read.X.dtype == np.float32
    with pytest.raises(InputError, match="all values are whole numbers: these are counts"):
        read_counts(save(cells(), tmp_path / "c.h5ad"), expression="log1p")


@pytest.mark.parametrize(
    ("value", "message"), [(-1.5, "negative"), (np.nan, "missing"), (80.5, "no logarithm")]
)
def test_other_values_are_no_logarithms(value, message):
    values = np.log1p(COUNTS)
    values[2, 3] = value
    with pytest.raises(InputError, match=message):
        check_log1p(values, "s")
    with pytest.raises(InputError, match="0 values above 0"):
        check_log1p(np.zeros((3, 4)), "s")


def test_scipy_is_used_as_documented(tmp_path):
    """`mminfo` reads the header alone."""
    mmwrite(tmp_path / "a.mtx", sp.coo_matrix(COUNTS))
    assert scipy.io.mminfo(tmp_path / "a.mtx")[:3] == (N, G, np.count_nonzero(COUNTS))
