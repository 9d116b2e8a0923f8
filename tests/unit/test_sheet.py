"""The sample sheet: what is read, and one message with line and column for what is wrong."""

import os

import pytest
from dice_atlas.counts.formats import member_files
from dice_atlas.errors import InputError
from dice_atlas.sheet import read_sheet, require_files

HEAD = "sample\tpath\trole\tbatch"
GOOD = f"{HEAD}\ns1\ta.h5ad\tquery\tA\n"


@pytest.fixture
def schema(root):
    return root / "config" / "schemas" / "samples.schema.json"


@pytest.fixture
def read(tmp_path, schema, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text, name="samples.tsv"):
        (tmp_path / name).write_text(text)
        return read_sheet(name, schema)

    return read


def test_demo_sheet(root, schema, monkeypatch):
    monkeypatch.chdir(root)
    sheet = read_sheet("config/samples.tsv", schema)
    assert list(sheet) == ["pbmc_ref", "pbmc_q1", "pbmc_q2"]
    reference, query = sheet["pbmc_ref"], sheet["pbmc_q1"]
    assert reference["path"] == reference["labels_source"] == "resources/demo/pbmc_ref.h5ad"
    assert reference["labels"] == "cell_type"
    assert query["truth_source"] == "resources/demo/pbmc_q1_truth.csv"
    assert query["labels_source"] == ""
    assert query["qc"] == {"min_genes": 150}


def test_files_of_a_moved_folder_are_found_in_the_new_one(root, schema, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    demo = {str(root / "resources/demo"): "made/demo"}
    sheet = read_sheet(root / "config/samples.tsv", schema, moved=demo)
    assert sheet["pbmc_ref"]["path"] == "made/demo/pbmc_ref.h5ad"
    assert sheet["pbmc_q1"]["truth_source"] == "made/demo/pbmc_q1_truth.csv"
    (tmp_path / "own.tsv").write_text(GOOD)
    assert read_sheet("own.tsv", schema, moved=demo)["s1"]["path"] == "a.h5ad"


def test_full_row(read, tmp_path):
    (tmp_path / "sub").mkdir()
    row = read(
        "# written by hand\n"
        "sample,path,role,batch,labels,truth,subset,n_mads,max_mito_percent,doublets,site,\n"
        "\n"
        "# s0,a,query,A\n"
        's1,sub/../b.h5ad,reference,obs:run,l.CSV,kind,"d=1|2;e=x",3,7.5,off,"x, y",\n'
    )["s1"]
    assert row == {
        "sample": "s1", "path": "b.h5ad", "role": "reference", "batch": "obs:run",
        "labels": "l.CSV", "labels_source": "l.CSV", "truth": "kind", "truth_source": "b.h5ad",
        "subset": "d=1|2;e=x", "suffix": "", "slot": "", "expression": "",
        "qc": {"n_mads": 3, "max_mito_percent": 7.5, "doublets": "off"},
        "extra": {"site": "x, y"},
    }  # fmt: skip


def test_paths_are_relative_to_the_sheet(schema, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "sheets").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    sheet = tmp_path / "sheets" / "s.tsv"
    sheet.write_text(
        f"{HEAD}\ns1\t../work/in/a\tquery\tA\ns2\tb\tquery\tA\ns3\t/data/c\tquery\tA\n"
    )
    paths = [row["path"] for row in read_sheet(sheet, schema).values()]
    assert paths == ["in/a", str(tmp_path / "sheets" / "b"), "/data/c"]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (f"{HEAD}\ns1\ta\tquerry\tA\n", ["line 2, column role: seen 'querry', expected reference"]),
        (f"{HEAD}\n\n#x\ns1\ta\tquery\t\n", ["line 4, column batch: seen ''"]),
        (f"{HEAD}\ns1\t\tquery\tA\n", ["line 2, column path: seen ''"]),
        (f"{HEAD}\ns 1\ta\tquery\tA\n_s\ta\tquery\tA\ns__1\ta\tquery\tA\n",
         ["line 2, column sample: seen 's 1'", "line 3, column sample", "line 4, column sample"]),
        (f"{GOOD}s1\tb\tquery\tA\n", ["line 3, column sample: 's1' stands twice"]),
        ("sample\tpath\trole\ns1\ta\tquery\n",
         ["missing column(s) batch; seen: sample, path, role"]),
        ("sample;path;role;batch\n", ["missing column(s)", "tabs or commas", "no sample"]),
        (f"{HEAD}\n", ["no sample; expected one row per sample"]),
        (f"{HEAD}\tsite\tsite\n", ["column(s) site stand twice"]),
        (f"{HEAD}\tcell_type\n", ["column(s) cell_type are written by the workflow"]),
        (f"{HEAD}\t\tsite\n", ["column 5 has no name"]),
        (f"{HEAD}\tmin_gene\n", ["column min_gene: is min_genes meant?"]),
        (f"{HEAD}\tmin_cells\n", ["set qc.min_cells"]),
        (f"{HEAD}\tmin_genes\tn_mads\ns1\ta\tquery\tA\t2.5\tnan\n",
         ["column min_genes: seen '2.5', expected a whole number", "column n_mads: seen 'nan'"]),
        (f"{HEAD}\tmax_mito_percent\ns1\ta\tquery\tA\t15%\n",
         ["seen '15%', expected a percentage"]),
        (f"{HEAD}\tmito_pattern\ns1\ta\tquery\tA\t(MT\n", ["seen '(MT', expected a regular"]),
        (f"{HEAD}\tdoublets\ns1\ta\tquery\tA\tno\n",
         ["seen 'no', expected annotate, remove or off"]),
        (f"{HEAD}\tsubset\ns1\ta\tquery\tA\tdonor:1\n", ["column subset: seen 'donor:1'"]),
        (f"{GOOD}s2\ta\tquery\tA\tx\n", ["line 3: 5 values for 4 columns", "separator (tab)"]),
        ('sample,path,role,batch\n"s\n1",a,query,A\n', ["goes over two lines"]),
        ("# nothing\n", ["is empty"]),
        (f"{HEAD}\tlabels\nr1\ta.h5ad\treference\tA\tx\nr2\tb\treference\tA\t\n",
         ["reference sample(s) r2 have no labels but others have"]),
        (f"{GOOD}s1_b\tb\tquery\tA\n", ["samples s1 and s1_b", "to s1-b"]),
        (f"{HEAD}\ttruth\tsubset\ns1\ta\tquery\tobs:run\tkind\tx=1\n",
         ["line 2, column truth: seen 'kind', a column of the cells",
          "expected a csv or tsv file with the columns barcode,label",
          "line 2, column subset: seen 'x=1'", "line 2, column batch: seen 'obs:run'"]),
    ],
)  # fmt: skip
def test_errors(read, text, messages):
    with pytest.raises(InputError) as error:
        read(text)
    for message in messages:
        assert message in str(error.value)


def test_names_that_share_a_start_are_fine(read):
    # Only <name>_ could be the start of another sample's cell ids.
    sheet = read(f"{GOOD}s10\tb\tquery\tA\ns1-b\tc\tquery\tA\n")
    assert list(sheet) == ["s1", "s10", "s1-b"]


def test_unreadable_sheets(tmp_path, schema):
    with pytest.raises(InputError, match="does not exist; set `samples`"):
        read_sheet(tmp_path / "no.tsv", schema)
    (tmp_path / "a.tsv").write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(InputError, match="not UTF-8"):
        read_sheet(tmp_path / "a.tsv", schema)
    (tmp_path / "b.tsv").write_bytes(GOOD.replace("\n", "\r\n").encode("utf-8-sig"))
    assert list(read_sheet(tmp_path / "b.tsv", schema)) == ["s1"]


def test_missing_files_are_told_at_once(read, tmp_path):
    sheet = read(
        f"{HEAD}\tlabels\ttruth\n"
        "s1\tgone.h5ad\tquery\tA\tkind\t\n"
        "s2\tthere.h5ad\tquery\tA\t\tgone.csv\n"
        "s3\tresources/demo/q\tquery\tA\t\t\n"
    )
    (tmp_path / "there.h5ad").touch()
    finished = "results/{sample}.h5ad"
    with pytest.raises(InputError) as error:
        require_files(sheet, "samples.tsv", "resources/demo/", finished)
    assert str(error.value).splitlines()[1:] == [
        "  - sample s1, column path: no such file: gone.h5ad",
        "  - sample s2, column truth: no such file: gone.csv",
    ]
    # Counts that were read before do not need their sources any more.
    os.makedirs("results")
    for name in ("s1", "s2"):
        (tmp_path / "results" / f"{name}.h5ad").touch()
    require_files(sheet, "samples.tsv", "resources/demo/", finished)


def test_files_of_a_10x_folder(tmp_path):
    for name in ("GSM1_matrix.mtx.gz", "GSM1_barcodes.tsv.gz", "GSM1_genes.tsv.gz", "notes.txt"):
        (tmp_path / name).touch()
    names = [os.path.basename(path) for path in member_files(str(tmp_path))]
    assert names == ["GSM1_barcodes.tsv.gz", "GSM1_genes.tsv.gz", "GSM1_matrix.mtx.gz"]
    assert member_files("a.h5ad") == ["a.h5ad"]
    (tmp_path / "empty").mkdir()
    assert member_files(str(tmp_path / "empty")) == [str(tmp_path / "empty")]
