"""The atlas: what was written out of core against the same built in memory."""

import hashlib
import json
import time
import tracemalloc
from functools import partial

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from dice_atlas.atlas import matrices
from dice_atlas.atlas.approximations import approximations
from dice_atlas.atlas.columns import cell_types, sample_obs, score_matrix
from dice_atlas.atlas.matrices import plain_strings, unite_genes, write_atlas, write_matrices
from dice_atlas.atlas.provenance import provenance
from dice_atlas.atlas.settings import AtlasSettings, Limits
from dice_atlas.errors import InputError
from dice_atlas.holdout import require_same_cells
from dice_atlas.numerics.blocks import read_blocks
from dice_atlas.tables import read_text_table
from dice_atlas.transfer.settings import VoterSettings
from factories import GENES, TYPES, make_results

SAMPLES = list(GENES)
SHEET = {name: {"extra": {"donor": "x"}} for name in SAMPLES}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return make_results(tmp_path_factory.mktemp("results"))


def write(paths, target):
    files = [paths[name] for name in SAMPLES]
    obs = sample_obs(files, SHEET)
    calls = read_text_table(paths["calls"], "score", "entropy", "n_anchors", "p_reference")
    matrix, names = score_matrix(read_text_table(paths["predictions"]), obs.index)
    card, prior = paths["card"].with_name("timed.json"), paths["card"].with_name("prior")
    # How long a training took differs from run to run.
    card.write_text(json.dumps({"k": 6, "seconds": time.time()}))
    prior.write_bytes(b"weights")
    about = provenance(
        {"config": {"seed": 4, "n": None}, "samples": SHEET},
        files,
        card,
        prior,
        paths["denoised"],
        np.array(names, dtype=object),
    )
    uns = {"dice_atlas": about, "cell_type_scores_names": about["labels"]}
    latents = ad.read_h5ad(paths["latents"])
    obsm = {"X_pca": latents.obsm["X_pca"], "cell_type_scores": matrix}
    obs = obs.drop(columns="label").join(cell_types(obs, calls))
    write_atlas(target, files, obs, obsm, uns, ["g5", "g6"], 1e4)
    return obs


@pytest.fixture(scope="module", params=[7, 2000], ids=["blocks", "whole"])
def written(paths, tmp_path_factory, request):
    target = tmp_path_factory.mktemp("atlas") / "atlas.h5ad"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrices, "read_blocks", partial(read_blocks, size=request.param))
        write(paths, target)
    return target


def in_memory(paths):
    """anndata's own outer join, and scanpy's normalisation."""
    samples = [ad.read_h5ad(paths[name]) for name in SAMPLES]
    whole = ad.concat(samples, join="outer", fill_value=0)
    order = [*GENES["ref"], "extra", "late"]
    whole = whole[:, order].copy()
    whole.layers["counts"] = whole.X.copy()
    whole.X = whole.X.astype(np.float64)
    sc.pp.normalize_total(whole, target_sum=1e4)
    sc.pp.log1p(whole)
    return whole


def test_counts_and_expression_are_those_built_in_memory(written, paths):
    read, expected = ad.read_h5ad(written), in_memory(paths)
    assert read.obs_names.tolist() == expected.obs_names.tolist()
    assert read.var_names.tolist() == expected.var_names.tolist()
    counts = read.layers["counts"]
    assert counts.format == read.X.format == "csr"
    assert counts.dtype == np.int32
    assert read.X.dtype == np.float32
    np.testing.assert_array_equal(counts.toarray(), expected.layers["counts"].toarray())
    np.testing.assert_allclose(read.X.toarray(), expected.X.toarray(), rtol=1e-6)
    assert counts.has_canonical_format
    genes = read.var
    assert genes["n_cells"].tolist() == (counts > 0).sum(axis=0).A1.tolist()
    assert genes.loc["g3", "n_samples"] == 2
    assert genes.loc[["extra", "late"], "n_samples"].tolist() == [1, 1]
    assert genes.index[genes["highly_variable"]].tolist() == ["g5", "g6"]
    assert genes.loc["extra", "gene_id"] == "ENSGextra"


def test_it_reads_in_backed_mode(written, paths):
    backed = ad.read_h5ad(written, backed="r")
    part = backed[10:20].to_memory()
    np.testing.assert_allclose(part.X.toarray(), in_memory(paths)[10:20].X.toarray(), rtol=1e-6)
    backed.file.close()


def test_on_disk_form(written):
    with h5py.File(written) as file:
        for key in ("X", "layers/counts"):
            assert file[key].attrs["encoding-type"] == "csr_matrix"
            assert file[key]["indptr"].dtype == file[key]["indices"].dtype == np.int32
        assert file["obs"].attrs["_index"] in file["obs"]
        kinds = {
            str(item.attrs.get("encoding-type"))
            for item in [*file["obs"].values(), *file["var"].values()]
        }
    assert kinds <= {"array", "string-array", "categorical"}


def test_labels_scores_and_provenance_survive(written):
    read = ad.read_h5ad(written)
    reference = (read.obs["role"] == "reference").to_numpy()
    assert "label" not in read.obs
    assert read.obs["donor"].astype(str).unique().tolist() == [f"donor of {s}" for s in SAMPLES]
    assert set(read.obs["cell_type"][reference]) == set(TYPES)
    assert (read.obs["cell_type"][~reference] == "unassigned").sum() == 10
    scores = read.obsm["cell_type_scores"]
    assert np.isnan(scores[reference]).all()
    assert np.nanmax(scores[~reference], axis=1) == pytest.approx(
        read.obs["cell_type_score"][~reference].to_numpy(), rel=1e-6
    )
    assert read.uns["cell_type_scores_names"].tolist() == sorted(TYPES)
    about = read.uns["dice_atlas"]
    assert about["labels"].tolist() == sorted(TYPES)
    assert json.loads(about["config"]) == {"seed": 4, "n": None}
    assert json.loads(about["inputs"])["q_2"]["sha256"] == "0" * 64
    assert json.loads(about["prior"]) == {"k": 6}
    assert about["prior_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert json.loads(about["dice"]) == {"labels": list(TYPES), "noise_variance": 1.0}
    assert about["versions"]["anndata"] == ad.__version__
    assert about["seed"] == 4


def test_same_input_same_bytes(paths, tmp_path):
    digests = set()
    for name in ("a", "b"):
        write(paths, tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def obs_of(labels, roles):
    index = pd.Index([f"c{i}" for i in range(len(labels))])
    return pd.DataFrame({"label": labels, "role": roles}, index=index)


def test_cell_types_without_a_transfer():
    found = cell_types(obs_of(["B", "", ""], ["reference", "reference", "query"]), None)
    assert found["cell_type"].tolist() == ["B", "unassigned", "unassigned"]
    assert found["cell_type_rule"].tolist() == ["", "no_label_given", "no_labels_transferred"]
    assert found["cell_type_score"].isna().all()
    assert found["cell_type_n_anchors"].tolist() == [0, 0, 0]


def test_the_best_label_is_that_of_the_highest_score_assigned_or_not(written):
    atlas = ad.read_h5ad(written)
    query = (atlas.obs["role"] == "query").to_numpy()
    names = np.asarray(atlas.uns["cell_type_scores_names"], dtype=object)
    best = names[np.asarray(atlas.obsm["cell_type_scores"])[query].argmax(axis=1)]
    assert list(atlas.obs["cell_type_best"][query].astype(str)) == list(best)
    assert (atlas.obs["cell_type"][query] == "unassigned").any()
    assert (atlas.obs["cell_type_best"][~query].astype(str) == "").all()


def test_calls_must_be_of_the_query_cells():
    obs = obs_of(["B", "", ""], ["reference", "query", "query"])
    calls = pd.DataFrame({"cell": ["c1"], "cell_type": ["B"]})
    with pytest.raises(InputError, match="1 cells, expected the 2 query cells"):
        cell_types(obs, calls)


def test_genes_are_united_in_order_and_keep_the_first_id(caplog):
    one = pd.DataFrame({"gene_id": ["E1", ""]}, index=["a", "b"])
    two = pd.DataFrame({"gene_id": ["E2", "E3", "E9"]}, index=["b", "c", "a"])
    genes = unite_genes([one, two])
    assert genes.names.tolist() == ["a", "b", "c"]
    assert genes.ids.tolist() == ["E1", "E2", "E3"]
    assert genes.n_samples.tolist() == [2, 2, 1]
    assert [c.tolist() for c in genes.columns] == [[0, 1], [1, 2, 0]]
    assert "1 genes have another gene_id" in caplog.text


def test_text_columns_become_plain_strings():
    frame = pd.DataFrame(
        {
            "text": pd.array(["a", None], dtype="string"),
            "kind": pd.Categorical(["x", "y"]),
            "yes": [True, False],
            "many": [1.0, np.nan],
        }
    )
    plain = plain_strings(frame)
    assert plain["text"].tolist() == ["a", ""]
    assert plain["text"].cat.categories.dtype == object
    assert plain["yes"].dtype == bool
    assert plain["many"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("seen", "message"),
    [(["a", "b"], "2 against 3 cells"), (["a", "x", "c"], "cell 2 is 'x' against 'b'")],
)
def test_other_cells_are_refused(seen, message):
    require_same_cells(["a", "b", "c"], ["a", "b", "c"], "one and two")
    with pytest.raises(InputError, match=message):
        require_same_cells(seen, ["a", "b", "c"], "one and two")


def test_memory_does_not_grow_with_the_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(matrices, "read_blocks", partial(read_blocks, size=200))
    matrix = sp.random(12_000, 500, density=0.2, format="csr", random_state=0)
    matrix.data[:] = 1
    names = pd.Index([f"c{i}" for i in range(matrix.shape[0])], dtype=object)
    var = pd.DataFrame({"gene_id": ""}, index=pd.Index([f"g{i}" for i in range(500)], dtype=object))
    source = tmp_path / "filtered.h5ad"
    ad.AnnData(matrix.astype(np.int32), obs=pd.DataFrame(index=names), var=var).write_h5ad(source)
    size = matrix.nnz * 8
    genes = unite_genes([var])
    target = tmp_path / "atlas.h5ad"
    ad.AnnData(obs=pd.DataFrame(index=names), var=var).write_h5ad(target)
    del matrix
    tracemalloc.start()
    n_cells = write_matrices(target, [source], genes, 1e4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_cells.sum() == size / 8
    # A block is a sixtieth of the counts; a copy of them all would be the whole.
    assert peak < size / 4


def test_what_is_approximated_is_said_and_nothing_below_the_limits():
    roles = np.repeat(["reference", "query"], [300, 500])
    obs = pd.DataFrame({"role": roles, "sample": [*["r"] * 300, *["a"] * 400, *["b"] * 100]})
    obs["cell_type"] = ["unassigned", *["T"] * 799]
    card = {"settings": {"most": 300}, "n_cells": 300}

    def found(exact=1000, per="all", sketch=1000, card=card, voters=("dice",)):
        asked = VoterSettings(voters, ("dice",), "dice", per)
        settings = AtlasSettings(asked, 0.9, {}, Limits(exact, exact, sketch), {})
        return approximations(obs, settings, card)

    assert found() == found(800, sketch=800) == []
    assert found(799) == ["graph of the clusters and the map: neighbours among 800 cells are "
                          "approximate"]  # fmt: skip
    assert found(799, sketch=700)[1] == "the map starts from one of 700 cells, drawn at random"
    # A quarter of the 299 labelled reference cells is asked about together with the query.
    assert len(found(575)) == 1
    assert found(574)[1] == "label transfer: neighbours among 575 cells are approximate"
    assert len(found(574, voters=("linear",))) == 1
    # The largest search of the transfers to single samples is among the first's 400 cells.
    assert len(found(475, "sample")) == 1
    assert "475 cells" in found(474, "sample")[1]
    assert "the prior is 299 mixed cells of 300" in found(card={**card, "settings": {"most": 299}})
    (said,) = found(sketch=799)
    assert said.startswith("metrics of an embedding look at 799 cells")
    # A network has no such limit.
    assert found(card={"settings": {}, "n_cells": 10**6}) == []
