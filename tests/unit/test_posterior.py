"""Shards of the posterior and their gathering, under a prior that is known in closed form."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from dice_atlas.dice.coordinates import in_coordinates
from dice_atlas.dice.gather import gather
from dice_atlas.dice.posterior import denoise_shard, reference_labels
from dice_atlas.dice.priors import DenoiserPrior
from dice_atlas.dice.settings import DenoiseSettings, RhoSettings
from dice_atlas.errors import InputError
from dice_atlas.features.latents import (
    LatentSettings,
    compute_latents,
    fit_space,
    integrate,
    principal_components,
)
from dice_atlas.features.projection import save_space
from dice_atlas.holdout import reference_rows
from dice_atlas.numerics.shards import shard_rows
from factories import batch_settings, expression_of_types
from sklearn.neighbors import KNeighborsClassifier

TAU = np.array([3.0, 1.5, 0.7])  # standard deviations of the prior, around 0
VARIANCE = {"reference": 0.8, "query": 1.5}
RHO = 0.5
SETTINGS = DenoiseSettings("exact", "gaussian", "auto", 40, "float32", RhoSettings(end=RHO))


def prior_of(tau: np.ndarray) -> DenoiserPrior:
    variance = torch.tensor(tau, dtype=torch.float32) ** 2
    return DenoiserPrior(lambda u, s: variance / (variance + s**2) * u, levels=(0.04, 15.0))


@pytest.fixture
def latents():
    """Query cells stand before and between reference cells, of two labels or none."""
    rng = np.random.default_rng(0)
    role = np.where(np.arange(90) % 3 == 0, "query", "reference")
    points = rng.standard_normal((90, 3)) * np.hypot(TAU, 1)
    label = np.where(points[:, 0] > 0, "right", "left")
    label[(role == "query") | (np.arange(90) % 10 == 1)] = ""
    obs = pd.DataFrame(
        {"sample": "s", "role": role, "batch": "b", "label": label},
        index=[f"c{i}" for i in range(90)],
    )
    uns = {"gram": np.eye(3), "orthonormal": True, "missing_genes": 0}
    uns |= {f"residual_variance_{name}": value for name, value in VARIANCE.items()}
    found = ad.AnnData(obs=obs, uns={"latent": uns})
    found.obsm["X_harmony"] = points.astype(np.float32)
    return found


def shards(latents, settings=SETTINGS, of=1, tau=TAU, expression=None):
    return [
        denoise_shard(
            latents, prior_of(tau), settings, (i + 1, of), 0, "cpu", expression, target_sum=1e4
        )
        for i in range(of)
    ]


def assert_same(one, other):
    assert one.obs_names.equals(other.obs_names)
    for name in ("X_dice", "X_dice_sd", "label_posterior"):
        np.testing.assert_allclose(one.obsm[name], other.obsm[name], atol=1e-5)
    for name in ("dice_uncertainty", "dice_residual"):
        np.testing.assert_allclose(one.obs[name], other.obs[name], rtol=1e-5)


def test_a_shard_holds_the_closed_form_of_each_role(latents):
    (part,) = shards(latents)
    assert part.obs_names.equals(latents.obs_names)
    points = latents.obsm["X_harmony"]
    role = latents.obs["role"].to_numpy()
    for name, variance in VARIANCE.items():
        rows, s2 = role == name, variance + RHO**2
        mean = TAU**2 / (TAU**2 + s2) * points[rows]
        np.testing.assert_allclose(part.obsm["X_dice"][rows], mean, rtol=1e-4)
        spread = TAU**2 * s2 / (TAU**2 + s2)
        np.testing.assert_allclose(part.obs["dice_uncertainty"][rows], spread.sum(), rtol=1e-4)
        residual = np.linalg.norm(points[rows] - mean, axis=1) / np.sqrt(s2)
        np.testing.assert_allclose(part.obs["dice_residual"][rows], residual, rtol=1e-4)
        # 40 samples of each cell.
        sd = part.obsm["X_dice_sd"][rows]
        np.testing.assert_allclose((sd**2).mean(axis=0), spread, rtol=0.12)
        assert part.uns["dice"]["s"][name] == pytest.approx(np.sqrt(s2))
    about = part.uns["dice"]
    assert (about["method"], about["samples"], about["note"]) == ("exact", 40, "")
    assert about["noise_variance"] == VARIANCE
    assert about["iterations"] == {"reference": 0, "query": 0}


def test_a_shard_in_coordinates_has_the_posterior_of_correlated_noise(latents):
    matrix = np.array([[1.0, 0.3, 0.0], [0.3, 0.8, -0.2], [0.0, -0.2, 1.5]])
    latents.obsm["X_pca"] = latents.obsm["X_harmony"]
    prior = prior_of(TAU)
    prior.coordinates = matrix
    part = denoise_shard(latents, prior, SETTINGS, (1, 1), 0, "cpu", None, target_sum=1e4)
    inverse = np.linalg.inv(matrix)
    # In latents the prior is N(0, P), and the noise of a role N(0, s^2 A^-2).
    wide = inverse @ np.diag(TAU**2) @ inverse
    for role, variance in VARIANCE.items():
        own = (latents.obs["role"] == role).to_numpy()
        noise = (variance + RHO**2) * inverse @ inverse
        gain = wide @ np.linalg.inv(wide + noise)
        expected = latents.obsm["X_harmony"][own] @ gain.T
        np.testing.assert_allclose(part.obsm["X_dice"][own] @ inverse, expected, atol=2e-5)
        spread = (TAU**2 * (variance + RHO**2) / (TAU**2 + variance + RHO**2)).sum()
        np.testing.assert_allclose(part.obs["dice_uncertainty"][own], spread, rtol=1e-5)
    np.testing.assert_array_equal(part.uns["dice_coordinates"], matrix)
    assert part.uns["dice"]["noise"] == "within_type"
    # The labelled reference cells are where they are in the coordinates, too.
    moved = (latents.obsm["X_harmony"] @ matrix)[(latents.obs["label"] != "").to_numpy()]
    found, _, _ = reference_labels(in_coordinates(latents, matrix), 0, "cpu")
    np.testing.assert_allclose(found, moved, rtol=1e-5)


def test_labels_of_the_samples_are_those_of_labelled_reference_cells(latents):
    points, codes, names = reference_labels(latents, 0, "cpu")
    labels = latents.obs["label"].to_numpy()
    assert names.tolist() == ["left", "right"]
    np.testing.assert_array_equal(points, latents.obsm["X_harmony"][labels != ""])
    np.testing.assert_array_equal(names[codes], labels[labels != ""])
    (part,) = shards(latents)
    assert part.uns["dice"]["labels"].tolist() == ["left", "right"]
    shares = part.obsm["label_posterior"]
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    # The share and the label of the mean agree for all cells but those at the border.
    model = KNeighborsClassifier(15).fit(points.numpy(), codes.numpy())
    sure = np.abs(latents.obsm["X_harmony"][:, 0]) > 3
    best = model.predict(part.obsm["X_dice"][sure])
    np.testing.assert_array_equal(shares[sure].argmax(axis=1), best)


def test_without_labels_there_are_no_shares(latents):
    latents.obs["label"] = ""
    (part,) = shards(latents)
    assert "label_posterior" not in part.obsm
    assert len(part.uns["dice"]["labels"]) == 0


@pytest.mark.parametrize(("method", "of"), [("exact", 3), ("gibbs", 3), ("exact", 100)])
def test_shards_gathered_are_the_whole(latents, method, of):
    settings = replace(SETTINGS, method=method, iterations=4, repeats=3, samples=3)
    whole = gather(shards(latents, settings), latents.obs_names)
    parts = shards(latents, settings, of)
    # More shards than cells: some have none.
    assert min(part.n_obs for part in parts) == 90 // of
    assert_same(gather(parts, latents.obs_names), whole)
    assert whole.uns["dice"]["method"] == method


def test_gathering_restores_the_order_and_misses_no_cell(latents):
    parts = shards(latents, of=3)
    found = gather(parts[::-1], latents.obs_names)
    assert_same(found, gather(parts, latents.obs_names))
    assert found.uns["dice"]["labels"].tolist() == ["left", "right"]
    with pytest.raises(InputError, match="the shards hold 60 cells and the latents 90"):
        gather(parts[:2], latents.obs_names)
    with pytest.raises(InputError, match="the shards hold 90 cells"):
        gather([parts[0], parts[0], parts[1]], latents.obs_names)


def test_a_likelihood_of_the_genes_reads_the_shards_own_expression(tmp_path):
    rate = np.full((3, 40), 0.8)
    for kind in range(3):
        rate[kind, 10 * kind : 10 * kind + 10] = 4
    labels, expression = expression_of_types(rate, (0.4, 0.3, 0.3), 60, 0)
    reference = np.arange(60) < 40
    obs = pd.DataFrame(
        {
            "sample": "s",
            "role": np.where(reference, "reference", "query"),
            "batch": np.where(np.arange(60) % 2, "a", "b"),
            "label": np.where(reference, labels, ""),
            "total_counts": np.random.default_rng(0).integers(30, 80, 60),
        },
        index=[f"c{i}" for i in range(60)],
    )
    normalized = ad.AnnData(
        sp.csr_matrix(expression), obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(40)])
    )
    batch = batch_settings(n_pcs=6, max_iter=3)
    pcs, weights = principal_components(normalized, 6, 10.0, 0)
    corrected = integrate(normalized, pcs, weights, batch, 0, 1)
    rows = reference_rows(obs)
    space = fit_space(normalized, corrected, rows, LatentSettings(3, 10), 10.0, 0)
    latents = compute_latents(normalized, corrected, space, 1e4)
    files = tmp_path / "normalized.h5ad", tmp_path / "loadings.npz"
    normalized.write_h5ad(files[0])
    save_space(space, files[1])
    settings = replace(SETTINGS, likelihood="student_t", iterations=3, repeats=2)
    tau = latents.obsm["X_harmony"].std(axis=0)
    whole, parts = (shards(latents, settings, of, tau, files) for of in (1, 3))
    assert_same(gather(parts, latents.obs_names), gather(whole, latents.obs_names))
    about = whole[0].uns["dice"]
    assert (about["method"], about["likelihood"], about["samples"]) == ("gibbs", "student_t", 2)
    assert "the likelihood student_t has no closed form" in about["note"]
    assert about["noise_variance"] == about["s"] == {}


def test_rows_of_shards():
    assert [shard_rows(7, i, 3).tolist() for i in (1, 2, 3)] == [[0, 1], [2, 3], [4, 5, 6]]
