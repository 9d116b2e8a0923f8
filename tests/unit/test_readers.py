"""read_counts: every format, written by other tools, gives the same counts back."""

import gzip
import shutil

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.io
import scipy.sparse as sp
from dice_atlas.counts.genes import read_names
from dice_atlas.counts.labels import read_label_table
from dice_atlas.counts.readers import read_counts, read_obs, recognise
from dice_atlas.errors import InputError

SYMBOLS = ["CD3D", "MT-CO1", "ACTB", "TBCE", "TBCE", "NA"]
IDS = [f"ENSG{i:011d}" for i in range(1, 7)]
BARCODES = ["AAACATACAACCAC-1", "AAACATTGAGCTAC-1", "AAACATTGATCAGC-1", "AAACCGTGCTTCCG-1"]
# As another tool made the names unique.
NUMBERED = ["CD3D", "MT-CO1", "ACTB", "TBCE", "TBCE-1", "NA"]


@pytest.fixture
def counts():
    """Cells x genes."""
    dense = np.random.default_rng(3).poisson(0.8, (4, 6))
    dense[0, 0] = 300
    return dense


def write_mtx(folder, counts, genes_name, columns, gz, prefix=""):
    folder.mkdir()
    opener = gzip.open if gz else open
    end = ".gz" if gz else ""
    with opener(folder / f"{prefix}matrix.mtx{end}", "wb") as stream:
        scipy.io.mmwrite(stream, sp.coo_matrix(counts.T))
    with opener(folder / f"{prefix}{genes_name}{end}", "wt") as stream:
        stream.writelines("\t".join(row) + "\n" for row in zip(*columns, strict=True))
    with opener(folder / f"{prefix}barcodes.tsv{end}", "wt") as stream:
        stream.writelines(f"{name}\n" for name in BARCODES[: len(counts)])
    return folder


def check(read, counts, names=SYMBOLS, ids=IDS, barcodes=BARCODES):
    """Genes of the same name, the fourth and fifth, are added up."""
    if names[3:5] == ["TBCE", "TBCE"]:
        counts = np.hstack(
            [counts[:, :3], counts[:, 3:5].sum(axis=1, keepdims=True), counts[:, 5:]]
        )
        names = [*names[:4], *names[5:]]
        ids = [*ids[:3], "|".join(ids[3:5]).strip("|"), *ids[5:]]
    assert sp.issparse(read.X)
    assert read.X.format == "csr"
    assert read.X.dtype == np.int32
    np.testing.assert_array_equal(read.X.toarray(), counts)
    assert read.obs_names.tolist() == barcodes
    assert read.var_names.tolist() == names
    assert read.var["gene_id"].tolist() == ids


EXPRESSION = ["Gene Expression"] * 6


@pytest.mark.parametrize("gz", [True, False])
@pytest.mark.parametrize(
    ("name", "columns", "version"),
    [
        ("genes.tsv", (IDS, SYMBOLS), "10x mtx v2"),
        ("features.tsv", (IDS, SYMBOLS, EXPRESSION), "10x mtx v3"),
    ],
)
def test_mtx_folder(tmp_path, counts, gz, name, columns, version):
    read = read_counts(write_mtx(tmp_path / "s", counts, name, columns, gz))
    check(read, counts)
    assert read.uns["format"] == version


def test_mtx_folder_agrees_with_scanpy(tmp_path, counts):
    folder = write_mtx(
        tmp_path / "s", counts, "features.tsv", (IDS, [*SYMBOLS[:5], "CD4"], EXPRESSION), True
    )
    expected = sc.read_10x_mtx(folder)
    read = read_counts(folder)
    assert expected.var_names.tolist() == [*NUMBERED[:5], "CD4"]
    check(read, expected.X.toarray(), [*SYMBOLS[:5], "CD4"], expected.var["gene_ids"].tolist())


def test_the_same_genes_in_another_order_have_the_same_names(tmp_path, counts):
    order = [0, 1, 2, 4, 3, 5]
    columns = [[column[i] for i in order] for column in (IDS, SYMBOLS, EXPRESSION)]
    folder = write_mtx(tmp_path / "s", counts[:, order], "features.tsv", columns, True)
    read = read_counts(folder)
    check(read, counts)
    # Names that another tool made unique in that order.
    atlas(counts)[:, order].write_h5ad(tmp_path / "x.h5ad")
    turned = ad.read_h5ad(tmp_path / "x.h5ad")
    turned.var_names = NUMBERED
    turned.write_h5ad(tmp_path / "x.h5ad")
    check(read_counts(tmp_path / "x.h5ad"), counts)


def test_mtx_folder_with_a_geo_prefix(tmp_path, counts):
    folder = write_mtx(tmp_path / "s", counts, "genes.tsv", (IDS, SYMBOLS), True, "GSM1_a_")
    check(read_counts(folder), counts)


def test_mtx_folder_keeps_gene_expression_only(tmp_path, counts):
    kinds = ["Gene Expression"] * 3 + ["Antibody Capture"] * 2 + ["Gene Expression"]
    folder = write_mtx(tmp_path / "s", counts, "features.tsv", (IDS, SYMBOLS, kinds), True)
    keep = [0, 1, 2, 5]
    check(read_counts(folder), counts[:, keep], [SYMBOLS[i] for i in keep], [IDS[i] for i in keep])


def test_mtx_folder_errors(tmp_path, counts):
    with pytest.raises(InputError, match=r"no matrix.mtx"):
        read_counts(tmp_path)
    folder = write_mtx(tmp_path / "a", counts, "genes.tsv", (IDS, SYMBOLS), False)
    with pytest.raises(InputError, match=r"one file of a 10x folder.*/a"):
        read_counts(folder / "matrix.mtx")
    scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(counts))
    with pytest.raises(InputError, match=r"4 x 6, expected 6 genes.*transpose"):
        read_counts(folder)
    (folder / "matrix.mtx").write_text("cut off")
    with pytest.raises(InputError, match=r"cannot be read.*expected a Matrix Market file"):
        read_counts(folder)
    (folder / "barcodes.tsv").unlink()
    with pytest.raises(InputError, match=r"no barcodes.tsv"):
        read_counts(folder)
    peaks = write_mtx(tmp_path / "b", counts, "features.tsv", (IDS, SYMBOLS, ["Peaks"] * 6), True)
    with pytest.raises(InputError, match=r"no feature of type 'Gene Expression'.*'Peaks' \(6\)"):
        read_counts(peaks)


def write_tenx_h5(path, counts, v3):
    matrix = sp.csc_matrix(counts.T)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if v3 else "GRCh38")
        group["shape"] = np.array(matrix.shape, dtype=np.int32)
        group["data"] = matrix.data.astype(np.int32)
        group["indices"], group["indptr"] = matrix.indices, matrix.indptr
        group["barcodes"] = np.array(BARCODES, dtype="S")
        if v3:
            features = group.create_group("features")
            features["id"], features["name"] = np.array(IDS, "S"), np.array(SYMBOLS, "S")
            features["feature_type"] = np.array([*EXPRESSION[:5], "Antibody Capture"], "S")
            features["genome"] = np.array(["GRCh38"] * 6, "S")
        else:
            group["genes"], group["gene_names"] = np.array(IDS, "S"), np.array(SYMBOLS, "S")
    return path


def test_tenx_h5(tmp_path, counts):
    check(read_counts(write_tenx_h5(tmp_path / "v2.h5", counts, False)), counts)
    read = read_counts(write_tenx_h5(tmp_path / "v3.h5", counts, True))
    check(read, counts[:, :5], SYMBOLS[:5], IDS[:5])
    assert read.uns["format"] == "10x h5 v3"


def atlas(X, index=BARCODES):
    obs = pd.DataFrame({"donor": ["a", "a", "b", "b"]}, index=index)
    var = pd.DataFrame({"gene_ids": IDS}, index=NUMBERED)
    return ad.AnnData(X, obs=obs, var=var)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_h5ad_slots(tmp_path, counts, kind):
    plain = atlas(kind(counts.astype(np.float32)))
    plain.write_h5ad(tmp_path / "x.h5ad")
    read = read_counts(tmp_path / "x.h5ad")
    check(read, counts)
    assert read.uns["format"] == "h5ad X"
    assert read.obs["donor"].tolist() == ["a", "a", "b", "b"]

    logged = np.log1p(counts.astype(np.float32))
    layered = atlas(kind(logged))
    layered.layers["counts"] = kind(counts)
    layered.write_h5ad(tmp_path / "layer.h5ad")
    read = read_counts(tmp_path / "layer.h5ad")
    check(read, counts)
    assert read.uns["format"] == "h5ad layers['counts']"

    raw = atlas(kind(counts.astype(np.float32)))
    raw.raw = raw
    raw = raw[:, :3].copy()
    raw.X = kind(logged[:, :3])
    raw.write_h5ad(tmp_path / "raw.h5ad")
    read = read_counts(tmp_path / "raw.h5ad")
    check(read, counts)
    assert read.uns["format"] == "h5ad raw.X"

    del layered.layers["counts"]
    layered.write_h5ad(tmp_path / "none.h5ad")
    with pytest.raises(InputError, match=r"no raw counts.*in X .*probably log-normalised"):
        read_counts(tmp_path / "none.h5ad")


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_h5ad_subset_is_what_must_be_raw(tmp_path, counts, kind):
    mixed = counts.astype(float)
    mixed[:2] *= 1.1
    atlas(kind(mixed)).write_h5ad(tmp_path / "mixed.h5ad")
    check(read_counts(tmp_path / "mixed.h5ad", "donor=b"), counts[2:], barcodes=BARCODES[2:])
    for subset in ("", "donor=a"):
        with pytest.raises(InputError, match="no raw counts"):
            read_counts(tmp_path / "mixed.h5ad", subset)


def test_h5ad_named_by_ensembl_id(tmp_path, counts):
    adata = ad.AnnData(
        sp.csr_matrix(counts),
        obs=pd.DataFrame(index=BARCODES),
        var=pd.DataFrame({"feature_name": pd.Categorical(SYMBOLS)}, index=IDS),
    )
    adata.write_h5ad(tmp_path / "a.h5ad")
    check(read_counts(tmp_path / "a.h5ad"), counts)
    del adata.var["feature_name"]
    adata.write_h5ad(tmp_path / "b.h5ad")
    check(read_counts(tmp_path / "b.h5ad"), counts, names=IDS)


@pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning")
def test_h5ad_of_an_old_anndata_is_read(tmp_path):
    # scanpy's own file dates from before anndata 0.7; its X is scaled, its raw.X logged.
    source = next((sc.datasets._datasets.HERE).glob("*pbmc68k_reduced.h5ad"))
    with pytest.raises(InputError, match=r"in X .*negative.*; in raw.X .*log-normalised"):
        read_counts(source)
    assert read_obs(source)["bulk_labels"].nunique() == 10


def test_repeated_barcode_is_an_error(tmp_path, counts):
    twice = [BARCODES[0], *BARCODES[:3]]
    with pytest.warns(UserWarning, match="not unique"):
        adata = atlas(counts, twice)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(InputError, match=rf"stand more than once \(such as '{BARCODES[0]}'"):
        read_counts(tmp_path / "a.h5ad")
    check(read_counts(tmp_path / "a.h5ad", "donor=b"), counts[2:], barcodes=BARCODES[1:3])


def test_loom(tmp_path, counts):
    loompy = pytest.importorskip("loompy")
    path = tmp_path / "a.loom"
    loompy.create(
        str(path),
        counts.T.astype(np.float32),
        {"Gene": np.array(SYMBOLS), "Accession": np.array(IDS)},
        {"CellID": np.array(BARCODES), "donor": np.array([1, 1, 2, 2])},
    )
    read = read_counts(path)
    check(read, counts)
    assert read.obs["donor"].tolist() == [1, 1, 2, 2]
    assert read_obs(path)["donor"].tolist() == [1, 1, 2, 2]
    check(read_counts(path, "donor=2"), counts[2:], barcodes=BARCODES[2:])


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.tsv.gz", "a.txt"])
def test_table(tmp_path, counts, name):
    table = pd.DataFrame(counts.T, index=SYMBOLS, columns=BARCODES)
    table.to_csv(tmp_path / name, sep="," if ".csv" in name else "\t")
    check(read_counts(tmp_path / name), counts, ids=[""] * 6)


def test_table_in_blocks_and_without_corner(tmp_path, counts, monkeypatch):
    monkeypatch.setattr("dice_atlas.counts.tables.BLOCK", 8)  # two genes at a time
    lines = ['"' + '"\t"'.join(BARCODES) + '"']  # R's write.table
    lines += ["\t".join([f'"{g}"', *map(str, c)]) for g, c in zip(SYMBOLS, counts.T, strict=True)]
    (tmp_path / "a.tsv").write_text("\n".join(lines) + "\n")
    check(read_counts(tmp_path / "a.tsv"), counts, ids=[""] * 6)


def test_table_turned_is_refused(tmp_path, counts):
    turned = pd.DataFrame(counts, index=BARCODES, columns=[*NUMBERED[:5], "GAPDH"])
    turned.set_axis(list("abcdef"), axis=1).to_csv(tmp_path / "a.csv")
    with pytest.raises(InputError, match=r"row names look like cell barcodes.*transpose"):
        read_counts(tmp_path / "a.csv")
    turned.set_axis(["w1", "w2", "w3", "w4"]).to_csv(tmp_path / "b.csv")
    with pytest.raises(InputError, match=r"column names look like genes.*transpose"):
        read_counts(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gene,c1,c2\nA,1,x\n", r"text in the column\(s\) c2 \('x'\)"),
        ("gene,c1,c2\nA,1,2\nB,1,x\n", "a row cannot be read"),
        ("gene,c1,c2\nA,1,\n", "missing or infinite"),
        ("gene,c1,c2\nA,1,2\nB,1,2,3\n", "a row cannot be read"),
        ("gene\nA\n", "1 column"),
        ("gene,c1,c1\nA,1,2\n", r"stand more than once \(such as 'c1'"),
        ("gene,c1,c2,c3,c4\nA,1,2\n", "header has 5 fields and the first row 3"),
        ("gene,c1,c2\n,1,2\n", "gene number 1 has no name"),
        ("gene,c1,c2\nA,1,2.5\n", "not whole numbers"),
    ],
)
def test_table_errors(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_counts(tmp_path / "a.csv")


# Cells x genes, as few values as single cells have; some genes are in no cell.
SPARSE = np.random.default_rng(5).poisson(0.15, (30, 200)) * (np.arange(200) % 16 > 0)
SPARSE_CELLS = [f"w{i}" for i in range(30)]


def sparse_table():
    """Genes x cells."""
    return pd.DataFrame(SPARSE.T, [f"GENE{i}" for i in range(200)], SPARSE_CELLS)


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("own", lambda t: t.sum(axis=1), "own is the sum of the others"),
        ("own", lambda t: (t > 0).sum(axis=1), "own is the number of cells that have the gene"),
        ("own", lambda t: t.max(axis=1), "own have a value for nearly every gene|largest value"),
        ("own", lambda t: t.sum(axis=1) * 20, "own have a value for nearly every gene"),
        ("own", lambda t: range(len(t)), "own have a value for nearly every gene"),
        ("nCells", lambda _: 1, "nCells: seen among the names of the cells"),
        ("Total_Counts", lambda _: 1, "Total_Counts: seen among the names of the cells"),
    ],
)
def test_a_column_that_sums_up_the_cells_is_named(tmp_path, name, column, message):
    table = sparse_table()
    table.assign(**{name: column(table)}).to_csv(tmp_path / "a.csv")
    with pytest.raises(InputError, match=message):
        read_counts(tmp_path / "a.csv")


def test_a_sum_of_cells_that_were_filtered_since_is_named(tmp_path):
    rng = np.random.default_rng(6)
    cells = rng.poisson(rng.gamma(2, 3, (1, 100)), (40, 100)).T  # most genes in every cell
    table = pd.DataFrame(cells, [f"GENE{i}" for i in range(100)], [f"w{i}" for i in range(40)])
    table[table.columns[:25]].assign(own=table.sum(axis=1)).to_csv(tmp_path / "a.csv")
    with pytest.raises(InputError, match="own is a sum of cells"):
        read_counts(tmp_path / "a.csv")
    table.assign(own=3 * table["w0"]).to_csv(tmp_path / "b.csv")  # a deep cell
    assert read_counts(tmp_path / "b.csv").n_obs == 41


@pytest.mark.parametrize("names", [["own"], ["other"], ["own", "other"]])
def test_a_row_that_sums_up_the_genes_is_left_out(tmp_path, names, caplog):
    table = sparse_table()
    rows = {"own": table.sum(), "other": (table > 0).sum()}
    for name in names:
        table.loc[name] = rows[name]
    table.to_csv(tmp_path / "a.csv")
    read = read_counts(tmp_path / "a.csv")
    np.testing.assert_array_equal(read.X.toarray(), SPARSE)
    said = f"rows that sum up the others: {', '.join(names)}"
    assert read.uns["decided"]["set_apart"] == said
    assert f"{said}; they are left out" in caplog.text


LINES = ["gene,c1,c2,c3", "CD3D,5,0,9", "MT-CO1,1,2,0"]


@pytest.mark.parametrize(
    "text",
    [
        "\n , \n" + "\n".join(LINES),
        "#" + "\n".join(LINES),
        "# made by x, y, z\n" + "\n".join(LINES),
        "# made by x\n# " + "\n".join(LINES),
        "\n".join([LINES[0], *(f"{line}," for line in LINES[1:])]),
        "\n".join([f"{LINES[0]},", *LINES[1:]]),
        "\n".join([f"{line},," for line in LINES]),
        "\r".join(LINES),
    ],
)
def test_the_header_of_a_table_is_found(tmp_path, text):
    (tmp_path / "a.csv").write_bytes(f"{text}\n".encode())
    read = read_counts(tmp_path / "a.csv")
    assert read.obs_names.tolist() == ["c1", "c2", "c3"]
    assert read.var_names.tolist() == ["CD3D", "MT-CO1"]
    np.testing.assert_array_equal(read.X.toarray(), [[5, 1], [0, 2], [9, 0]])


def test_a_value_without_a_column_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("gene,a,b\nCD3D,1,2,\nCD4,1,2,3\n")
    with pytest.raises(InputError, match="row of 'CD4' has a value beyond the last column"):
        read_counts(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.GZ"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_text_is_read_as_its_bytes_say(tmp_path, name, zipped, encoding, caplog):
    content = "\n".join([*LINES, "GÉNE,1,1,1", ""]).encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(content) if zipped else content)
    read = read_counts(tmp_path / name)
    assert read.var_names.tolist() == ["CD3D", "MT-CO1", "GÉNE"]
    assert read.X.sum() == 20
    assert ("Western European text, such as 'GÉNE'" in caplog.text) == (encoding == "cp1252")
    assert "last line has no end" not in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04...", "it is an Excel workbook or a zip archive"),
        (b"BZh9...", "it is compressed by bzip2"),
        ("gene,a\nGÉNE,1\n".encode() + b"\xc9,2\n", "seen the byte 0xc9, expected UTF-8 text"),
        ("gene,a\nGÉ".encode()[:-1], "it ends amid a letter"),
        (b"gene,a\nG\xc9\x02,1\n", "it has control characters"),
        (b"gene,a\nG\x81,1\n", "seen the byte 0x81"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=f"cannot be read as text: {message}"):
        read_counts(tmp_path / "a.csv")


def lines(*columns, separator="\t"):
    return "".join(f"{separator.join(row)}\n" for row in zip(*columns, strict=True))


NUMBERS = list("123456")


@pytest.mark.parametrize(
    "text",
    [
        lines(IDS, SYMBOLS, EXPRESSION, separator=","),
        lines(IDS, SYMBOLS, EXPRESSION, separator=";"),
        lines(IDS, SYMBOLS, separator=" "),
        lines(SYMBOLS, IDS, EXPRESSION),
        lines(SYMBOLS, IDS),
        lines(NUMBERS, IDS, SYMBOLS),
        lines(NUMBERS, IDS, SYMBOLS, EXPRESSION),
        lines(list("012345"), SYMBOLS, IDS),
        "id\tname\n" + lines(NUMBERS, IDS, SYMBOLS),
        "\tid\tname\n" + lines(NUMBERS, IDS, SYMBOLS),
        lines(IDS, SYMBOLS, EXPRESSION, ["chr1"] * 6, NUMBERS, NUMBERS),
        lines(IDS, SYMBOLS, EXPRESSION, [""] * 6),
    ],
)
def test_ids_and_symbols_are_known_by_their_values(tmp_path, counts, text):
    folder = write_mtx(tmp_path / "s", counts, "features.tsv", (IDS, SYMBOLS), False)
    (folder / "features.tsv").write_text(text)
    check(read_counts(folder), counts)


@pytest.mark.parametrize(
    "text",
    [
        lines(list("1234"), BARCODES),
        lines(BARCODES, list("3113"), separator=","),
        "barcode,cluster\n" + lines(BARCODES, list("3113"), separator=","),
        "\tx\n" + lines(list("1234"), BARCODES),
        lines(["T cell"] * 4, BARCODES),
    ],
)
def test_barcodes_are_known_by_their_values(tmp_path, counts, text):
    folder = write_mtx(tmp_path / "s", counts, "genes.tsv", (IDS, SYMBOLS), False)
    (folder / "barcodes.tsv").write_text(text)
    check(read_counts(folder), counts)


def test_names_that_are_no_barcodes_are_kept(tmp_path, counts):
    folder = write_mtx(tmp_path / "s", counts, "genes.tsv", (IDS, SYMBOLS), False)
    (folder / "barcodes.tsv").write_text(lines(list("abcd"), list("efgh")))
    check(read_counts(folder), counts, barcodes=list("abcd"))


@pytest.mark.parametrize("name", ["matrix.mtx", "matrix.mtx.gz"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_dense_matrix_market_file_is_read(tmp_path, counts, name, zipped):
    folder = write_mtx(tmp_path / "s", counts, "genes.tsv", (IDS, SYMBOLS), False)
    scipy.io.mmwrite(folder / "matrix.mtx", counts.T)
    content = (folder / "matrix.mtx").read_bytes()
    assert b"array" in content
    (folder / "matrix.mtx").unlink()
    (folder / name).write_bytes(gzip.compress(content) if zipped else content)
    check(read_counts(folder), counts)


def test_a_pattern_is_no_count(tmp_path, counts):
    folder = write_mtx(tmp_path / "s", counts, "genes.tsv", (IDS, SYMBOLS), False)
    scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(counts.T), field="pattern")
    with pytest.raises(InputError, match="type pattern and says whether a gene was found, not how"):
        read_counts(folder)


@pytest.mark.parametrize("name", ["matrix.mtx", "barcodes.tsv", "genes.tsv"])
def test_a_file_that_may_not_be_opened_is_said(tmp_path, counts, name, monkeypatch):
    folder = write_mtx(tmp_path / "s", counts, "genes.tsv", (IDS, SYMBOLS), False)
    (folder / name).unlink()
    (folder / name).symlink_to("/gone/objects/x")
    with pytest.raises(InputError, match=rf"{name}: is a link that points nowhere \(to /gone/"):
        read_counts(folder)

    def shut(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("dice_atlas.counts.text_files.open", shut, raising=False)
    with pytest.raises(InputError, match=r"matrix.mtx: read permission is missing, expected"):
        read_counts(folder)


def test_unknown_and_damaged_files(tmp_path, counts):
    with pytest.raises(InputError, match="does not exist"):
        read_counts(tmp_path / "nothing.h5ad")
    (tmp_path / "a.rds").write_bytes(b"RDX3")
    with pytest.raises(InputError, match="neither HDF5 nor a table"):
        recognise(tmp_path / "a.rds")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["assays"] = 1
    with pytest.raises(InputError, match=r"unknown kind \(seen: assays\)"):
        read_counts(tmp_path / "other.h5")
    atlas(counts).write_h5ad(tmp_path / "a.h5ad")
    whole = (tmp_path / "a.h5ad").read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cannot be read.*cut off"):
        read_counts(tmp_path / "cut.h5ad")
    shutil.copy(tmp_path / "a.h5ad", tmp_path / "b.csv")
    with pytest.raises(InputError, match="cannot be read as text"):
        read_counts(tmp_path / "b.csv")
    with pytest.raises(InputError, match="has no obs columns"):
        read_obs(tmp_path / "b.csv")


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_gzip_files_are_input_errors(tmp_path, counts, damage):
    def damaged(path):
        content = bytearray(path.read_bytes())
        if damage == "cut":
            del content[-9:]
        else:
            content[-8] ^= 255  # of the checksum
        path.write_bytes(bytes(content))
        return path

    write_mtx(tmp_path / "mtx", counts, "features.tsv", (IDS, SYMBOLS), gz=True)
    damaged(tmp_path / "mtx/barcodes.tsv.gz")
    with pytest.raises(InputError, match=r"barcodes.tsv.gz: cannot be read"):
        read_counts(tmp_path / "mtx")
    for name, text, read in (
        ("labels.csv.gz", b"barcode,label\nAAA-1,B\n", read_label_table),
        ("table.csv.gz", b"gene,a,b\nACTB,1,0\nB2M,2,1\n", read_counts),
    ):
        (tmp_path / name).write_bytes(gzip.compress(text))
        with pytest.raises(InputError, match="cannot be read"):
            read(damaged(tmp_path / name))


def test_files_of_names_that_cannot_be_read_are_input_errors(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"PK\x03\x04 a workbook")
    (tmp_path / "b.h5ad").write_bytes(b"id")
    for name, message in (("a.csv", "an Excel workbook"), ("b.h5ad", "expected an h5ad file")):
        with pytest.raises(InputError, match=message):
            read_names(tmp_path / name)


def test_real_data(shared):
    cells = {
        "pbmc3k": 2700, "pbmc4k": 2170, "zheng_facs_pbmc": 3874, "kang_ctrl_8donors": 12261,
        "sc_mixology": 1408, "worm_neuron": 4186,
    }  # fmt: skip
    for name, n in cells.items():
        assert read_counts(shared / "data" / name / f"{name}.h5ad").n_obs == n
    panc8 = shared / "data" / "panc8_small" / "panc8_small.h5ad"
    with pytest.raises(InputError, match=r"such as 12\.2904"):
        read_counts(panc8)
    for batch in ("celseq", "celseq2", "fluidigmc1"):
        with pytest.raises(InputError, match="not whole numbers"):
            read_counts(panc8, f"batch={batch}")
    for batch in ("smartseq2", "indrop"):
        assert read_counts(panc8, f"batch={batch}").shape == (100, 2000)
