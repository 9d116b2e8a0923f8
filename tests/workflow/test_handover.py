"""The demo's atlas in other tools, by the lines of docs/handover.md.

`make handover` makes the environments of these tools, runs this, and writes to the page what was
seen. Elsewhere a test is skipped where its tool is missing.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from importlib.metadata import version
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import zarr
from described import CELLXGENE
from dice_atlas.export.cellxgene import write_cellxgene
from waiting import wait_for

pytestmark = pytest.mark.workflow
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/handover.md").read_text()
# Seconds until a viewer must answer.
PATIENCE = 120


def lines_of(language: str) -> str:
    """The block of the page in a language, for the demo."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return block.replace("my_study", "demo")


def commands_of(program: str) -> list[str]:
    """Commands within the page's lines, for the demo."""
    return [c.replace("my_study", "demo") for c in re.findall(rf"`({program} [^`]+)`", PAGE)]


@pytest.fixture(scope="module")
def copy(demo, tmp_path_factory):
    """The demo with the exports that the page asks for."""
    made = demo.duplicate(tmp_path_factory.mktemp("handover") / "dice-atlas")
    config = made.config("my", atlas="demo")
    asked = [c for c in commands_of("snakemake") if "cellxgene" not in c]
    assert all(f"--cores all --configfile {config} -- export_" in command for command in asked)
    made.run("--configfile", config, "--", *(command.split(" -- ")[1] for command in asked))
    return made


@pytest.fixture(scope="module")
def results(copy):
    return copy.folder / "results/demo"


@pytest.fixture(scope="module")
def atlas(results):
    return ad.read_h5ad(results / "atlas.h5ad")


@pytest.fixture(scope="module")
def for_cellxgene(results, atlas):
    """The export of an atlas whose sheet has the columns that CELLxGENE asks for."""
    described = atlas.copy()
    described.obs = described.obs.assign(**CELLXGENE)
    described.write_h5ad(results / "described.h5ad")
    path = results / "export/atlas.cellxgene.h5ad"
    write_cellxgene(results / "described.h5ad", path, "The demo")
    return path


@pytest.fixture
def checked(record_property):
    """Writes a line for the page's table."""

    def write(**columns: str) -> None:
        for name, text in columns.items():
            record_property(name, text)

    return write


def tool(name: str, target: str, program: str) -> str:
    """A program of an environment of its own; skips where that was not made."""
    path = ROOT / f".venv-{name}/bin/{program}"
    if not path.exists():
        pytest.skip(f"there is no {path.relative_to(ROOT)} (make {target})")
    return str(path)


def version_of(python: str, package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.check_output([python, "-c", code], text=True).strip()


def test_scanpy_runs_the_documented_lines(copy, atlas, monkeypatch, checked):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(copy.folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        held = {}
        exec(lines_of("python"), held)
    assert held["atlas"].uns["paga"]["connectivities"].shape[0] == atlas.obs["cluster"].nunique()
    checked(
        export="`atlas.h5ad`", tool=f"scanpy {version('scanpy')}",
        command="the Python lines of this page", result="they run, without a warning",
    )  # fmt: skip


# What a reader finds, in a form that two readers of different age can be compared by.
DIGEST = """
import hashlib, json, sys
import anndata, numpy

def digest(values):
    return hashlib.sha256(repr(values).encode()).hexdigest()

def numbers(matrix):
    if hasattr(matrix, "tocsr"):
        matrix = matrix.tocsr()
        parts = [matrix.data, matrix.indices, matrix.indptr]
    else:
        parts = [numpy.asarray(matrix)]
    return [digest(part.astype("float64").tobytes()) for part in parts] + [list(matrix.shape)]

def tree(value):
    # The old one's uns["neighbors"] is a mapping of its own.
    if hasattr(value, "items"):
        return {key: tree(inner) for key, inner in value.items()}
    return digest(value.tolist() if hasattr(value, "tolist") else value)

def column(values):
    kept = list(map(str, values.cat.categories)) if hasattr(values, "cat") else []
    return [kept, digest(values.tolist())]

atlas = anndata.read_h5ad(sys.argv[1])
found = {"X": numbers(atlas.X), "uns": tree(dict(atlas.uns))}
for part in ("layers", "obsm", "varm", "obsp"):
    found[part] = {key: numbers(value) for key, value in getattr(atlas, part).items()}
for part in ("obs", "var"):
    table = getattr(atlas, part)
    found[part] = {key: column(table[key]) for key in table}
    found[part + "_names"] = digest(table.index.tolist())
print(json.dumps(found))
"""


def test_the_oldest_anndata_reads_every_part_as_todays_does(results, atlas, checked):
    old = tool("anndata", "handover", "python")

    def read(python: str) -> dict:
        read_by = [python, "-W", "ignore", "-c", DIGEST, str(results / "atlas.h5ad")]
        return json.loads(subprocess.check_output(read_by, text=True))

    found, expected = read(old), read(sys.executable)
    assert found == expected
    assert set(expected["obs"]) == set(atlas.obs)
    assert {"X_umap", "X_dice"} <= set(expected["obsm"])
    number = version_of(old, "anndata")
    assert f"anndata {number} (2022) and later read the file" in PAGE
    checked(
        export="`atlas.h5ad`", tool=f"anndata {number}, Python 3.11", command="`read_h5ad`",
        result="each part equals what the workflow's anndata reads",
    )  # fmt: skip


# After the page's lines: what the object holds, and whether the saved one is the same.
LOOK = """
data <- GetAssayData(atlas, slot = "data")
write.csv(as.matrix(data), "data.csv")
write.csv(as.matrix(GetAssayData(atlas, slot = "counts")), "counts.csv")
write.csv(Embeddings(atlas, "umap"), "umap.csv")
write.csv(data.frame(ident = Idents(atlas)), "idents.csv")
saved <- readRDS("results/demo/export/seurat/seurat.rds")
same <- isTRUE(all.equal(saved[[]], atlas[[]])) &&
  identical(GetAssayData(saved, slot = "data"), data) &&
  identical(Misc(saved, "colors"), Misc(atlas, "colors"))
v <- function(name) as.character(packageVersion(name))
cat("\\nSAME", same, "SEURAT", v("Seurat"), "OBJECT", v("SeuratObject"), "R",
    paste(R.version$major, R.version$minor, sep = "."), "\\n")
"""


def test_r_runs_the_documented_lines_with_seurat(copy, results, atlas, checked):
    rscript = shutil.which("Rscript")
    there = ["-e", "quit(status = !requireNamespace('Seurat', quietly = TRUE))"]
    if not rscript or subprocess.run([rscript, *there], capture_output=True).returncode:
        pytest.skip("there is no R with Seurat (apt-get install r-cran-seurat)")
    (command,) = commands_of("Rscript")
    subprocess.run(command.split(), cwd=copy.folder, check=True, capture_output=True)
    (copy.folder / "lines.R").write_text(lines_of("r") + LOOK)
    ran = subprocess.run(
        [rscript, "lines.R"], cwd=copy.folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    # What the page's DimPlot draws.
    assert (copy.folder / "Rplots.pdf").stat().st_size > 10_000
    same, seurat, its_object, r = re.search(
        r"SAME (\S+) SEURAT (\S+) OBJECT (\S+) R (\S+)", ran.stdout
    ).groups()
    assert same == "TRUE"
    for name, matrix in (("data", atlas.X), ("counts", atlas.layers["counts"])):
        found = pd.read_csv(copy.folder / f"{name}.csv", index_col=0)
        assert found.columns.tolist() == atlas.obs_names.tolist()
        np.testing.assert_allclose(found.to_numpy().T, matrix.toarray(), rtol=2e-6)
    umap = pd.read_csv(copy.folder / "umap.csv", index_col=0)
    np.testing.assert_allclose(umap.to_numpy(), atlas.obsm["X_umap"], rtol=1e-6)
    idents = pd.read_csv(copy.folder / "idents.csv", index_col=0)["ident"]
    assert idents.tolist() == atlas.obs["cell_type"].tolist()
    checked(
        export="`export/seurat/`", tool=f"Seurat {seurat}, SeuratObject {its_object}, R {r}",
        command="the R lines of this page, and `import.R` alone",
        result="counts, normalised data, map and identities equal the atlas's",
    )  # fmt: skip


def test_the_validator_of_cellxgene_accepts_the_export(for_cellxgene, checked):
    validator = tool("cellxgene", "cellxgene", "cellxgene-schema")
    ran = subprocess.run(
        [validator, "validate", str(for_cellxgene)], capture_output=True, text=True, check=False
    )
    output = ran.stdout + ran.stderr
    assert ran.returncode == 0, output
    (status,) = re.findall(r"status (is_valid=\w+)", output)
    assert status == "is_valid=True"
    number = version_of(str(Path(validator).with_name("python")), "cellxgene-schema")
    checked(
        export="`export/atlas.cellxgene.h5ad`", tool=f"cellxgene-schema {number}",
        command="`cellxgene-schema validate`", result=f"`{status}`",
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize("name", ["atlas.h5ad", "export/atlas.cellxgene.h5ad"])
def test_the_desktop_viewer_of_cellxgene_opens_it(results, for_cellxgene, name, checked, tmp_path):
    viewer = tool("cellxgene-desktop", "cellxgene", "cellxgene")
    expected, port, log = ad.read_h5ad(results / name), free_port(), tmp_path / "cellxgene.log"
    address = f"http://127.0.0.1:{port}/api/v0.2/schema"

    def ask() -> dict:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
                return json.load(answer)["schema"]
        except urllib.error.URLError:
            return {}

    launch = [viewer, "launch", str(results / name), "--host", "127.0.0.1", "--port", str(port)]
    with open(log, "w") as lines:
        server = subprocess.Popen(
            launch, stdout=lines, stderr=lines, env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
        try:
            schema = wait_for(ask, PATIENCE, log)
        finally:
            server.terminate()
            server.wait(timeout=30)
    assert (schema["dataframe"]["nObs"], schema["dataframe"]["nVar"]) == expected.shape
    shown = {column["name"]: column for column in schema["annotations"]["obs"]["columns"]}
    assert set(expected.obs) <= set(shown)
    column = "cell_type" if name == "atlas.h5ad" else "author_cell_type"
    assert sorted(shown[column]["categories"]) == sorted(expected.obs[column].cat.categories)
    assert "umap" in {layout["name"] for layout in schema["layout"]["obs"]}
    number = version_of(str(Path(viewer).with_name("python")), "cellxgene")
    checked(
        export=f"`{name}`", tool=f"cellxgene {number} (desktop)", command="`cellxgene launch`",
        result="its server names all cells, genes, columns, types and the map",
    )  # fmt: skip


def test_anndata_reads_the_zarr_store(results, atlas, checked):
    store = results / "export/atlas.zarr"
    found = ad.read_zarr(store)
    pd.testing.assert_frame_equal(found.obs, atlas.obs)
    assert (found.X != atlas.X).nnz == (found.layers["counts"] != atlas.layers["counts"]).nnz == 0
    np.testing.assert_array_equal(found.obsm["X_umap"], atlas.obsm["X_umap"])
    kind = zarr.open_consolidated(store).metadata.zarr_format
    assert f"zarr's format {kind} with consolidated metadata" in PAGE
    checked(
        export="`export/atlas.zarr`", tool=f"anndata {version('anndata')}, zarr {version('zarr')}",
        command="`read_zarr`, `zarr.open_consolidated`", result="equals the atlas",
    )  # fmt: skip
