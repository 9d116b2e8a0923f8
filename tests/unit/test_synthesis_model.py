"""The generator of counts: likelihood, latents, priors, counts, and the model on disk."""

import json
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.training import Trainer
from dice_atlas.errors import InputError
from dice_atlas.synthesis.count_model import train_count_model
from dice_atlas.synthesis.counts import draw_counts
from dice_atlas.synthesis.diffusion import (
    ClassPosteriorMeanMLP,
    LatentDiffusion,
    class_prior,
    draw_diffusion,
)
from dice_atlas.synthesis.latents import (
    ClassGaussians,
    LatentCells,
    class_gaussians,
    draw_gaussian,
    draw_mixed,
    draw_posterior,
)
from dice_atlas.synthesis.likelihood import negative_binomial_log_likelihood
from dice_atlas.synthesis.saved import (
    class_codes,
    copy_generator,
    load_generator,
    save_generator,
    split_of,
)
from dice_atlas.synthesis.settings import CellRequest, ModelSettings
from dice_atlas.synthesis.synthetic import gather_synthetic, synthesize_shard, used_request
from dice_atlas.synthesis.training_cells import CountTable, read_training_cells
from scipy.special import gammaln
from scipy.stats import ks_2samp, nbinom

FEW = ModelSettings(k=4, training_steps=60)


def negative_binomial(n, mean, theta, seed=0):
    """Counts (n, g) of mean (g,) and inverse dispersion theta (g,)."""
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.gamma(theta, mean / theta, (n, len(mean))))


def table_of(counts, labels=None, rest=5):
    """A table of dense counts, with `rest` counts of other genes in each cell."""
    n, g = counts.shape
    whole = np.hstack([counts, np.full((n, 1), rest)]).astype(np.float32)
    labels = np.full(n, "", dtype=object) if labels is None else np.asarray(labels, dtype=object)
    genes = np.array([f"G{i}" for i in range(g)], dtype=object)
    keys = np.array([f"k{i}" for i in range(n)], dtype=object)
    return CountTable(sp.csr_matrix(whole), genes, np.ones(g, dtype=bool), labels, keys)


def two_types(n=150, g=40, seed=0):
    """Cells of two types that differ in half of the genes."""
    rng = np.random.default_rng(seed)
    base = rng.gamma(2.0, 2.0, g)
    other = base * np.where(np.arange(g) < g // 2, 3.0, 0.5)
    counts = np.vstack([negative_binomial(n, m, np.full(g, 5.0), i)
                        for i, m in enumerate((base, other))])  # fmt: skip
    return table_of(counts, ["A"] * n + ["B"] * n)


@pytest.fixture(scope="module")
def trained():
    table = two_types()
    _, codes = class_codes(table.labels)
    return table, codes, train_count_model(table, codes, FEW, 0, "cpu")


def latent_cells(points, codes, sd=0.0):
    """Training cells whose latents are `points` (n, k + 1), the last column the score."""
    k = points.shape[1] - 1
    return LatentCells(
        points[:, :-1], torch.full((len(points), k), sd), points[:, -1], codes,
        torch.zeros(k), torch.ones(k), torch.linspace(1000, 3000, 1001),
    )  # fmt: skip


# Likelihood and counts


def test_likelihood_is_scipy_s():
    rng = np.random.default_rng(0)
    mean, theta = rng.gamma(1.0, 3.0, (6, 8)), rng.gamma(1.0, 4.0, 8) + 0.1
    counts = rng.poisson(mean)
    expected = nbinom.logpmf(counts, theta, theta / (theta + mean)) + gammaln(counts + 1)
    found = negative_binomial_log_likelihood(*map(torch.from_numpy, (counts * 1.0, mean, theta)))
    np.testing.assert_allclose(found, expected.sum(axis=1), rtol=1e-6)


def test_counts_have_their_library_and_the_model_s_moments():
    shares, theta = np.array([0.5, 0.3, 0.15, 0.05]), np.array([2.0, 50.0, 5.0, 1e4])
    n, library = 20_000, 200
    made = draw_counts(np.tile(shares, (n, 1)), theta, np.full(n, library), range(n), 0).toarray()
    assert (made.sum(axis=1) == library).all()
    # Gamma rates divided by their sum, then a multinomial; by another generator of numpy.
    rng = np.random.default_rng(1)
    rates = rng.gamma(theta, shares / theta, (n, 4))
    other = rng.multinomial(library, rates / rates.sum(axis=1, keepdims=True))
    for gene in range(4):
        assert ks_2samp(made[:, gene], other[:, gene]).statistic < 0.02
    np.testing.assert_allclose(np.cov(made.T), np.cov(other.T), rtol=0.1, atol=2.0)


def test_a_cell_s_counts_depend_on_its_number_alone():
    shares, theta = np.full((10, 30), 1 / 30), np.full(30, 3.0)
    whole = draw_counts(shares, theta, np.full(10, 50.0), range(10), 7)
    part = draw_counts(shares[:3], theta, np.full(3, 50.0), [4, 5, 6], 7)
    assert (whole[4:7] != part).nnz == 0
    assert (whole != draw_counts(shares, theta, np.full(10, 50.0), range(10), 8)).nnz > 0


def test_dispersions_are_found():
    g = 30
    theta = np.where(np.arange(g) < g // 2, 1.0, 20.0)
    table = table_of(negative_binomial(1000, np.full(g, 8.0), theta))
    settings = ModelSettings(k=2, training_steps=300)
    model = train_count_model(table, np.zeros(1000, dtype=np.int64), settings, 0, "cpu")
    found = model.network.theta.detach().numpy()[:g]
    assert np.median(found[: g // 2]) == pytest.approx(1.0, rel=0.25)
    assert np.median(found[g // 2 :]) == pytest.approx(20.0, rel=0.5)


# Priors of the latents


def test_the_gaussian_prior_has_the_class_s_mean_and_covariance():
    root = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    gaussians = ClassGaussians(
        torch.tensor([0.5, 0.5]), torch.tensor([[0.0, 0.0], [5.0, -5.0]]),
        torch.stack([torch.eye(2), root @ root.mT]),
    )  # fmt: skip
    n = 20_000
    drawn = draw_gaussian(gaussians, torch.ones(n, dtype=torch.long), torch.arange(n), 0)
    np.testing.assert_allclose(drawn.mean(dim=0), [5.0, -5.0], atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.numpy().T), root @ root.mT, atol=0.08)


def test_mixed_keeps_the_covariance_of_a_class_of_any_shape():
    generator = torch.Generator().manual_seed(0)
    ring = torch.randn(400, 3, generator=generator)
    ring = ring / ring.norm(dim=1, keepdim=True) * torch.tensor([3.0, 1.0, 2.0])
    cells = latent_cells(ring, torch.zeros(400, dtype=torch.long))
    gaussians = class_gaussians(cells, 0)
    n = 20_000
    drawn = draw_mixed(cells, gaussians, torch.zeros(n, dtype=torch.long), torch.arange(n), 0)
    np.testing.assert_allclose(drawn.mean(dim=0), ring.mean(dim=0), atol=0.05)
    expected = np.cov(ring.numpy().T)
    np.testing.assert_allclose(np.cov(drawn.numpy().T), expected, atol=0.05 * expected.max())
    # Plain mixing would not: w and 1 - w of Beta(1/2, 1/2) keep three quarters of the variance.


def test_posterior_draws_are_the_class_s_cells():
    points = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    codes = torch.arange(30) % 3
    cells = latent_cells(points, codes)
    wanted = torch.tensor([0, 1, 2]).repeat(200)
    drawn = draw_posterior(cells, wanted, torch.arange(600), 0)
    origin = torch.cdist(drawn, points).argmin(dim=1)
    assert torch.allclose(points[origin], drawn)
    assert (codes[origin] == wanted).all()
    assert len(origin.unique()) == 30


def test_class_gaussians_shrink_small_classes_to_the_pooled_covariance():
    generator = torch.Generator().manual_seed(2)
    large, small = torch.randn(500, 3, generator=generator), torch.zeros(1, 3)
    cells = latent_cells(torch.cat([large, small]), torch.tensor([0] * 500 + [1]))
    found = class_gaussians(cells, 0)
    pooled = torch.cov(large.T, correction=0) * 500 / 501
    weight = (3 + 20) / (3 + 20 + 1)
    np.testing.assert_allclose(found.covariance[1], weight * pooled, rtol=0.02, atol=0.02)
    np.testing.assert_allclose(found.covariance[0], torch.cov(large.T), rtol=0.05, atol=0.05)


def mixture_network(n_classes):
    """An untrained network, which is the posterior mean of two Gaussians exactly."""
    network = ClassPosteriorMeanMLP(2, 16, 1, 2, n_classes)
    network.mixture.set(
        torch.tensor([0.3, 0.7]), torch.tensor([[-3.0, 0.0], [3.0, 1.0]]),
        torch.stack([0.25 * torch.eye(2), torch.diag(torch.tensor([1.0, 0.1]))]),
    )  # fmt: skip
    return network.eval()


def test_the_chain_draws_from_a_known_mixture():
    n = 4000
    drawn = draw_diffusion(
        mixture_network(0), torch.zeros(n, dtype=torch.long), torch.arange(n), 0, 0.0, 40
    )
    left = drawn[:, 0] < 0
    assert left.float().mean() == pytest.approx(0.3, abs=0.03)
    np.testing.assert_allclose(drawn[left].mean(dim=0), [-3.0, 0.0], atol=0.08)
    np.testing.assert_allclose(drawn[left].var(dim=0), [0.25, 0.25], rtol=0.2)
    np.testing.assert_allclose(drawn[~left].mean(dim=0), [3.0, 1.0], atol=0.08)
    np.testing.assert_allclose(drawn[~left].var(dim=0), [1.0, 0.1], rtol=0.2)


def test_the_chain_draws_the_class_that_is_asked_for():
    codes = torch.arange(1000) % 2
    drawn = draw_diffusion(mixture_network(2), codes, torch.arange(1000), 0, 0.0, 40)
    assert ((drawn[:, 0] > 0) == (codes == 1)).all()


def test_guidance_of_minus_one_is_no_class_and_zero_the_class_alone():
    network = mixture_network(2)
    torch.nn.init.normal_(network.head[-1].weight, std=0.1)
    u, codes = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 2
    none = class_prior(network, None, 0.0, 10).mean(u, 1.0)
    assert torch.equal(class_prior(network, codes, -1, 10).mean(u, 1.0), none)
    given = class_prior(network, codes, 0.0, 10).mean(u, 1.0)
    level = torch.full((1, 1), 1.0)
    assert torch.equal(given, network.denoise(u, level, codes))
    stronger = class_prior(network, codes, 0.5, 10).mean(u, 1.0)
    assert torch.allclose(stronger, 1.5 * given - 0.5 * none)


def test_the_diffusion_s_loss_falls(trained):
    table, codes, model = trained
    settings = ModelSettings(k=4, training_steps=60, prior="diffusion")
    with_diffusion = train_count_model(table, codes, settings, 0, "cpu")
    losses = with_diffusion.losses.query("part == 'diffusion'")["validation_loss"]
    assert losses.min() <= losses.iloc[0]
    assert isinstance(with_diffusion.diffusion, ClassPosteriorMeanMLP)
    objective = LatentDiffusion(model.cells, model.gaussians)
    draws = objective.draws(model.cells.rows(), torch.Generator().manual_seed(0))
    # Standardised draws of q have unit variance over the cells.
    np.testing.assert_allclose(draws[:, :-1].var(dim=0), np.ones(4), atol=0.15)


# The whole model


@pytest.mark.parametrize("prior", ["mixed", "gaussian", "posterior"])
def test_new_cells_have_the_types_of_the_old(trained, prior):
    table, codes, model = trained
    model = type(model)(**{**vars(model), "prior": prior})
    wanted = np.repeat([0, 1], 300)
    made = model.sample(wanted, np.arange(600), 0, CellRequest(600)).toarray()[:, :-1]
    real = table.counts.toarray()[:, :-1]
    for code in (0, 1):
        one, other = made[wanted == code].mean(axis=0), real[codes == code].mean(axis=0)
        assert np.corrcoef(np.log1p(one), np.log1p(other))[0, 1] > 0.95


def test_depth_scales_the_libraries(trained):
    _, _, model = trained
    codes, cells = np.zeros(200, dtype=np.int64), np.arange(200)
    full = model.sample(codes, cells, 0, CellRequest(200)).sum(axis=1).A1
    half = model.sample(codes, cells, 0, CellRequest(200, depth=0.5)).sum(axis=1).A1
    assert np.abs(half - full / 2).max() <= 1


def test_cells_do_not_depend_on_how_they_are_shared_out(trained):
    _, _, model = trained
    codes = np.array([0, 1] * 20)
    whole = model.sample(codes, np.arange(40), 3, CellRequest(40))
    part = model.sample(codes[10:20], np.arange(10, 20), 3, CellRequest(40))
    assert (whole[10:20] != part).nnz == 0


@pytest.mark.parametrize("sizes", [(60, 1), (60, 2), (60, 5)])
def test_classes_of_few_cells(sizes):
    rng = np.random.default_rng(0)
    labels = np.repeat(["large", "small"], sizes)
    table = table_of(rng.poisson(3.0, (sum(sizes), 20)), labels)
    _, codes = class_codes(table.labels)
    model = train_count_model(table, codes, FEW, 0, "cpu")
    made = model.sample(np.ones(30, dtype=np.int64), np.arange(30), 0, CellRequest(30))
    assert (made.sum(axis=1).A1 > 0).all()


def test_without_labels_the_prior_is_a_diffusion():
    table = table_of(two_types().counts.toarray()[:, :-1])
    codes = np.zeros(300, dtype=np.int64)
    model = train_count_model(table, codes, FEW, 0, "cpu")
    assert model.prior == "diffusion"
    made = model.sample(codes[:50], np.arange(50), 0, CellRequest(50, steps=10))
    assert made.shape == (50, 41)


def test_an_interrupted_training_goes_on_to_the_same_model(tmp_path, monkeypatch):
    table, settings = two_types(60), ModelSettings(k=4, training_steps=150)
    _, codes = class_codes(table.labels)
    straight = train_count_model(table, codes, settings, 0, "cpu")
    run, save = Trainer.run, Trainer.save

    def save_and_stop(self, path):
        save(self, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run", lambda self, path: run(self, path, every_seconds=0.0))
    with monkeypatch.context() as stopped:
        stopped.setattr(Trainer, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train_count_model(table, codes, settings, 0, "cpu", tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint.counts.pt").exists()
    again = train_count_model(table, codes, settings, 0, "cpu", tmp_path / "checkpoint")
    for one, other in zip(straight.tensors().values(), again.tensors().values(), strict=True):
        assert torch.equal(one, other)


# What is asked for


def test_numbers_of_cells():
    sizes = {"A": 70, "B": 20, "C": 10}
    assert CellRequest(1000).numbers(sizes) == {"A": 700, "B": 200, "C": 100}
    assert sum(CellRequest(7).numbers(sizes).values()) == 7
    assert CellRequest({"B": 5}).numbers(sizes) == {"A": 0, "B": 5, "C": 0}
    with pytest.raises(InputError, match="no class 'D'; the model knows 'A', 'B', 'C'"):
        CellRequest({"D": 1}).numbers(sizes)
    with pytest.raises(InputError, match=r"the model knows none \(no labels\)"):
        CellRequest({"D": 1}).numbers({"": 100})


def test_all_genes_have_their_class_s_profile_and_the_same_libraries():
    table = two_types(300)
    # A gene that is no variable one differs between the types, too.
    half = replace(table, variable=np.arange(40) % 2 == 0)
    _, codes = class_codes(half.labels)
    model = train_count_model(half, codes, FEW, 0, "cpu")
    wanted, cells = np.repeat([0, 1], 300), np.arange(600)
    made = model.sample(wanted, cells, 0, CellRequest(600))
    assert made.shape == (600, 41)
    small = replace(model, others=None).sample(wanted, cells, 0, CellRequest(600))
    np.testing.assert_array_equal(made.toarray()[:, :40:2], small.toarray()[:, :-1])
    np.testing.assert_array_equal(made.sum(axis=1), small.sum(axis=1))
    real, dense = half.counts.toarray(), made.toarray()
    for code in (0, 1):
        expected, found = real[codes == code].mean(axis=0), dense[wanted == code].mean(axis=0)
        np.testing.assert_allclose(found[1:40:2], expected[1:40:2], rtol=0.25, atol=0.5)


# On disk


@pytest.fixture
def saved(tmp_path, trained):
    table, _, model = trained
    training, held_out = table.split(0.2)
    save_generator(model, training, held_out, FEW, 0, tmp_path / "model.safetensors")
    model.losses.to_csv(tmp_path / "loss.tsv", sep="\t", index=False)
    return tmp_path / "model.safetensors"


def test_a_saved_generator_gives_the_same_cells_on_any_shards(saved, trained, tmp_path):
    _, _, model = trained
    generator = load_generator(saved, "cpu")
    request = CellRequest({"A": 7, "B": 4})
    direct = model.sample(np.repeat([0, 1], [7, 4]), np.arange(11), 5, request)
    paths = []
    for shard in (1, 2, 3):
        paths.append(tmp_path / f"{shard}.h5ad")
        synthesize_shard(generator, request, 5, (shard, 3)).write_h5ad(paths[-1])
    whole = gather_synthetic(paths, saved.with_name("card.json"), request)
    assert whole.obs["cell_type"].cat.categories.tolist() == ["A", "B"]
    assert (direct[:, :-1] != whole.X).nnz == 0
    assert whole.X.dtype == np.int32
    assert whole.obs["cell_type"].tolist() == ["A"] * 7 + ["B"] * 4
    assert whole.obs["synthetic"].all()
    assert whole.obs["library"].tolist() == direct.sum(axis=1).A1.tolist()
    assert whole.obs_names.is_unique
    assert "no privacy" in whole.uns["synthesis"]["warning"]


def test_an_empty_shard_is_no_fault(saved):
    generator = load_generator(saved, "cpu")
    parts = [synthesize_shard(generator, CellRequest(2), 0, (i, 4)) for i in (1, 2, 3, 4)]
    assert [part.n_obs for part in parts] == [0, 1, 0, 1]


def test_a_changed_card_or_model_is_refused(saved, tmp_path):
    card = json.loads(saved.with_name("card.json").read_text())
    changed = {**card, "genes": card["genes"][::-1]}
    saved.with_name("card.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="its genes or settings are not those that the weights"):
        load_generator(saved, "cpu")
    saved.with_name("card.json").write_text(json.dumps(card))
    content = saved.read_bytes()
    saved.write_bytes(content[:-4])
    with pytest.raises(InputError, match="the weights were changed or cut off"):
        copy_generator([str(saved)], [str(tmp_path / "copy")], ModelSettings())


def test_settings_that_a_saved_generator_does_not_have_are_named(saved, tmp_path, caplog):
    def said(asked):
        caplog.clear()
        copy_generator([str(saved)], [str(tmp_path / "copy")], asked)
        return caplog.text

    assert said(ModelSettings()) == ""
    assert said(FEW) == ""
    text = said(replace(FEW, preset="paper", genes="variable"))
    assert "not used: preset paper (it has fast), genes variable (it has all)" in text


def test_a_request_keeps_what_its_generator_uses(caplog):
    request = CellRequest(5, guidance=2.0)
    whole = {"cells": 5, "depth": 1.0, "guidance": 2.0, "steps": 40}
    assert used_request(request, "fast", "diffusion") == whole
    assert caplog.text == ""
    mixed = used_request(request, "fast", "mixed")
    assert mixed == {"cells": 5, "depth": 1.0}
    assert "this generator has the prior mixed: not used" in caplog.text
    assert "steps" not in used_request(request, "paper", "ddpm")


def test_the_split_depends_on_the_cells_alone_and_is_by_class(saved, trained):
    table, _, _ = trained
    order = np.random.default_rng(0).permutation(len(table.labels))
    training, held_out = table.rows(order).split(0.2)
    assert set(held_out.keys) == set(table.split(0.2)[1].keys)
    assert pd.Series(held_out.labels).value_counts().to_dict() == {"A": 30, "B": 30}
    card = json.loads(saved.with_name("card.json").read_text())
    again = split_of(table, card)
    assert [set(part.keys) for part in again] == [set(training.keys), set(held_out.keys)]
    assert len(table.split(0.0)[1].labels) == 0


# The cells that it learns from


def test_variable_genes_alone_keep_the_libraries_and_leave_the_table_alone():
    table = two_types()
    half = replace(table, variable=np.arange(40) % 2 == 0)
    before = half.counts.toarray()
    small = half.variable_only()
    np.testing.assert_array_equal(half.counts.toarray(), before)
    np.testing.assert_array_equal(small.counts.toarray()[:, :-1], before[:, :-1][:, ::2])
    np.testing.assert_array_equal(small.libraries, half.libraries)


def sample(path, n, genes, role="reference", labels=None, source=None, seed=0):
    """A filtered.h5ad with some genes."""
    counts = np.random.default_rng(seed).poisson(1.0, (n, len(genes)))
    names = [f"{path.stem}_{i}" for i in range(n)]
    obs = pd.DataFrame(
        {"role": role, "label": labels if labels is not None else "", "cell_key": names},
        index=names,
    )
    made = ad.AnnData(sp.csr_matrix(counts.astype(np.int32)), obs=obs,
                      var=pd.DataFrame({"gene_id": ""}, index=genes))  # fmt: skip
    made.uns["source"] = source or {"path": "x"}
    made.write_h5ad(path)
    return counts


@pytest.fixture
def genes(tmp_path):
    path = tmp_path / "genes.tsv"
    path.write_text("gene\tselected\nA\tTrue\nB\tTrue\nC\tFalse\nD\tTrue\n")
    return path


def test_counts_of_other_genes_are_added_up_and_libraries_kept(tmp_path, genes):
    first = sample(tmp_path / "r1.h5ad", 40, ["A", "B", "C", "D", "E"], seed=1)
    second = sample(tmp_path / "r2.h5ad", 30, ["B", "C", "A"], seed=2)
    sample(tmp_path / "q.h5ad", 30, ["A", "B"], role="query")
    paths = [tmp_path / f"{name}.h5ad" for name in ("r1", "q", "r2")]
    table = read_training_cells(paths, genes, ModelSettings(genes="variable"))
    assert table.genes.tolist() == ["A", "B"]
    np.testing.assert_array_equal(table.libraries, [*first.sum(axis=1), *second.sum(axis=1)])
    np.testing.assert_array_equal(table.counts.toarray()[:40, :2], first[:, :2])
    np.testing.assert_array_equal(table.counts.toarray()[40:, :2], second[:, [2, 0]])
    every = read_training_cells(paths, genes, ModelSettings())
    assert every.genes.tolist() == ["A", "B", "C"]
    assert every.variable.tolist() == [True, True, False]


def test_all_cells_are_learnt_from_where_there_is_no_reference(tmp_path, genes):
    sample(tmp_path / "q.h5ad", 60, ["A", "B"], role="query")
    table = read_training_cells([tmp_path / "q.h5ad"], genes, ModelSettings())
    assert len(table.labels) == 60
    assert not table.labelled


def test_clusters_can_be_the_classes(tmp_path, genes):
    sample(tmp_path / "q.h5ad", 60, ["A", "B"], role="query")
    clusters = pd.DataFrame({"cell": [f"q_{i}" for i in range(60)], "cluster": ["0", "1"] * 30})
    clusters.to_csv(tmp_path / "c.tsv", sep="\t", index=False)
    settings = ModelSettings(label="cluster")
    table = read_training_cells([tmp_path / "q.h5ad"], genes, settings, tmp_path / "c.tsv")
    assert table.labels.tolist() == ["0", "1"] * 30


def test_cells_without_a_label_are_left_out(tmp_path, genes):
    sample(tmp_path / "r.h5ad", 80, ["A", "B"], labels=["T"] * 60 + [""] * 20)
    table = read_training_cells([tmp_path / "r.h5ad"], genes, ModelSettings())
    assert set(table.labels) == {"T"}
    assert len(table.labels) == 60


@pytest.mark.parametrize(
    ("n", "names", "source", "message"),
    [
        (30, ["A"], None, "30 cells are left to learn from, expected at least 50"),
        (60, ["X", "Y"], None, "no variable gene of the atlas is in every sample"),
        (60, ["A"], {"path": "x", "expression": "log1p", "total": 1e4},
         "synthesis needs raw counts, and .* holds log-normalised"),
    ],
)  # fmt: skip
def test_cells_that_no_generator_can_learn_from(tmp_path, genes, n, names, source, message):
    sample(tmp_path / "r.h5ad", n, names, source=source)
    with pytest.raises(InputError, match=message):
        read_training_cells([tmp_path / "r.h5ad"], genes, ModelSettings())


def test_noise_of_latents_is_the_product_s(trained):
    _, _, model = trained
    codes, cells = torch.zeros(4, dtype=torch.long), torch.arange(4)
    drawn = draw_gaussian(model.gaussians, codes, cells, 9)
    noise = CellNoise(9, cells, 0, 5)()
    assert torch.equal(drawn, model.gaussians.sample(codes, noise))
