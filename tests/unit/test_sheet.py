"""The sample sheet: what is read, and one message with line and column for what is wrong."""

import os

import pytest
from dice_atlas.counts.formats import member_files
from dice_atlas.errors import InputError
from dice_atlas.sheet import read_sheet, require_files, sheet_warnings, unreadable
from dice_atlas.sheet_settings import limits_as_shares

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
        ("sample path role batch\n",
         ["missing column(s)", "tabs, commas or semicolons", "no sample"]),
        (f"{HEAD}\n", ["no sample; expected one row per sample"]),
        (f"{HEAD}\tsite\tsite\n", ["column(s) site stand twice"]),
        (f"{HEAD}\tcell_type\n", ["column(s) cell_type are written by the workflow"]),
        (f"{HEAD}\tleiden_9\n", ["column(s) leiden_9 are written by the workflow"]),
        (f"{HEAD}\tcell_type_in_azimuth\n", ["cell_type_in_azimuth are written by the workflow"]),
        (f"{HEAD}\t\tsite\ns1\ta\tquery\tA\tx\ty\n", ["column 5 has no name"]),
        (f"{HEAD}\t.\t..\ta/b\t__x\t_index\tp\u202eq\ts\u200bt\n",
         ["column '.': HDF5 takes it for a folder", "column '..': HDF5",
          "column 'a/b': HDF5 takes the part before the / for a folder",
          "column '__x': anndata keeps names with __", "_index are written by the workflow",
          "has the character U+202E, which nobody sees; give it another name", "U+200B"]),
        (f"{HEAD}\ns1\ta\tquery\tA\x01\n",
         ["line 2, column batch: seen 'A\\x01', with the character U+0001, which nobody sees"]),
        (f"{HEAD}\ns1\ta\tquery\tA\u2028B\n", ["the character U+2028"]),
        (f"{HEAD}\ns1\t{{x}}/a\tquery\tA\n",
         ["column path: seen '{x}/a', but Snakemake takes {x} in a path for a wildcard; rename"]),
        (f"{HEAD}\tlabels\ns1\ta\treference\tA\t{{a,b}}.csv\n", ["column labels: seen"]),
        (f"{HEAD}\ttruth\ns1\ta\tquery\tA\tx{{}}.csv\n", ["column truth: seen", "takes {} in"]),
        (f"{HEAD}\n{'s' * 101}\ta\tquery\tA\n", ["at most 100"]),
        (f"{HEAD}\tmin_genes\ns1\ta\tquery\tA\t{10**10}\n",
         ["seen '10000000000', expected a whole"]),
        (f"{HEAD}\tmax_mito_percent\ns1\ta\tquery\tA\t7,5\n",
         ["seen '7,5', expected a percentage", "write the number with a decimal point"]),
        (f"{HEAD}\tmito_pattern\ns1\ta\tquery\tA\ta{{{10**30}}}\n", ["expected a regular"]),
        ("sample,path,role,batch,labels\ns1,a,query,A\n",
         ["line 2: 4 values for 5 columns", "Write a comma for an empty value"]),
        ("sample;path;role;batch;labels\ns1;a;query\n", ["3 values for 5 columns", "a semicolon"]),
        ('sample,path,role,batch\ns1,"a,query,A\n', ["line 2: a quoted value is not closed"]),
        (f"{HEAD}\tmin_gene\n", ["column min_gene: is min_genes meant?"]),
        (f"{HEAD}\tmin_cells\n", ["set qc.min_cells"]),
        (f"{HEAD}\tmin_genes\tn_mads\ns1\ta\tquery\tA\t2.5\tnan\n",
         ["column min_genes: seen '2.5', expected a whole number", "column n_mads: seen 'nan'"]),
        (f"{HEAD}\tmax_mito_percent\ns1\ta\tquery\tA\t15%\n",
         ["seen '15%', expected a percentage"]),
        (f"{HEAD}\tmito_pattern\ns1\ta\tquery\tA\t(MT\n", ["seen '(MT', expected a regular"]),
        (f"{HEAD}\tdoublets\ns1\ta\tquery\tA\tno\n",
         ["seen 'no', expected annotate, remove or off"]),
        (f"{HEAD}\texpression\tdoublets\ns1\ta\tquery\tA\tlog1p\tremove\n",
         ["line 2, column doublets: seen 'remove', but the sample has expression log1p",
          "expected off or an empty field"]),
        (f"{HEAD}\tsubset\ns1\ta\tquery\tA\tdonor:1\n", ["column subset: seen 'donor:1'"]),
        (f"{GOOD}s2\ta\tquery\tA\tx\n", ["line 3: 5 values for 4 columns", "separator (tab)"]),
        ('sample,path,role,batch\n"s\n1",a,query,A\n', ["line 2: a quoted value is not closed"]),
        ("# nothing\n", ["is empty"]),
        (f"{HEAD}\tlabels\nr1\ta.h5ad\treference\tA\tx\nr2\tb\treference\tA\t\n",
         ["reference sample(s) r2 have no labels but others have"]),
        (f"{GOOD}s1_b\tb\tquery\tA\n", ["samples s1 and s1_b", "to s1-b"]),
        (f"{HEAD}\ttruth\tsubset\ns1\ta\tquery\tobs:run\tkind\tx=1\n",
         ["line 2, column truth: seen 'kind', a column of the cells",
          "expected a csv or tsv file with the columns barcode,label",
          "line 2, column subset: seen 'x=1'", "line 2, column batch: seen 'obs:run'"]),
        (f"{HEAD}\tdonor\ns1\ta\tquery\tA\tobs:ind\n",
         ["line 2, column donor: seen 'obs:ind', a column of the cells in the sample's file"]),
    ],
)  # fmt: skip
def test_errors(read, text, messages):
    with pytest.raises(InputError) as error:
        read(text)
    for message in messages:
        assert message in str(error.value)


ROWS = [
    ["sample", "path", "role", "batch", "labels"],
    ["r1", "a.h5ad", "reference", "A", "cell type"],
    ["q1", "b, c", "query", "B", ""],
]


def exported(separator, wide=0):
    """The rows as a spreadsheet writes them, with empty columns on the right and empty rows."""
    quoted = [[f'"{v}"' if separator in v else v for v in row] + [""] * wide for row in ROWS]
    blank = [[""] * (len(ROWS[0]) + wide)] * 3
    return "".join(separator.join(row) + "\r\n" for row in [*quoted, *blank])


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_sheets_as_spreadsheets_export_them(tmp_path, schema, monkeypatch, separator, encoding):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.tsv").write_text("\n".join("\t".join(row) for row in ROWS) + "\n")
    expected = read_sheet("plain.tsv", schema)
    assert expected["q1"]["path"] == "b, c"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    for text in (
        exported(separator),
        exported(separator, wide=4),
        f"sep={separator}\r\n{exported(separator)}",
        separator * 4 + "\n" + exported(separator),
        exported(separator).replace("\r\n", "\r"),
        f"# by hand{separator}{separator}\n{exported(separator)}",
    ):
        (tmp_path / "sheet").write_bytes((mark + text).encode(encoding))
        assert read_sheet("sheet", schema) == expected


def test_a_slip_that_is_a_name_of_the_workflow_too_has_one_message(read):
    with pytest.raises(InputError) as error:
        read(f"{HEAD}\tlabel\ns1\ta\tquery\tA\tx\n")
    assert "column label: is labels meant?" in str(error.value)
    assert "written by the workflow" not in str(error.value)


def test_an_empty_column_in_the_middle_is_none(read):
    header, row = "sample,,path,role,batch,,labels,,", "r1,,a.h5ad,reference,A,,kind,,"
    assert read(f"{header}\n{row}\n,,,,,,,,\n")["r1"]["labels"] == "kind"
    with pytest.raises(InputError, match="column 2 has no name"):
        read(f"{header}\n{row.replace('r1,', 'r1,x')}\n")


def test_an_editor_may_cut_the_tabs_at_the_end_of_a_line(read):
    sheet = read(f"{HEAD}\tlabels\ttruth\nr1\ta.h5ad\treference\tA\tkind\nq1\tb\tquery\tB\n")
    assert [row["labels"] for row in sheet.values()] == ["kind", ""]


def test_a_file_of_a_10x_folder_with_braces(read, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("{x}matrix.mtx", "barcodes.tsv", "genes.tsv"):
        (tmp_path / "in" / name).touch()
    with pytest.raises(InputError, match=r"sample s1, column path: seen 'in/{x}matrix.mtx'"):
        require_files(read(f"{HEAD}\ns1\tin\tquery\tA\n"), "s", (), "no/{sample}")


def test_fields_that_no_step_looks_at(read, root, schema, monkeypatch):
    sheet = read(
        f"{HEAD}\tlabels\ttruth\nr1\ta.h5ad\treference\tA\tx\ty\nq1\tb.h5ad\tquery\tB\tx\ty\n"
        "q2\tb.h5ad\tquery\tB\tx\t"
    )
    cut, labels, truth = sheet_warnings(sheet, "samples.tsv")
    assert cut == "samples.tsv: its last line has no end; is the sheet whole?"
    assert "the column labels of the query sample(s) q1, q2 is not used" in labels
    assert "move it to the column truth, or leave it empty" in labels
    assert "the column truth of the reference sample(s) r1 is not used" in truth
    monkeypatch.chdir(root)
    for path in ("config/samples.tsv", *map(str, root.glob("config/examples/*.tsv"))):
        assert sheet_warnings(read_sheet(path, schema), path) == []


def test_names_that_share_a_start_are_fine(read):
    # Only <name>_ could be the start of another sample's cell ids.
    sheet = read(f"{GOOD}s10\tb\tquery\tA\ns1-b\tc\tquery\tA\n")
    assert list(sheet) == ["s1", "s10", "s1-b"]


def test_unreadable_sheets(tmp_path, schema):
    with pytest.raises(InputError, match="does not exist; set `samples`"):
        read_sheet(tmp_path / "no.tsv", schema)
    for content, message in {
        GOOD.replace("A", "K\u00f6ln").encode(
            "latin-1"
        ): r"line 2: is not UTF-8 text \(seen the byte 0xf6",
        GOOD.encode("utf-16")[:-1]: "is not UTF-8 text",
        GOOD.encode("utf-16-le"): "has NUL characters",
        b"PK\x03\x04...": "is an Excel or LibreOffice workbook, expected text; save it as csv",
        b"\xd0\xcf\x11\xe0...": "is an old Excel workbook",
        b"\x1f\x8b...": "is a gzipped file",
        b"\n,,,\n": "is empty",
        b"": "is empty",
    }.items():
        (tmp_path / "a.tsv").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_sheet(tmp_path / "a.tsv", schema)
    with pytest.raises(InputError, match=r"cannot be read .Is a directory.; expected a file"):
        read_sheet(tmp_path, schema)
    (tmp_path / "b.tsv").write_bytes(GOOD.replace("\n", "\r\n").encode("utf-8-sig"))
    assert list(read_sheet(tmp_path / "b.tsv", schema)) == ["s1"]


def test_missing_files_are_told_at_once(read, tmp_path):
    sheet = read(
        f"{HEAD}\tlabels\ttruth\n"
        "s1\tgone.h5ad\tquery\tA\tkind\t\n"
        "s2\tthere.h5ad\tquery\tA\t\tgone.csv\n"
        "s3\tresources/demo/q\tquery\tA\t\t\n"
        # Beside what the workflow makes, not one of it.
        "s4\tresources/demo/ref\tquery\tA\t\t\n"
    )
    (tmp_path / "there.h5ad").touch()
    finished = "results/{sample}.h5ad"
    with pytest.raises(InputError) as error:
        require_files(sheet, "samples.tsv", ["resources/demo/q"], finished)
    assert str(error.value).splitlines()[1:] == [
        "  - sample s1, column path: no such file: gone.h5ad",
        "  - sample s2, column truth: no such file: gone.csv",
        "  - sample s4, column path: no such file: resources/demo/ref",
    ]
    # Counts that were read before do not need their sources any more.
    os.makedirs("results")
    for name in ("s1", "s2", "s4"):
        (tmp_path / "results" / f"{name}.h5ad").touch()
    require_files(sheet, "samples.tsv", ["resources/demo/q"], finished)


def refused(read, path):
    with pytest.raises(InputError) as error:
        require_files(read(f"{HEAD}\ns1\t{path}\tquery\tA\n"), "s.tsv", (), "no/{sample}")
    return str(error.value).splitlines()[1:]


@pytest.mark.parametrize("folder", ["s", "s.zarr"])
def test_dead_links_are_told_before_any_job(read, tmp_path, folder):
    (tmp_path / folder / "X").mkdir(parents=True)
    (tmp_path / folder / "matrix.mtx").symlink_to("../.git/annex/x")
    expected = f"{folder}/matrix.mtx: is a link that points nowhere (to ../.git/annex/x), expected"
    (text,) = refused(read, folder)
    assert text.startswith(f"  - sample s1, column path: {expected}")
    (tmp_path / "a.h5ad").symlink_to("gone.h5ad")
    (text,) = refused(read, "a.h5ad")
    assert "a.h5ad: is a link that points nowhere (to gone.h5ad)" in text


@pytest.mark.parametrize("folder", ["s", "s.zarr"])
def test_folders_without_permission_are_told_before_any_job(read, tmp_path, folder, monkeypatch):
    (tmp_path / folder).mkdir()

    def shut(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", shut)
    monkeypatch.setattr(os, "scandir", shut)
    (text,) = refused(read, folder)
    assert f"column path: {folder}: read permission is missing, expected" in text
    assert member_files(folder) == [folder]
    monkeypatch.setattr(os, "stat", shut)
    assert "read permission is missing" in unreadable(folder)[0]


@pytest.mark.parametrize("path", ["a.h5ad", "s/barcodes.tsv"])
def test_files_without_permission_are_told_before_any_job(read, tmp_path, path, monkeypatch):
    (tmp_path / "s").mkdir()
    (tmp_path / path).touch()
    monkeypatch.setattr(os, "access", lambda file, _: not str(file).endswith(path))
    (text,) = refused(read, path.split("/")[0])
    assert f"column path: {path}: read permission is missing, expected" in text


@pytest.mark.parametrize(("name", "letter"), [("é", "é"), ("s\u0663", "\u0663"), ("a b", "")])
def test_letters_that_a_name_may_not_have(read, name, letter):
    with pytest.raises(InputError, match="expected a name of letters") as error:
        read(f"{HEAD}\n{name}\ta.h5ad\tquery\tA\n")
    mend = f"letters are A-Z and a-z alone, digits 0-9: write {letter!r} otherwise"
    assert (mend in str(error.value)) == bool(letter)


def test_files_of_a_10x_folder(tmp_path):
    for name in ("GSM1_matrix.mtx.gz", "GSM1_barcodes.tsv.gz", "GSM1_genes.tsv.gz", "notes.txt"):
        (tmp_path / name).touch()
    names = [os.path.basename(path) for path in member_files(str(tmp_path))]
    assert names == ["GSM1_barcodes.tsv.gz", "GSM1_genes.tsv.gz", "GSM1_matrix.mtx.gz"]
    assert member_files("a.h5ad") == ["a.h5ad"]
    (tmp_path / "empty").mkdir()
    assert member_files(str(tmp_path / "empty")) == [str(tmp_path / "empty")]


def test_per_cent_that_look_like_shares(read):
    sheet = read(f"{HEAD}\tmax_mito_percent\ns1\ta.h5ad\tquery\tA\t.2\ns2\tb.h5ad\tquery\tA\t20\n")
    qc = {"min_genes": 0.5, "max_mito_percent": 0.15, "max_ribo_percent": 1, "max_spike_percent": 0}
    assert limits_as_shares(qc, sheet) == [
        "qc: max_mito_percent is 0.15, which is less than one per cent; write 15 if you mean 15 %",
        "sample s1: max_mito_percent is 0.2, which is less than one per cent; write 20 if you mean "
        "20 %",
    ]
    assert limits_as_shares(qc | {"max_mito_percent": 15}, {}) == []
