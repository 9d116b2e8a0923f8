"""The atlas in files for other tools, read back by those tools or by readers of their formats."""

import gzip
import re
import shutil
import subprocess
from functools import partial

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
import zarr
from described import CELLXGENE
from dice_atlas.counts.genes import read_names
from dice_atlas.errors import InputError
from dice_atlas.export import cellxgene, seurat, store
from dice_atlas.export.targets import FIELDS, TARGETS, require_fields
from dice_atlas.numerics.blocks import read_blocks
from factories import make_atlas
from scipy.io import mmread

# What a table must bring through as it is: texts that look like other things.
STRANGE = ["NA", "01", 'a, "b"', "", "TRUE"]


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    strange = [STRANGE[i % len(STRANGE)] for i in range(180)]
    folder, palette = tmp_path_factory.mktemp("atlas"), {"NK": "#AA00FF"}
    return make_atlas(folder, palette=palette, strange=strange, **CELLXGENE, sex="female")


@pytest.fixture(scope="module")
def without_counts(tmp_path_factory):
    return make_atlas(tmp_path_factory.mktemp("logged"), counts=False, **CELLXGENE)


@pytest.fixture(scope="module")
def folders(atlas, without_counts, root, tmp_path_factory):
    """What export_seurat writes of both, in blocks of a few cells."""
    made = tmp_path_factory.mktemp("seurat")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seurat, "read_blocks", partial(read_blocks, size=7))
        for name, path in (("counts", atlas), ("logged", without_counts)):
            seurat.write_seurat(path, root / "resources/import_seurat.R", made / name)
    return made


def test_scanpy_reads_the_folder_for_seurat_back(folders, atlas):
    expected, found = ad.read_h5ad(atlas), sc.read_10x_mtx(folders / "counts")
    assert found.obs_names.tolist() == expected.obs_names.tolist()
    assert found.var_names.tolist() == expected.var_names.tolist()
    assert found.var["gene_ids"].tolist() == expected.var["gene_id"].tolist()
    assert (expected.layers["counts"] != found.X).nnz == 0
    with gzip.open(folders / "counts/matrix.mtx.gz", "rt") as lines:
        assert next(lines) == "%%MatrixMarket matrix coordinate integer general\n"


def test_without_counts_the_folder_has_the_expression(folders, without_counts):
    expected = ad.read_h5ad(without_counts)
    found = sp.csr_matrix(mmread(folders / "logged/matrix.mtx.gz").T)
    np.testing.assert_allclose(found.toarray(), expected.X.toarray(), rtol=1e-6)
    assert "has_counts <- FALSE" in (folders / "logged/import.R").read_text()


def test_tables_for_seurat_have_all_columns_levels_and_colours(folders, atlas):
    expected = ad.read_h5ad(atlas)
    found = pd.read_csv(folders / "counts/metadata.csv", index_col=0, dtype=str,
                        keep_default_na=False)  # fmt: skip
    assert found.columns.tolist() == expected.obs.columns.tolist()
    assert found["strange"].tolist() == expected.obs["strange"].tolist()
    columns = pd.read_csv(folders / "counts/columns.csv", dtype=str, keep_default_na=False)
    levels = columns[columns["column"] == "cell_type"]
    assert levels["value"].tolist() == expected.obs["cell_type"].cat.categories.tolist()
    assert levels["color"].tolist() == expected.uns["cell_type_colors"].tolist()
    # A colour that the user chose.
    assert levels.set_index("value")["color"]["NK"] == "#AA00FF"
    kinds = columns.drop_duplicates("column").set_index("column")["class"]
    assert kinds[["cluster", "predicted_doublet", "n_genes", "cell_type_score"]].tolist() == [
        "factor", "logical", "integer", "numeric",
    ]  # fmt: skip
    embeddings = pd.read_csv(folders / "counts/embeddings.csv", index_col=0)
    assert embeddings.columns.tolist() == [*(f"dice_{i}" for i in range(1, 7)), "umap_1", "umap_2"]
    np.testing.assert_array_equal(
        embeddings.to_numpy(np.float32),
        np.hstack([expected.obsm["X_dice"], expected.obsm["X_umap"]]),
    )


def test_the_documented_targets_are_those_that_there_are(root):
    page, rules = (root / name for name in ("docs/handover.md", "rules/export.smk"))
    asked = re.findall(r"-- (export_\w+)` \| `(\S+?)/?` \|", page.read_text())
    assert dict(asked) == {f"export_{name}": path for name, path in TARGETS.items()}
    assert set(re.findall(r"^rule (\w+):", rules.read_text(), re.MULTILINE)) == {*dict(asked)}
    # The sheet of the example is the one that the workflow's test runs with.
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)`", page.read_text(), re.MULTILINE)
    assert {name: value for name, value in rows if name in FIELDS} == CELLXGENE
    assert {*CELLXGENE} == {*FIELDS}


def test_the_same_atlas_gives_the_same_bytes(atlas, folders, root, tmp_path):
    seurat.write_seurat(atlas, root / "resources/import_seurat.R", tmp_path / "again")
    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (folders / "counts" / path.name).read_bytes(), path.name


# Reads both folders, and writes what the objects hold.
LOOK = """
suppressPackageStartupMessages(library(Seurat))
for (name in c("counts", "logged")) {
  source(file.path(name, "import.R"))
  atlas <- read_atlas(name)
  # Version 5 calls a slot a layer.
  old <- packageVersion("SeuratObject") < "5"
  data <- if (old) GetAssayData(atlas, slot = "data") else GetAssayData(atlas, layer = "data")
  write.csv(as.matrix(data), paste0(name, "_data.csv"))
  write.csv(cbind(atlas[[]], ident = Idents(atlas)), paste0(name, "_metadata.csv"))
  write.csv(Embeddings(atlas, "dice"), paste0(name, "_dice.csv"))
  writeLines(c(levels(atlas$leiden_2), Misc(atlas, "colors")$leiden_2), paste0(name, "_levels"))
}
"""


def has_seurat():
    code = "quit(status = !requireNamespace('Seurat', quietly = TRUE))"
    rscript = shutil.which("Rscript")
    return rscript and not subprocess.run([rscript, "-e", code], capture_output=True).returncode


def test_r_makes_a_seurat_object_of_the_folder(folders, atlas, without_counts):
    if not has_seurat():
        pytest.skip("there is no R with Seurat (apt-get install r-cran-seurat)")
    ran = subprocess.run(
        ["Rscript", "-e", LOOK], cwd=folders, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    for name, path in (("counts", atlas), ("logged", without_counts)):
        expected = ad.read_h5ad(path)
        data = pd.read_csv(folders / f"{name}_data.csv", index_col=0)
        assert data.columns.tolist() == expected.obs_names.tolist()
        # NormalizeData finds what the atlas has in X.
        np.testing.assert_allclose(data.to_numpy().T, expected.X.toarray(), rtol=2e-6)
        table = pd.read_csv(
            folders / f"{name}_metadata.csv", index_col=0, dtype=str, keep_default_na=False
        )
        assert table.index.tolist() == expected.obs_names.tolist()
        for column in ("cell_type", "cluster", "donor", *["strange"] * (name == "counts")):
            assert table[column].tolist() == expected.obs[column].astype(str).tolist(), column
        assert table["ident"].tolist() == table["cell_type"].tolist()
        scores = table["cell_type_score"].replace("NA", "nan").astype(float)
        np.testing.assert_allclose(scores, expected.obs["cell_type_score"])
        dice = pd.read_csv(folders / f"{name}_dice.csv", index_col=0)
        np.testing.assert_allclose(dice.to_numpy(), expected.obsm["X_dice"], rtol=1e-6)
        levels = (folders / f"{name}_levels").read_text().split()
        assert levels[:12] == expected.obs["leiden_2"].cat.categories.tolist()
        assert levels[12:] == expected.uns["leiden_2_colors"].tolist()


def test_a_zarr_store_holds_what_the_atlas_does(atlas, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHUNK", 100)
    store.write_zarr(atlas, tmp_path / "atlas.zarr")
    found, expected = ad.read_zarr(tmp_path / "atlas.zarr"), ad.read_h5ad(atlas)
    assert (found.X != expected.X).nnz == 0
    assert (found.layers["counts"] != expected.layers["counts"]).nnz == 0
    pd.testing.assert_frame_equal(found.obs, expected.obs)
    pd.testing.assert_frame_equal(found.var, expected.var)
    np.testing.assert_array_equal(found.obsm["X_umap"], expected.obsm["X_umap"])
    assert (found.obsp["distances"] != expected.obsp["distances"]).nnz == 0
    assert found.uns["cell_type_colors"].tolist() == expected.uns["cell_type_colors"].tolist()
    # Readers over a network ask for all metadata at once.
    opened = zarr.open_consolidated(tmp_path / "atlas.zarr")
    assert opened["layers/counts/data"].chunks == (100,)
    assert opened.metadata.zarr_format == 2


@pytest.fixture(scope="module")
def for_cellxgene(atlas, tmp_path_factory):
    """The file of an atlas whose genes are human: symbols with an id, without one, and unknown."""
    folder = tmp_path_factory.mktemp("cellxgene")
    path, made = folder / "atlas.h5ad", folder / "atlas.cellxgene.h5ad"
    human = ad.read_h5ad(atlas)
    names = human.var_names.to_numpy(dtype=object)
    names[:4] = ["CD3D", "MS4A1", "NKG7", "LYZ"]
    human.var_names = names
    # The last two have none, and are no symbols.
    ids = read_names("human").index[1000 : 1000 + len(names) - 6]
    human.var["gene_id"] = ["ENSG00000167286", "", "", "", *ids, "", ""]
    human.write_h5ad(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cellxgene, "read_blocks", partial(read_blocks, size=7))
        cellxgene.write_cellxgene(path, made, "A title")
    return made


def test_the_file_for_cellxgene_has_genes_by_id_and_counts_in_raw(for_cellxgene, atlas):
    found, expected = ad.read_h5ad(for_cellxgene), ad.read_h5ad(atlas)
    # The ids that Ensembl gives CD3D, MS4A1, NKG7 and LYZ.
    ids = ["ENSG00000167286", "ENSG00000156738", "ENSG00000105374", "ENSG00000090382"]
    assert found.var_names[:4].tolist() == found.raw.var_names[:4].tolist() == ids
    assert found.n_vars == expected.n_vars - 2
    assert (expected.X[:, :-2] != found.X).nnz == 0
    assert (expected.layers["counts"][:, :-2] != found.raw.X).nnz == 0
    assert found.raw.X.dtype == found.X.dtype == np.float32
    assert not found.var["feature_is_filtered"].any()


def test_the_file_for_cellxgene_has_the_columns_of_the_schema(for_cellxgene, atlas):
    found, expected = ad.read_h5ad(for_cellxgene), ad.read_h5ad(atlas)
    assert {*FIELDS} - {"organism_ontology_term_id"} < {*found.obs}
    assert found.uns["organism_ontology_term_id"] == "NCBITaxon:9606"
    assert found.uns["title"] == "A title"
    assert not {"cell_type", "sex", "organism_ontology_term_id"} & {*found.obs}
    assert found.obs["author_cell_type"].tolist() == expected.obs["cell_type"].tolist()
    assert (
        found.uns["author_cell_type_colors"].tolist() == expected.uns["cell_type_colors"].tolist()
    )
    assert found.obs["is_primary_data"].tolist() == (expected.obs["role"] == "query").tolist()
    assert set(found.obs["cell_type_ontology_term_id"]) == {"CL:0000236"}


def test_a_given_column_says_what_is_primary_and_what_has_no_id_is_unknown():
    obs = pd.DataFrame(
        {"role": "query", "is_primary_data": ["TRUE", "false"], "cell_type": ["B", "T"],
         "cell_type_ontology_term_id": ["", "CL:0000084"], "organism_ontology_term_id": "x"}
    )  # fmt: skip
    kept, _ = cellxgene.as_schema_wants(obs, {})
    assert kept["is_primary_data"].tolist() == [True, False]
    assert kept["cell_type_ontology_term_id"].tolist() == ["unknown", "CL:0000084"]


def test_all_that_cellxgene_lacks_is_said_at_once(atlas, without_counts, tmp_path):
    require_fields({"a": CELLXGENE, "b": CELLXGENE})
    rows = {"a": CELLXGENE, "b": {**CELLXGENE, "donor_id": "", "tissue_type": ""}}
    with pytest.raises(InputError) as error:
        require_fields({**rows, "c": {**CELLXGENE, "organism_ontology_term_id": "NCBITaxon:10090"}})
    text = str(error.value)
    assert "donor_id of b: expected a name of the donor" in text
    assert "tissue_type of b: expected tissue, organoid" in text
    assert "seen NCBITaxon:10090, NCBITaxon:9606, expected one for all samples" in text
    with pytest.raises(
        InputError, match=r"assay_ontology_term_id of every sample: expected an EFO id"
    ):
        require_fields({"a": {}})
    with pytest.raises(InputError, match="seen an atlas without counts"):
        cellxgene.write_cellxgene(without_counts, tmp_path / "x.h5ad", "t")
    # g0, g1 ... are no genes of anything.
    with pytest.raises(InputError, match=re.escape("none of the 42 genes (such as g0, g1, g2)")):
        cellxgene.write_cellxgene(atlas, tmp_path / "x.h5ad", "t")
    assert not list(tmp_path.iterdir())
