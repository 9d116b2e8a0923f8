"""Labels, subsets and batches: from obs columns and from tables."""

import gzip

import numpy as np
import pandas as pd
import pytest
from dice_atlas.counts.labels import read_labels, read_truth
from dice_atlas.counts.readers import read_obs
from dice_atlas.counts.subset import column_text, keep_mask, sheet_values
from dice_atlas.errors import InputError

BARCODES = pd.Index(["AAA-1", "CCC-1", "GGG-1"], dtype=object)
OBS = pd.DataFrame(
    {
        "cell_type": pd.Categorical(["B", None, "T"]),
        "donor": [101.0, 107.0, np.nan],
        "plate": [1, 1, 2],
        "score": [0.5, 2.0, 1.25],
        "ok": [True, False, True],
    },
    index=BARCODES,
)


def write(path, text):
    path.write_text(text)
    return str(path)


def from_table(tmp_path, text, name="a.csv"):
    path = write(tmp_path / name, text)
    return read_labels(name, path, BARCODES, OBS).tolist()


def test_labels_of_an_obs_column():
    assert read_labels("cell_type", "a.h5ad", BARCODES, OBS).tolist() == ["B", "", "T"]
    assert read_labels("", "", BARCODES, OBS).tolist() == ["", "", ""]
    with pytest.raises(InputError, match=r"no obs column 'celltype'.*cell_type, donor, plate"):
        read_labels("celltype", "a.h5ad", BARCODES, OBS)
    with pytest.raises(InputError, match="none of the 3 cells has a label"):
        read_labels("empty", "a.h5ad", BARCODES, OBS.assign(empty=None))


@pytest.mark.parametrize(
    ("name", "sep"), [("a.csv", ","), ("a.tsv", "\t"), ("a.csv.gz", ","), ("a.TSV.gz", "\t")]
)
def test_labels_of_a_table(tmp_path, name, sep):
    table = pd.DataFrame({"label": ["T", "x", "B", "NA"], "barcode": [*BARCODES[::-1], "TTT-1"]})
    table.loc[1, "label"] = "NA"
    table.to_csv(tmp_path / name, sep=sep, index=False)
    labels = read_labels(f"sub/{name}", str(tmp_path / name), BARCODES, OBS)
    assert labels.tolist() == ["B", "", "T"]
    assert all(type(label) is str for label in labels)


def test_table_may_list_some_cells(tmp_path, caplog):
    assert from_table(tmp_path, "barcode,label\nGGG-1,T\nAAA-1,\n") == ["", "", "T"]
    assert "lists 2 of 3 cells" in caplog.text
    assert "1 of 3 cells have a label" in caplog.text
    text = "barcode;label;\nGGG-1;T;\nAAA-1;B;\nCCC-1;B;\n;;\n"  # a spreadsheet's
    assert from_table(tmp_path, text) == ["B", "B", "T"]
    assert from_table(tmp_path, text.replace(";", "\t")) == ["B", "B", "T"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("zipped", [False, True])
def test_label_tables_as_programs_write_them(tmp_path, encoding, zipped, caplog):
    content = "\n\nbarcode,label\nAAA-1,Ré\nCCC-1,B\nGGG-1,\n".encode(encoding)
    path = tmp_path / "a.csv.GZ"
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert read_labels("a.csv.GZ", str(path), BARCODES, OBS).tolist() == ["Ré", "B", ""]
    assert ("read as Western European text, such as 'Ré'" in caplog.text) == (encoding == "cp1252")


@pytest.mark.parametrize(
    "text",
    [
        'barcode,label\n\nAAA-1,T\nCCC-1,B\nGGG-1,"T\n',
        '\nbarcode,label\nAAA-1,"T"\nCCC-1,B\nGGG-1,"T\nTTT-1,"B"\n',
        '\n\nbarcode,label\nAAA-1,"T"\n"CCC-1,B\n"GGG-1","T"\n',
    ],
)
def test_a_quote_that_is_not_closed_is_found(tmp_path, text):
    with pytest.raises(InputError, match="quote not closed in line 5"):
        from_table(tmp_path, text)


def test_a_label_table_that_is_a_dead_link(tmp_path):
    (tmp_path / "a.csv").symlink_to("gone.csv")
    with pytest.raises(InputError, match=r"a.csv: is a link that points nowhere \(to gone.csv\)"):
        read_labels("a.csv", str(tmp_path / "a.csv"), BARCODES, OBS)


def captures(tmp_path, n=4, size=50, shared=3):
    """The label table of n captures that share some barcodes, and the barcodes of each."""
    names = [[f"C{i}{k:03d}" for k in range(size - shared)] for i in range(n)]
    for own in names:
        own += [f"S{k:03d}" for k in range(shared)]
    lines = [f"{name}-{i + 1},T{i + 1}\n" for i, own in enumerate(names) for name in own]
    path = write(tmp_path / "aggr.csv", "barcode,label\n" + "".join(lines))
    return path, [pd.Index([f"{name}-1" for name in own], dtype=object) for own in names]


def test_labels_of_another_capture_are_refused_and_the_suffix_says_which(tmp_path):
    path, barcodes = captures(tmp_path)
    assert set(read_labels("aggr.csv", path, barcodes[0], OBS)) == {"T1"}
    with pytest.raises(
        InputError, match=r"4 captures \(-1, -2, -3, -4\).* 100 % with -3.*`suffix`"
    ):
        read_labels("aggr.csv", path, barcodes[2], OBS)
    assert set(read_labels("aggr.csv", path, barcodes[2], OBS, "-3")) == {"T3"}
    with pytest.raises(InputError, match=r"lists 3 of the 50 cells .*of another sample"):
        read_labels("aggr.csv", path, barcodes[2], OBS, "-2")
    with pytest.raises(InputError, match=r"ends in '-7'.*seen suffixes: -1, -2"):
        read_labels("aggr.csv", path, barcodes[2], OBS, "-7")
    # All captures have the same barcodes: nothing but the sheet can tell.
    path, barcodes = captures(tmp_path, shared=50)
    with pytest.raises(InputError, match="100 % with -1, 100 % with -2"):
        read_labels("aggr.csv", path, barcodes[0], OBS)
    assert set(read_labels("aggr.csv", path, barcodes[0], OBS, "-1")) == {"T1"}


def test_truth_is_matched_as_labels_are(tmp_path):
    path, barcodes = captures(tmp_path)
    row = {"truth": "aggr.csv", "truth_source": path, "subset": "", "suffix": ""}
    obs = pd.DataFrame({"sample": "s"}, index=[f"s_{name}" for name in barcodes[2]])
    with pytest.raises(InputError, match="100 % with -3"):
        read_truth({"s": row}, obs)
    found = read_truth({"s": row | {"suffix": "-3"}}, obs)
    assert found["cell"].tolist() == obs.index.tolist()
    assert set(found["truth"]) == {"T3"}


def test_every_source_of_labels_is_cleaned_alike(tmp_path):
    seen = ["T cell ", " T  cell", "T\u00a0cell", "Te\u0301", "Té", " NA ", "n/a"]
    expected = ["T cell"] * 3 + ["Té"] * 2 + ["", ""]
    cells = pd.Index([f"c{i}" for i in range(7)], dtype=object)
    for values in (seen, pd.Categorical(seen)):
        obs = pd.DataFrame({"kind": values}, index=cells)
        assert read_labels("kind", "a.h5ad", cells, obs).tolist() == expected
    text = "barcode,label\n" + "".join(f"{c},{s}\n" for c, s in zip(cells, seen, strict=True))
    path = write(tmp_path / "a.csv", text)
    assert read_labels("a.csv", path, cells, obs).tolist() == expected
    for label in ("T\tcell", "T\ncell", "T\u202ecell", "T\x07"):
        with pytest.raises(InputError, match="has a control character"):
            read_labels("kind", "a.h5ad", cells, obs.assign(kind=label))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AAA-1,B\nCCC-1,T\n", r"no column barcode and label \(seen: AAA-1, B\)"),
        ("barcode,cell_type\nAAA-1,B\n", r"no column label \(seen: barcode, cell_type\)"),
        ("barcode label\nAAA-1 B\n", "lists 1 of the 3 cells"),
        ("barcode,label\nAAA,B\nCCC,T\n", r"such as AAA, CCC; .*AAA-1, CCC-1.*suffixes differ"),
        ("barcode,label\nX1,B\n", "is it the table of another sample"),
        ("barcode,label\nGGG-1,T\n", "lists 1 of the 3 cells"),
        ("barcode,label\n", "no row at all"),
        ("barcode,label\nAAA-1,B\nAAA-1,T\n", r"more than once \(such as 'AAA-1'"),
        ("barcode,label\nAAA-1,B|T\n", r"'B\|T' has a '\|'"),
        ("barcode,label\nAAA-1,Unassigned\n", "'Unassigned' is reserved"),
        ("barcode,label\nAAA-1,B,x,y\nCCC-1,B\n", "line 2 has 4 fields and the header 2"),
        ("barcode,label\nAAA-1,B\nCCC\n", "line 3 has 1 fields and the header 2"),
        ("", r"no column barcode and label \(seen: nothing\)"),
    ],
)
def test_table_errors(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        from_table(tmp_path, text)


def test_truth_of_no_row(tmp_path):
    path = write(tmp_path / "a.csv", "barcode,label\n")
    settings = {"s": {"truth": "a.csv", "truth_source": str(path), "subset": "", "suffix": ""}}
    obs = pd.DataFrame({"sample": "s"}, index=["s_AAA-1"])
    with pytest.raises(InputError, match=r"lists none of the 1 cells .*no row at all"):
        read_truth(settings, obs)


def test_missing_table(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_labels("a.csv", str(tmp_path / "a.csv"), BARCODES, OBS)


def test_truth_of_obs_columns(shared):
    kang = str(shared / "data" / "kang_ctrl_8donors" / "kang_ctrl_8donors.h5ad")
    row = {"truth": "cell_type", "truth_source": kang, "subset": "", "suffix": ""}
    obs = read_obs(kang, {"cell_type"})
    cells = pd.DataFrame({"sample": "k"}, index=[f"k_{name}" for name in obs.index])
    found = read_truth({"k": row}, cells)
    assert len(found) == 12261
    assert found["cell"][0] == "k_AAACATACATTTCC-1"
    assert (found["truth"] == "Megakaryocytes").sum() == 95
    with pytest.raises(InputError, match="lists 1375 of the 12261 cells"):
        read_truth({"k": row | {"subset": "batch=101|107"}}, cells)


def test_column_text():
    assert column_text(OBS, "donor", "a").tolist() == ["101", "107", ""]
    assert column_text(OBS, "score", "a").tolist() == ["0.5", "2", "1.25"]
    assert column_text(OBS, "ok", "a").tolist() == ["True", "False", "True"]
    numbers = OBS.assign(plate=pd.Categorical([7, 7, 9]))
    assert column_text(numbers, "plate", "a").tolist() == ["7", "7", "9"]
    floats = OBS.assign(plate=pd.Categorical([7.0, np.nan, 9.0]))
    assert column_text(floats, "plate", "a").tolist() == ["7", "", "9"]


def test_subset(caplog):
    assert keep_mask(OBS, "donor=101|107", "a").tolist() == [True, True, False]
    assert keep_mask(OBS, "donor=101|107;plate=1;ok=False", "a").tolist() == [False, True, False]
    assert keep_mask(OBS, "donor!=101", "a").tolist() == [False, True, True]
    assert keep_mask(OBS, "donor != 101 | 107; plate=2", "a").tolist() == [False, False, True]
    # All rows of a sheet can leave out what some samples lack.
    assert keep_mask(OBS, "donor!=1O1", "a").all()
    assert "no cell has donor = '1O1', which `subset` leaves out" in caplog.text
    with pytest.raises(InputError, match=r"no obs column 'doner'.*donor"):
        keep_mask(OBS, "doner=101", "a")
    with pytest.raises(InputError, match=r"no cell has plate = 3, 4; values of plate: 1, 2"):
        keep_mask(OBS, "plate=1|3|4", "a")
    with pytest.raises(InputError, match="no cell meets all conditions"):
        keep_mask(OBS, "donor=101;plate=2", "a")


def test_batch():
    assert sheet_values("A", OBS, "a").tolist() == ["A"] * 3
    assert sheet_values("obs:plate", OBS, "a").tolist() == ["1", "1", "2"]
    with pytest.raises(InputError, match="1 of 3 cells have no 'donor'"):
        sheet_values("obs:donor", OBS, "a")
    with pytest.raises(InputError, match="no obs column 'run'"):
        sheet_values("obs:run", OBS, "a")
    with pytest.raises(InputError, match="which `patient` is taken from"):
        sheet_values("obs:donor", OBS, "a", "patient")
