"""What stands behind labels, against means of expression and counts by hand."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from dice_atlas.errors import InputError
from dice_atlas.features.projection import LatentSpace
from dice_atlas.numerics.scaling import Scaling
from dice_atlas.transfer.explain import cluster_agreement, explain, label_genes

GENES = np.array([f"G{i}" for i in range(30)])


def test_weights_are_differences_of_mean_expression():
    """With as many dimensions as genes nothing is lost: V V^T is the identity."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], [30, 20, 10])
    expression = rng.normal(size=(60, 30))
    expression[:30, 3] += 4
    expression[30:50, 7] += 4
    expression[50:, 7] += 2
    loadings = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    found = label_genes(expression @ loadings, labels, loadings, GENES)
    mean = pd.DataFrame(expression, columns=GENES).groupby(labels).mean()
    for label, nearest, cells in (("a", "c", 30), ("b", "c", 20), ("c", "b", 10)):
        own = found[found["label"] == label]
        assert set(own["against"]) == {"all others", nearest}
        assert set(own["cells"]) == {cells}
        for against, base in (
            ("all others", mean.drop(label).mean()),
            (nearest, mean.loc[nearest]),
        ):
            genes = own[own["against"] == against].set_index("gene")
            apart = (mean.loc[label] - base).nlargest(20)
            assert genes.index.tolist() == apart.index.tolist()
            assert genes["rank"].tolist() == list(range(1, 21))
            np.testing.assert_allclose(genes["weight"], apart)
    assert found.query("label == 'a'")["gene"].iloc[0] == "G3"
    assert found.query("label == 'b'")["gene"].iloc[0] == "G7"


def test_one_label_has_nothing_to_be_told_from(caplog):
    found = label_genes(np.ones((5, 2)), np.repeat("a", 5), np.eye(30, 2), GENES)
    assert found.empty
    assert "nothing to tell apart" in caplog.text


def test_agreement_of_clusters():
    names = [f"c{i}" for i in range(10)]
    cells = pd.DataFrame(
        {"role": ["reference"] * 3 + ["query"] * 7, "label": ["T", "T", ""] + [""] * 7}, index=names
    )
    clusters = pd.Series(["0"] * 8 + ["1"] * 2, index=names)
    calls = pd.DataFrame(
        {"cell": names[3:], "cell_type": ["T", "B", "T", "T", "unassigned", "unassigned", "B"]}
    )
    found = cluster_agreement(cells, {"pca": calls, "dice": calls[:4]}, clusters)
    first, second, third, _ = found.itertuples(index=False)
    assert first[:4] == ("pca", "0", 5, "T")
    assert first.agreement == pytest.approx(3 / 4)
    assert first.unassigned == pytest.approx(1 / 5)
    assert first[6:] == (3 - 1, "T", 1.0)
    assert second[1:4] == ("1", 2, "B")
    assert second.unassigned == pytest.approx(0.5)
    assert second.reference_cells == 0
    assert second.reference_label == ""
    assert third[:4] == ("dice", "0", 4, "T")
    calls["cell_type"] = ["unassigned"] * 3 + ["B"] * 4
    lost = cluster_agreement(cells, {"pca": calls}, clusters).iloc[0]
    assert lost[["label", "agreement", "unassigned"]].tolist() == ["unassigned", 0.6, 0.6]


@pytest.fixture
def denoised():
    """Labelled and unlabelled reference cells, and query cells, on 30 genes of their own."""
    names = [f"c{i}" for i in range(9)]
    obs = pd.DataFrame(
        {
            "role": ["reference"] * 6 + ["query"] * 3,
            "label": ["T", "T", "B", "B", "B", "", "", "", ""],
        },
        index=names,
    )
    positions = np.random.default_rng(0).normal(size=(9, 30)).astype(np.float32)
    return ad.AnnData(obs=obs.astype("category"), obsm={"X_dice": positions})


def space_of_genes():
    scaling, none = Scaling(np.ones(30), np.ones(30), np.zeros(30)), np.array([], dtype=str)
    return LatentSpace(GENES, np.eye(30), scaling, np.ones(30), none)


def test_both_tables_of_an_atlas(denoised):
    names = denoised.obs_names.tolist()
    calls = pd.DataFrame({"cell": names[6:], "cell_type": ["T", "T", "unassigned"]})
    clusters = pd.DataFrame({"cell": names, "cluster": ["0"] * 7 + ["1", "1"]})
    genes, agreement = explain(denoised, space_of_genes(), {"dice": calls}, clusters)
    # Only labelled reference cells have a say.
    assert genes.groupby("label")["cells"].first().to_dict() == {"B": 3, "T": 2}
    x = denoised.obsm["X_dice"].astype(float)
    apart = pd.Series(x[:2].mean(axis=0) - x[2:5].mean(axis=0), index=GENES).nlargest(20)
    own = genes[(genes["label"] == "T") & (genes["against"] == "all others")].set_index("gene")
    assert own.index.tolist() == apart.index.tolist()
    np.testing.assert_allclose(own["weight"], apart, rtol=1e-6)
    found = agreement.set_index("cluster")
    assert found.loc["0", ["query_cells", "label", "agreement"]].tolist() == [1, "T", 1.0]
    assert found.loc["0", ["reference_cells", "reference_label"]].tolist() == [5, "B"]
    assert found.loc["1", ["query_cells", "label", "unassigned"]].tolist() == [2, "T", 0.5]


def test_genes_are_those_of_the_latents_in_any_coordinates(denoised):
    clusters = pd.DataFrame({"cell": denoised.obs_names, "cluster": "0"})
    expected, _ = explain(denoised, space_of_genes(), {}, clusters)
    factor = np.random.default_rng(1).normal(size=(30, 30))
    matrix = factor @ factor.T / 30 + np.eye(30)
    denoised.obsm["X_dice"] = denoised.obsm["X_dice"].astype(float) @ matrix
    denoised.uns["dice_coordinates"] = matrix
    found, _ = explain(denoised, space_of_genes(), {}, clusters)
    assert found["gene"].tolist() == expected["gene"].tolist()
    np.testing.assert_allclose(found["weight"], expected["weight"], rtol=1e-6)


def test_clusters_of_other_cells_are_refused(denoised):
    clusters = pd.DataFrame({"cell": denoised.obs_names[::-1], "cluster": "0"})
    with pytest.raises(InputError, match="do not hold the same cells in the same order"):
        explain(denoised, space_of_genes(), {}, clusters)
