"""The benchmark's comparison methods against closed forms, definitions and other programs."""

import anndata as ad
import jsonschema
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from dice_atlas.baselines.alra import alra_embedding
from dice_atlas.baselines.embed import embed
from dice_atlas.baselines.factorization import nmf_embedding
from dice_atlas.baselines.kernel import kernel_posterior
from dice_atlas.baselines.magic import diffusion_operator, magic
from dice_atlas.baselines.methods import ALWAYS, EMBEDDED, METHODS, PRIORS, methods_schema
from dice_atlas.baselines.smoothing import knn_smoothing
from dice_atlas.errors import InputError
from factories import blobs, expression_of_types
from scipy.linalg import eigh, sqrtm
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf


@pytest.fixture(scope="module")
def points():
    return blobs(3, 40, 5, seed=2, distance=3.0)[0].astype(np.float64)


@pytest.fixture(scope="module")
def expression():
    """Three types' log-normalised expression, 150 cells x 80 genes."""
    rate = np.random.default_rng(0).gamma(0.5, 2.0, size=(3, 80))
    return expression_of_types(rate, (0.5, 0.3, 0.2), 150, seed=1)[1]


@pytest.mark.parametrize("n", [1, 5, 120])
def test_smoothing_by_its_definition(points, n):
    nearest = np.argsort(cdist(points, points), axis=1)[:, :n]
    np.testing.assert_allclose(knn_smoothing(points, n), points[nearest].mean(axis=1))


def test_smoothing_says_what_is_wrong(points):
    for n in (0, 121):
        with pytest.raises(InputError, match="expected 1 to the number of cells, 120"):
            knn_smoothing(points, n)


@pytest.mark.parametrize("name", ["scores", "few"])
def test_magic_is_magic_impute(root, name):
    stored = np.load(root / "tests/oracle/magic.npz")
    found = magic(stored[name])
    np.testing.assert_allclose(found, stored[f"{name}_magic"], rtol=1e-9, atol=1e-9)
    # The input is not near the output by itself.
    assert np.abs(stored[name] - stored[f"{name}_magic"]).max() > 1


def test_magic_moves_nothing_between_groups_far_apart():
    """Ten cells: six of each one's 15 nearest are of the other group."""
    near = np.random.default_rng(0).normal(size=(10, 4))
    found = magic(np.concatenate([near, near + 1000]))
    np.testing.assert_allclose(found[:10], magic(near), atol=1e-8)
    np.testing.assert_allclose(found[10:], magic(near) + 1000, atol=1e-8)


def test_magic_with_duplicates_and_few_cells(points):
    copies = np.repeat(points[:3], 8, axis=0)
    np.testing.assert_allclose(magic(copies), copies)
    operator = diffusion_operator(points[:7])
    np.testing.assert_allclose(operator.sum(axis=1), 1)
    with pytest.raises(InputError, match="6 cells; at least 7"):
        magic(points[:6])
    with pytest.raises(InputError, match="101 components"):
        magic(np.zeros((200, 101)))


@pytest.mark.filterwarnings("ignore:Maximum number of iterations")  # it starts at the end
def test_nmf_of_one_factor_is_the_first_singular_vector(expression):
    found = nmf_embedding(expression, 1)[:, 0]
    first = np.abs(np.linalg.svd(expression.toarray())[0][:, 0])
    np.testing.assert_allclose(found / np.linalg.norm(found), first, atol=1e-3)


def test_nmf_finds_blocks_whatever_the_seed():
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], 20)
    blocks = np.kron(np.eye(3), np.ones((20, 10)))
    values = (blocks + 0.001) * rng.uniform(0.5, 2, (60, 1)) * rng.uniform(0.5, 2, 30)
    values = sp.csr_matrix(values + rng.uniform(0, 0.001, values.shape))
    found = [nmf_embedding(values, 3, seed) for seed in (0, 1)]
    assert (found[0] >= 0).all()
    np.testing.assert_allclose(*found, atol=1e-4)
    factor = [np.bincount(found[0][kind == i].argmax(axis=1)).argmax() for i in range(3)]
    assert sorted(factor) == [0, 1, 2]
    # Nothing of the other blocks' factors.
    own = found[0][np.arange(60), np.array(factor)[kind]]
    assert (own > 0.99 * found[0].sum(axis=1)).all()


def test_nmf_says_what_is_wrong(expression):
    with pytest.raises(InputError, match="negative values"):
        nmf_embedding(expression * -1, 3)
    with pytest.raises(InputError, match="k is 81; expected 1 to 80"):
        nmf_embedding(expression, 81)


def test_kernel_of_two_points_is_a_tanh():
    """For a reference at -a and a: E[z | u] = a tanh(a u / s^2), of variance a^2 - E^2."""
    a, s = np.array([1.5, -0.5, 2.0]), 1.3
    observed = np.random.default_rng(0).normal(size=(20, 3))
    expected = np.tanh(observed @ a / s**2)[:, None] * a
    mean, sd = kernel_posterior(observed, np.stack([-a, a]), s, block=7)
    np.testing.assert_allclose(mean, expected, atol=1e-12)
    np.testing.assert_allclose(sd**2, a**2 - expected**2, atol=1e-12)


def test_kernel_by_its_definition_far_from_the_origin(points):
    observed = points + np.random.default_rng(0).normal(size=points.shape) + 1e4
    reference = points[::2] + 1e4
    weights = np.exp(-cdist(observed, reference, "sqeuclidean") / (2 * 0.8**2))
    weights /= weights.sum(axis=1, keepdims=True)
    mean, sd = kernel_posterior(observed, reference, 0.8)
    np.testing.assert_allclose(mean, weights @ reference)
    apart = (reference[None] - mean[:, None]) ** 2
    np.testing.assert_allclose(sd**2, np.einsum("nr,nrk->nk", weights, apart), atol=1e-9)


def test_kernel_with_much_and_little_noise(points):
    reference = points[::2]
    found, sd = kernel_posterior(points, reference, 1e-3)
    np.testing.assert_allclose(found, reference[cdist(points, reference).argmin(axis=1)])
    assert (sd < 1e-6).all()
    found, sd = kernel_posterior(points, reference, 1e6)
    np.testing.assert_allclose(found, np.tile(reference.mean(axis=0), (120, 1)), atol=1e-6)
    np.testing.assert_allclose(sd, np.tile(reference.std(axis=0), (120, 1)), atol=1e-6)


def test_kernel_says_what_is_wrong(points):
    with pytest.raises(InputError, match=r"\(120, 5\) and reference of shape \(120, 4\)"):
        kernel_posterior(points, points[:, :4], 1.0)
    with pytest.raises(InputError, match="expected reference cells"):
        kernel_posterior(points, points[:0], 1.0)
    with pytest.raises(InputError, match="noise level 0"):
        kernel_posterior(points, points, 0)


S = 1.1


@pytest.fixture(scope="module")
def pair(expression):
    """Expression of a split, and its latents: 100 reference cells, then 50 of the query."""
    obs = pd.DataFrame(
        {"role": ["reference"] * 100 + ["query"] * 50, "label": ["a", "b", "c"] * 50},
        index=[f"c{i}" for i in range(150)],
    )
    split = ad.AnnData(sp.csr_matrix(expression), obs=obs)
    u, d, _ = np.linalg.svd(expression.toarray(), full_matrices=False)
    latents = ad.AnnData(obs=obs)
    latents.obsm["X_pca"] = (u[:, :4] * d[:4]).astype(np.float32)
    latents.obsm["X_harmony"] = latents.obsm["X_pca"] + np.float32(0.5)
    return split, latents


def expected_embedding(method, split, latents):
    """What each method's name says, from the functions tested above or by its definition."""
    points = latents.obsm["X_harmony"].astype(np.float64)
    if method == "pca":
        return points
    if method == "kernel":
        weights = np.exp(-cdist(points, points[:100], "sqeuclidean") / (2 * S**2))
        return weights @ points[:100] / weights.sum(axis=1, keepdims=True)
    if method.startswith("knn_"):
        nearest = np.argsort(cdist(points, points), axis=1)[:, : int(method[4:])]
        return points[nearest].mean(axis=1)
    if method == "magic":
        return magic(points)
    if method == "whitened":
        label = np.array(["a", "b", "c"] * 50)[:100]
        offset = points[:100].copy()
        for name in "abc":
            offset[label == name] -= offset[label == name].mean(axis=0)
        within = offset.T @ offset / 100
        scale = np.trace(within) / 4
        return points @ np.linalg.inv(sqrtm(0.8 * within + 0.2 * scale * np.eye(4))) * scale**0.5
    if method == "lda":
        return lda_by_hand(points, np.array(["a", "b", "c"] * 50)[:100])
    if method == "nmf":
        return nmf_embedding(split.X, 4, 7)
    return alra_embedding(split.X, 7)


def lda_by_hand(points, label):
    """Fisher's criterion on the pooled covariance, each class's shrunk by Ledoit and Wolf."""
    known, within = points[: len(label)], 0
    mean = known.mean(axis=0)
    for name in np.unique(label):
        own = known[label == name]
        sd = own.std(axis=0)
        shrunk = LedoitWolf().fit(own / sd).covariance_ * np.outer(sd, sd)
        within = within + len(own) / len(known) * shrunk
    # What the shrunk whole has beside it.
    sd = known.std(axis=0)
    whole = LedoitWolf().fit(known / sd).covariance_ * np.outer(sd, sd)
    _, vectors = eigh(whole - within, within)
    return (points - mean) @ vectors[:, ::-1][:, :2]


@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
@pytest.mark.parametrize("method", EMBEDDED)
def test_every_method_embeds_a_split(pair, method):
    split, latents = pair
    found = embed(method, split, latents, S, 7)
    assert found.obs_names.equals(split.obs_names)
    assert found.obsm["X_embedding"].dtype == np.float32
    expected = expected_embedding(method, split, latents)
    if method == "lda":
        # An axis has no sign, and LDA's centre is that of the classes.
        found.obsm["X_embedding"] -= found.obsm["X_embedding"].mean(axis=0)
        expected = expected - expected.mean(axis=0)
        sign = np.sign((found.obsm["X_embedding"] * expected).sum(axis=0))
        expected = expected * sign
    np.testing.assert_allclose(found.obsm["X_embedding"], expected, atol=1e-4, rtol=1e-4)
    # Posterior means have a spread: a flat prior's is the noise.
    assert ("X_embedding_sd" in found.obsm) == (method in ("pca", "kernel"))
    if method == "pca":
        np.testing.assert_allclose(found.obsm["X_embedding_sd"], S, rtol=1e-6)


def test_methods_asked_for_are_those_of_the_table():
    schema = methods_schema()
    jsonschema.validate(list(METHODS), schema)
    jsonschema.validate(schema["default"], schema)
    assert "scvi" not in schema["default"]
    for wrong in (["scran", *ALWAYS], [ALWAYS[0]], [*ALWAYS, ALWAYS[0]]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_overrides_stand_where_the_preset_is_theirs():
    of_fast, of_kernel = {"width": 32, "steps": 100}, {"draws": 100}
    fast = {name: variant.overrides("fast", of_fast) for name, variant in PRIORS.items()}
    assert fast["network"] == fast["labels"] == of_fast
    assert fast["mixture"] == {"width": 32, "steps": 0}
    assert fast["kernel"] == {}
    assert PRIORS["network"].overrides("kernel", of_kernel) == {}
    assert PRIORS["labels"].overrides("kernel", of_kernel) == of_kernel
