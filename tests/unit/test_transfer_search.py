"""The label transfer on small sample files, from counts to calls."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from dice_atlas.errors import InputError
from dice_atlas.files import write_table
from dice_atlas.names import SYNTHETIC
from dice_atlas.transfer.anchors import NoAnchors
from dice_atlas.transfer.calls import NO_ANCHOR, call, gathered, transfer
from dice_atlas.transfer.dataset import (
    log_normalize,
    read_cells,
    read_expression,
    reference_features,
)
from dice_atlas.transfer.labels import predictions_table
from dice_atlas.transfer.scores import read_annotation
from dice_atlas.transfer.search import dice_space, expression_space, find
from dice_atlas.transfer.settings import (
    AnchorSettings,
    CallSettings,
    ReductionSettings,
    WeightSettings,
)

GENES = [f"G{i}" for i in range(150)]
REDUCTION = ReductionSettings("pcaproject", dims=10, nfeatures=80)
ANCHORS = AnchorSettings(5, k_filter=50, k_score=15, max_features=60, exact_up_to=1000)
WEIGHTS = WeightSettings(k_weight=20, exact_up_to=1000)
CALLS = CallSettings(unassigned_below=0.5, outside_below=0, coverage=0.8)


def write_sample(path, role, labels, seed, genes=GENES):
    """Cells of three types, each with 20 genes of its own; `labels` as types, "?" = unknown."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, 90)
    rate = np.full((90, len(GENES)), 0.8)
    for kind in range(3):
        rate[np.ix_(kinds == kind, range(20 * kind, 20 * kind + 20))] = 4.0
    columns = [GENES.index(g) for g in genes]
    x = rng.poisson(rate)[:, columns].astype(np.int32)
    names = np.array(["A", "B", "C"])[kinds]
    obs = pd.DataFrame(
        {
            "sample": path.stem,
            "role": role,
            "batch": path.stem,
            "label": np.where(rng.random(90) < 0.1, "", names) if labels else "",
            "truth": names,
            "cell_key": [f"{path.stem}_{i}" for i in range(90)],
        },
        index=[f"{path.stem}_{i}" for i in range(90)],
    )
    var = pd.DataFrame({"gene_id": ""}, index=genes)
    ad.AnnData(sp.csr_matrix(x), obs=obs, var=var).write_h5ad(path)
    return path


@pytest.fixture
def samples(tmp_path):
    return [
        write_sample(tmp_path / "q1.h5ad", "query", False, 1, GENES[::-1]),
        write_sample(tmp_path / "r1.h5ad", "reference", True, 2),
        write_sample(tmp_path / "r2.h5ad", "reference", True, 3),
        write_sample(tmp_path / "q2.h5ad", "query", False, 4, [g for g in GENES if g != "G3"]),
    ]


def truth(paths, role):
    obs = pd.concat([ad.read_h5ad(path).obs for path in paths])
    return obs.loc[obs["role"] == role, "truth"]


def denoised(tmp_path, samples):
    """Stand-ins of denoise/denoised.h5ad and latent/loadings.npz: a plain PCA."""
    genes = [g for g in GENES if g != "G3"]
    x = read_expression(samples, genes).toarray()
    _, _, v = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    latents = ad.AnnData(obs=read_cells(samples), obsm={"X_dice": (x @ v[:6].T).astype("f4")})
    latents.write_h5ad(tmp_path / "denoised.h5ad")
    loadings = np.vstack([v[:6].T, np.zeros((1, 6))])
    np.savez(tmp_path / "loadings.npz", genes=np.array([*genes, "G3"]), loadings=loadings)
    return tmp_path / "denoised.h5ad", tmp_path / "loadings.npz"


def make_space(name, tmp_path, samples):
    if name == "dice":
        embedding, loadings = denoised(tmp_path, samples)
        return dice_space(samples, [embedding], loadings, read_cells(samples).index, 60)
    return expression_space(samples, replace(REDUCTION, method=name), 0)


@pytest.mark.parametrize("name", ["pcaproject", "cca", "dice"])
def test_labels_from_counts_to_calls(tmp_path, samples, name):
    cells = read_cells(samples)
    anchors, weights, calibration = find(
        make_space(name, tmp_path, samples), cells, ANCHORS, WEIGHTS
    )
    # Through the files, as between the rules.
    write_table(anchors, tmp_path / "anchors.tsv.gz")
    weights.write_h5ad(tmp_path / "weights.h5ad")
    anchors = pd.read_csv(tmp_path / "anchors.tsv.gz", sep="\t", keep_default_na=False)
    weights = ad.read_h5ad(tmp_path / "weights.h5ad")
    predictions = predictions_table(weights.obs_names, transfer(anchors, weights, WEIGHTS))
    held = calibration[calibration["role"] == "reference"].set_index("cell")
    calls = call(predictions, calibration, CALLS)
    assert calls["p_reference"].min() >= 1 / (1 + len(held))
    assert (calls["p_reference"] <= 0.1).mean() < 0.2

    expected = truth(samples, "query")
    assert calls["cell"].tolist() == expected.index.tolist() == weights.obs_names.tolist()
    assert (calls["predicted"].to_numpy() == expected.to_numpy()).mean() > 0.97
    assert set(anchors["reference_cell"]) <= set(truth(samples, "reference").index)
    known = cells.loc[(cells["role"] == "reference") & (cells["label"] != ""), "label"]
    asked = calibration.loc[calibration["role"] == "query"]
    assert asked["cell"].tolist() == weights.obs_names.tolist()
    assert set(asked["label"]) == {""}
    assert (held["label"] == known[held.index]).all()
    assert len(held) == pytest.approx(0.25 * len(known), abs=2)
    scores = [f"score:{label}" for label in dict.fromkeys(known)]
    columns = ["cell", "sample", "role", "label", "predicted", "support", *scores]
    assert calibration.columns.tolist() == columns
    assert predictions.columns.tolist()[4:] == scores
    assert (calls["prediction_set"] != "").mean() > 0.6


def test_anchors_without_scores_are_called_all_the_same(samples):
    """`annotate.k.score: null`: every anchor scores 1, and support is counted among 30 cells."""
    settings, cells = replace(ANCHORS, k_score=None), read_cells(samples)
    space = expression_space(samples, REDUCTION, 0)
    anchors, weights, calibration = find(space, cells, settings, WEIGHTS)
    assert set(anchors["score"]) == {1.0}
    predictions = predictions_table(weights.obs_names, transfer(anchors, weights, WEIGHTS))
    calls = call(predictions, calibration, CALLS)
    expected = truth(samples, "query")
    assert (calls["predicted"].to_numpy() == expected.to_numpy()).mean() > 0.97
    assert calls["p_reference"].between(0, 1).all()
    # Shares of 30 cells.
    thirtieths = 30 * calibration["support"].to_numpy()
    np.testing.assert_allclose(thirtieths, np.round(thirtieths), atol=1e-9)


@pytest.mark.parametrize("name", ["pcaproject", "dice"])
def test_synthetic_cells_make_anchors_and_calibrate_nothing(tmp_path, samples, name):
    made = ad.read_h5ad(samples[1])
    names = [f"{SYNTHETIC}{i}" for i in range(made.n_obs)]
    made.obs_names, made.obs["sample"], made.obs["cell_key"] = names, "synthetic", names
    made.write_h5ad(tmp_path / "made.h5ad")
    whole = [*samples, tmp_path / "made.h5ad"]
    cells = read_cells(whole)
    if name == "dice":
        embedding, loadings = denoised(tmp_path, whole)
        space = dice_space(whole, [embedding], loadings, cells.index, 60)
    else:
        space = expression_space(samples, REDUCTION, 0, [tmp_path / "made.h5ad"])
        # Genes are chosen without them.
        plain = expression_space(samples, REDUCTION, 0).expression
        assert (space.expression[: plain.shape[0]] != plain).nnz == 0
    anchors, weights, calibration = find(space, cells, ANCHORS, WEIGHTS)
    assert anchors["reference_cell"].str.startswith(SYNTHETIC).any()
    held = calibration[calibration["role"] == "reference"]
    assert len(held)
    assert not held["cell"].str.startswith(SYNTHETIC).any()
    assert (
        predictions_table(weights.obs_names, transfer(anchors, weights, WEIGHTS))["synthetic"]
        .between(0, 1)
        .all()
    )


def test_same_input_same_bytes(tmp_path, samples):
    for run in ("first", "second"):
        space = expression_space(samples, REDUCTION, 5)
        anchors, _, calibration = find(space, read_cells(samples), ANCHORS, WEIGHTS)
        write_table(anchors, tmp_path / f"{run}_a.tsv.gz")
        write_table(calibration, tmp_path / f"{run}_c.tsv.gz")
    for part in ("a", "c"):
        first, second = (tmp_path / f"{run}_{part}.tsv.gz" for run in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_features_are_scanpys_of_the_reference_that_every_sample_has(samples):
    data = ad.concat([ad.read_h5ad(path) for path in samples[1:3]])
    data.X = data.X.astype(np.float32)
    table = sc.pp.highly_variable_genes(data, flavor="seurat_v3", n_top_genes=140, inplace=False)
    best = data.var_names[table["highly_variable"].to_numpy()]
    assert "G3" in best
    found = reference_features(samples, 140)
    assert set(found) == set(best.drop("G3"))
    variances = table["variances_norm"].set_axis(data.var_names)[found]
    assert (np.diff(variances) < 1e-5).all()  # best first


def test_variable_genes_that_a_sample_lacks(tmp_path, samples):
    varying = reference_features(samples, 40)
    rest = [g for g in GENES if g not in varying[6:]]
    other = write_sample(tmp_path / "q3.h5ad", "query", False, 5, rest)
    with pytest.raises(InputError, match=r"6 of the 40 variable .* lacks .*, all have such as"):
        reference_features([*samples, other], 40)


def test_expression_is_normalised_by_the_totals_over_all_genes(samples):
    found = read_expression(samples, ["G5", "G0"]).toarray()
    rows = []
    for path in samples:
        sample = ad.read_h5ad(path)
        x = sample.X.toarray()
        shares = x / x.sum(axis=1, keepdims=True) * 1e4
        rows.append(np.log1p(shares)[:, sample.var_names.get_indexer(["G5", "G0"])])
    np.testing.assert_allclose(found, np.vstack(rows), rtol=1e-12)
    empty = log_normalize(sp.csr_matrix((2, 3), dtype=np.int32), np.zeros(2))
    assert empty.toarray().tolist() == [[0.0] * 3] * 2


def test_embedding_of_other_cells_is_refused(tmp_path, samples):
    embedding, loadings = denoised(tmp_path, samples[:3])
    with pytest.raises(InputError, match=r"lacks \d+ of the \d+ cells .*: remove it"):
        dice_space(samples, [embedding], loadings, read_cells(samples).index, 60)


def test_a_reference_too_small_to_calibrate_is_no_error(tmp_path, samples, caplog):
    cells = read_cells(samples)
    few = cells.copy()
    few["label"] = ""
    few.loc[few.index[[100, 101, 102]], "label"] = ["A", "A", "B"]
    _, _, calibration = find(expression_space(samples, REDUCTION, 0), few, ANCHORS, WEIGHTS)
    assert calibration.empty
    columns = ["cell", "sample", "role", "label", "predicted", "support", "score:A", "score:B"]
    assert calibration.columns.tolist() == columns
    assert "cannot be calibrated" in caplog.text


def test_one_sample_of_several_takes_its_own_rows_of_the_denoised_cells(tmp_path, samples):
    embedding, loadings = denoised(tmp_path, samples)
    whole = ad.read_h5ad(embedding)
    alone = [*samples[1:3], samples[3]]
    cells = read_cells(alone)
    space = dice_space(alone, [embedding], loadings, cells.index, 60)
    np.testing.assert_array_equal(space.embedding, whole[cells.index].obsm["X_dice"])
    assert space.expression.shape[0] == len(cells)


class Apart:
    """A space in which no cell of the query is near one of the reference, held-out cells are."""

    def __init__(self, space):
        self.space, self.asked = space, 0

    def anchors(self, reference, query, settings):
        self.asked += 1
        if self.asked == 1:
            raise NoAnchors("no anchor is left of 0")
        return self.space.anchors(reference, query, settings)


def test_a_sample_without_anchors_stops_no_other(tmp_path, samples, caplog):
    cells, space = read_cells(samples[:3]), expression_space(samples[:3], REDUCTION, 0)
    with pytest.raises(NoAnchors):
        find(Apart(space), cells, ANCHORS, WEIGHTS)
    anchors, weights, calibration = find(Apart(space), cells, ANCHORS, WEIGHTS, one_of_several=True)
    assert "no cell gets a label: no anchor is left of 0" in caplog.text
    write_table(anchors, tmp_path / "anchors.tsv.gz")
    write_table(calibration, tmp_path / "calibration.tsv.gz")
    result = transfer(read_annotation(tmp_path / "anchors.tsv.gz"), weights, WEIGHTS)
    predictions = predictions_table(weights.obs_names, result)
    calls = call(predictions, read_annotation(tmp_path / "calibration.tsv.gz"), CALLS)
    assert calls["cell"].tolist() == cells.index[cells["role"] == "query"].tolist()
    assert set(calls["cell_type"]) == {"unassigned"}
    assert set(calls["rule"]) == {NO_ANCHOR}
    # Held-out cells have anchors; what they say of the query means nothing.
    assert set(calls["prediction_set"]) == {""}
    assert calls["p_reference"].isna().all()
    found = calls.assign(rule="")
    assert len(gathered([calls, found.assign(cell=found["cell"] + "b")])) == 2 * len(calls)
    with pytest.raises(InputError, match="none of the 2 query samples has an anchor"):
        gathered([calls, calls.assign(cell=calls["cell"] + "b")])
