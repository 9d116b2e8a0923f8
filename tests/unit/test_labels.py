"""Labels, subsets and batches: from obs columns and from tables."""

import numpy as np
import pandas as pd
import pytest
from dice_atlas.counts.labels import read_cell_labels, read_labels, read_truth
from dice_atlas.counts.subset import batch_values, column_text, keep_mask
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


def test_table_may_list_some_cells(tmp_path):
    assert from_table(tmp_path, "barcode,label\nGGG-1,T\n") == ["", "", "T"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AAA-1,B\nCCC-1,T\n", r"no column barcode and label \(seen: AAA-1, B\)"),
        ("barcode,cell_type\nAAA-1,B\n", r"no column label \(seen: barcode, cell_type\)"),
        ("barcode\tlabel\nAAA-1\tB\n", "no column barcode and label"),
        ("barcode,label\nAAA,B\nCCC,T\n", r"such as AAA, CCC\).*AAA-1, CCC-1.*suffix such as '-1'"),
        ("barcode,label\nX1,B\n", "is it the table of another sample"),
        ("barcode,label\n", "no row at all"),
        ("barcode,label\nAAA-1,B\nAAA-1,T\n", r"more than once \(such as 'AAA-1'"),
        ("barcode,label\nAAA-1,B|T\n", r"'B\|T' has a '\|'"),
        ("barcode,label\nAAA-1,Unassigned\n", "'Unassigned' is reserved"),
        ("barcode,label\nAAA-1,B,x,y\nCCC-1,B\nGGG-1,B,z,z,z,z\n", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_table_errors(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        from_table(tmp_path, text)


def test_truth_of_no_row(tmp_path):
    path = write(tmp_path / "a.csv", "barcode,label\n")
    settings = {"s": {"truth": "a.csv", "truth_source": str(path), "subset": ""}}
    obs = pd.DataFrame({"sample": "s"}, index=["s_AAA-1"])
    with pytest.raises(InputError, match=r"none of its 0 barcodes \(such as no row at all\)"):
        read_truth(settings, obs)


def test_missing_table(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_labels("a.csv", str(tmp_path / "a.csv"), BARCODES, OBS)


def test_cell_labels_for_scoring(tmp_path, shared):
    path = write(tmp_path / "truth.csv", "barcode,label\nAAA-1,B\nCCC-1,\n")
    labels = read_cell_labels("s1", "truth.csv", path)
    assert labels.to_dict() == {"s1_AAA-1": "B", "s1_CCC-1": ""}
    kang = str(shared / "data" / "kang_ctrl_8donors" / "kang_ctrl_8donors.h5ad")
    labels = read_cell_labels("k", "cell_type", kang)
    assert len(labels) == 12261
    assert labels.index[0] == "k_AAACATACATTTCC-1"
    assert (labels == "Megakaryocytes").sum() == 95
    assert len(read_cell_labels("k", "cell_type", kang, "batch=101|107")) == 858 + 517


def test_column_text():
    assert column_text(OBS, "donor", "a").tolist() == ["101", "107", ""]
    assert column_text(OBS, "score", "a").tolist() == ["0.5", "2", "1.25"]
    assert column_text(OBS, "ok", "a").tolist() == ["True", "False", "True"]
    numbers = OBS.assign(plate=pd.Categorical([7, 7, 9]))
    assert column_text(numbers, "plate", "a").tolist() == ["7", "7", "9"]
    floats = OBS.assign(plate=pd.Categorical([7.0, np.nan, 9.0]))
    assert column_text(floats, "plate", "a").tolist() == ["7", "", "9"]


def test_subset():
    assert keep_mask(OBS, "donor=101|107", "a").tolist() == [True, True, False]
    assert keep_mask(OBS, "donor=101|107;plate=1;ok=False", "a").tolist() == [False, True, False]
    with pytest.raises(InputError, match=r"no obs column 'doner'.*donor"):
        keep_mask(OBS, "doner=101", "a")
    with pytest.raises(InputError, match=r"no cell has plate = 3, 4; values of plate: 1, 2"):
        keep_mask(OBS, "plate=1|3|4", "a")
    with pytest.raises(InputError, match="no cell meets all conditions"):
        keep_mask(OBS, "donor=101;plate=2", "a")


def test_batch():
    assert batch_values("A", OBS, "a").tolist() == ["A"] * 3
    assert batch_values("obs:plate", OBS, "a").tolist() == ["1", "1", "2"]
    with pytest.raises(InputError, match="1 of 3 cells have no 'donor'"):
        batch_values("obs:donor", OBS, "a")
    with pytest.raises(InputError, match="no obs column 'run'"):
        batch_values("obs:run", OBS, "a")
