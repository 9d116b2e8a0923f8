"""SCLD: the chain in closed form, guidance, conditions, training, post-guidance, spaces."""

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from dice_atlas.dice.training import Trainer
from dice_atlas.errors import InputError
from dice_atlas.synthesis.blocks import ROWS, in_blocks
from dice_atlas.synthesis.scld.autoencoder import Reconstruction
from dice_atlas.synthesis.scld.guidance import (
    WAITING,
    candidates,
    keep_best,
    sample_and_score,
    train_scorer,
)
from dice_atlas.synthesis.scld.model import ScldModel, ScldSettings, train_scld
from dice_atlas.synthesis.scld.objective import (
    SCHEDULE,
    ConditionalNoise,
    class_conditions,
    shortened,
)
from dice_atlas.synthesis.scld.sampling import ddpm_step, guided_noise, sample_latents
from dice_atlas.synthesis.scld.spaces import SPACES, counts_of_shares
from dice_atlas.synthesis.scld.unet import FUSIONS, ConditionalUNet

TOY = ScldSettings(
    space="log1p", steps=100, hidden=32, latent=8, epochs=(4, 8), diffusion_steps=40,
    widths=(32, 16, 8),
)  # fmt: skip


def cells_of_two_classes(n=240, genes=20, seed=0):
    """Log-like expression (n, genes) of rank 3 about two class means, and the classes (n,)."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 2
    means = rng.uniform(0, 2, (2, genes))
    spread = rng.normal(size=(n, 3)) @ rng.normal(size=(3, genes)) * 0.2
    return np.maximum(means[codes] + spread, 0).astype(np.float32), codes


@pytest.fixture(scope="module")
def trained():
    return train_scld(*cells_of_two_classes(), 2, TOY)


# The chain


def gaussian_noise(mean, variance, schedule=SCHEDULE):
    """The optimal noise predictor of data N(mean, variance)."""

    def predict(z, t, codes):
        abar = float(schedule.abar[t - 1])
        total = abar * variance + 1 - abar
        return math.sqrt(1 - abar) / total * (z - math.sqrt(abar) * mean)

    return predict


def test_a_step_is_that_of_ddpm():
    """Against q(z_(t-1) | z_t, z_0) of Ho et al. 2020, equations 6 and 7, on one exact z_0."""
    generator = torch.Generator().manual_seed(0)
    clean, noise, fresh = torch.randn(3, 50, 4, generator=generator, dtype=torch.float64)
    beta, abar = 1 - SCHEDULE.alpha, SCHEDULE.abar
    for t in (2, 10, 500, 1000):
        now, before = abar[t - 1], abar[t - 2]
        z = math.sqrt(now) * clean + math.sqrt(1 - now) * noise
        expected = (
            math.sqrt(before) * beta[t - 1] / (1 - now) * clean
            + math.sqrt(1 - beta[t - 1]) * (1 - before) / (1 - now) * z
        )
        assert torch.allclose(ddpm_step(z, noise, t, SCHEDULE), expected, atol=1e-12)
        step = ddpm_step(z, noise, t, SCHEDULE, fresh)
        assert torch.allclose(step, expected + math.sqrt(beta[t - 1]) * fresh, atol=1e-12)
    z = math.sqrt(abar[0]) * clean + math.sqrt(1 - abar[0]) * noise
    assert torch.allclose(ddpm_step(z, noise, 1, SCHEDULE), clean, atol=1e-12)


def test_the_chain_on_gaussian_data_has_the_moments_in_closed_form():
    mean, variance = 1.5, 0.25
    schedule = shortened(200)
    predict = gaussian_noise(mean, variance, schedule)
    # With the optimal noise every step is linear: z -> a z + b + sqrt(beta) fresh.
    m, v = 0.0, 1.0
    for t in range(schedule.steps, 0, -1):
        zero, one = torch.zeros(1, 1), torch.ones(1, 1)
        b = float(ddpm_step(zero, predict(zero, t, None), t, schedule))
        a = float(ddpm_step(one, predict(one, t, None), t, schedule)) - b
        m, v = a * m + b, a * a * v + (1 - schedule.alpha[t - 1] if t > 1 else 0.0)
    n = 4000
    codes = torch.zeros(n, dtype=torch.long)
    z = sample_latents(predict, codes, 1, torch.arange(n), 0, 4, 0.0, schedule).double()
    assert z.mean() == pytest.approx(m, abs=4 * math.sqrt(v / z.numel()))
    assert z.var() == pytest.approx(v, rel=0.05)
    assert m == pytest.approx(mean, abs=0.01)
    assert v == pytest.approx(variance, rel=0.08)


def test_the_chain_on_a_known_mixture():
    weight, mean, sd = np.array([0.3, 0.7]), np.array([-1.5, 0.8]), np.array([0.4, 0.3])

    def predict(z, t, codes):
        abar = float(SCHEDULE.abar[t - 1])
        total = abar * torch.from_numpy(sd) ** 2 + 1 - abar
        offset = z.double() - math.sqrt(abar) * torch.from_numpy(mean)
        logs = torch.from_numpy(weight).log() - (offset**2 / total + total.log()) / 2
        shares = torch.softmax(logs, dim=1)
        return (math.sqrt(1 - abar) * (shares * offset / total).sum(1, keepdim=True)).float()

    n = 3000
    codes = torch.zeros(n, dtype=torch.long)
    z = sample_latents(predict, codes, 1, torch.arange(n), 3, 1, 0.0, SCHEDULE)[:, 0].numpy()
    left = z < -0.4
    assert left.mean() == pytest.approx(weight[0], abs=0.03)
    for part, m, s in zip((z[left], z[~left]), mean, sd, strict=True):
        assert part.mean() == pytest.approx(m, abs=0.04)
        assert part.std() == pytest.approx(s, rel=0.07)


def test_guidance_goes_from_no_class_over_the_class_and_beyond():
    calls = []

    def predict(z, t, codes):
        calls.append(codes.tolist())
        return z * (1.0 + codes[:, None])

    z, codes = torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1])
    assert guided_noise(predict, z, 5, codes, 2, -1.0).tolist() == [[3.0], [6.0]]
    assert guided_noise(predict, z, 5, codes, 2, 0.0).tolist() == [[1.0], [4.0]]
    assert calls == [[2, 2], [0, 1]], "one evaluation each"
    # 1.5 eps(class) - 0.5 eps(all)
    assert guided_noise(predict, z, 5, codes, 2, 0.5).tolist() == [[0.0], [3.0]]
    with pytest.raises(InputError, match="guidance -2, expected -1"):
        sample_latents(predict, codes, 2, torch.arange(2), 0, 1, -2.0, SCHEDULE)


def test_blocks_see_as_many_rows_each_time():
    seen = []

    def double(x, y):
        seen.append(len(x))
        return x * y

    x, y = torch.arange(10.0), torch.arange(10.0)
    assert torch.equal(in_blocks(double, x, y, rows=4), x * y)
    assert seen == [4, 4, 4]


# The network


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_learns_and_heeds_the_condition(fusion):
    conditions = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 1.0, 0.0]])
    objective = ConditionalNoise(
        conditions, fusion, 250, learning_rate=3e-3, schedule=shortened(50), widths=(32, 16, 8)
    )
    codes = torch.arange(200) % 2
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(200, 8, generator=generator) * 0.3 + (2 * codes[:, None] - 1.0)
    rows = torch.cat([z, codes[:, None].float()], dim=1)
    training = replace(objective.settings(200), validate_every=50)
    trainer = Trainer(objective, training, rows, codes, False, 0, "cpu")
    trainer.run()
    assert trainer.best_loss < 0.7 * trainer.rows[0][2]
    network, embedded = trainer.network, trainer.network.embedded().detach()
    # So late in the chain that the latent itself says little of its class.
    abar = objective.schedule.abar[29]
    t, noise = torch.tensor([30]), torch.randn(200, 8, generator=generator)
    first, second = (network(noise, t, embedded[code].expand(200, -1)) for code in (0, 1))
    # Of cells of one class the optimal noise is (noise - sqrt(abar) mean) sqrt(1 - abar) / total.
    expected = 2 * math.sqrt(abar * (1 - abar)) / (abar * 0.09 + 1 - abar)
    assert float((first - second).mean().detach()) == pytest.approx(expected, rel=0.5)


def test_dropout_comes_from_the_generator_alone():
    network = ConditionalUNet(torch.rand(3, 5), 8, dropout=0.5)
    for block in network.modules():
        if isinstance(getattr(block, "linear2", None), torch.nn.Linear):
            torch.nn.init.normal_(block.linear2.weight, std=0.1)
    z, t, condition = torch.randn(4, 8), torch.tensor([3]), torch.randn(4, 256)
    plain = network(z, t, condition)
    dropped = [network(z, t, condition, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(plain, network(z, t, condition))
    assert torch.equal(*dropped)
    assert not torch.allclose(plain, dropped[0])


def test_the_default_unet_has_the_size_that_its_docstring_says():
    network = ConditionalUNet(torch.zeros(3, 1000), 128)
    embed = sum(p.numel() for p in network.embed.parameters())
    total = sum(p.numel() for p in network.parameters())
    assert f"{total - embed:,} parameters" in ConditionalUNet.__doc__
    assert f"{embed - 256 * 1000:,}" in ConditionalUNet.__doc__


def test_conditions_are_class_means_and_the_mean_of_all():
    expression = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 6.0]])
    conditions = class_conditions(expression, torch.tensor([0, 0, 1]), 2)
    assert torch.allclose(conditions, torch.tensor([[2.0, 0], [0, 6], [4 / 3, 2]]))
    with pytest.raises(InputError, match=r"classes of \[2, 1, 0\] cells"):
        class_conditions(expression, torch.tensor([0, 0, 1]), 3)


def test_the_first_rows_of_a_batch_train_the_global_condition():
    seen = []

    class Spy(torch.nn.Module):
        def embedded(self):
            return torch.arange(3.0)[:, None]

        def forward(self, z, t, condition, generator):
            seen.append(condition[:, 0].tolist())
            return z

    objective = ConditionalNoise(torch.zeros(3, 5), global_share=0.25)
    batch = torch.cat([torch.zeros(8, 2), torch.ones(8, 1)], dim=1)
    objective.loss(Spy(), batch, torch.Generator().manual_seed(0))
    assert seen == [[2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]
    assert batch[:, -1].tolist() == [1.0] * 8


# The autoencoder


def test_the_autoencoder_reconstructs_data_of_low_rank():
    rng = np.random.default_rng(0)
    low_rank = rng.uniform(0, 1, (400, 3)) @ rng.uniform(0, 100, (3, 30))
    data = torch.from_numpy(low_rank.astype(np.float32))
    objective = Reconstruction(hidden=64, latent=16, epochs=(100, 120))
    trainer = Trainer(
        objective, objective.settings(400), data, torch.zeros(400).long(), False, 0, "cpu",
        objective.least_steps(400),
    )  # fmt: skip
    trainer.run()
    assert trainer.step >= objective.least_steps(400)
    with torch.no_grad():
        decoded = trainer.network.decode(trainer.network.encode(trainer.held))
    error = (decoded - trainer.held).square().mean() / trainer.held.var(dim=0).mean()
    assert error < 0.03
    assert (decoded >= 0).all()


# The model


def test_the_same_cells_come_out_on_any_split_of_them(trained):
    n = ROWS + 22
    codes, cells = np.arange(n) % 2, np.arange(100, 100 + n)
    whole = trained.sample(codes, cells, 5, 0.7)
    assert whole.shape == (n, 20)
    assert whole.dtype == np.float32
    assert (whole >= 0).all()
    assert np.array_equal(whole, trained.sample(codes, cells, 5, 0.7))
    for parts in ([slice(0, 40), slice(40, n)], [slice(i, None, 3) for i in range(3)]):
        for part in parts:
            again = trained.sample(codes[part], cells[part], 5, 0.7)
            assert np.array_equal(again, whole[part])
    assert not np.array_equal(whole, trained.sample(codes, cells, 6, 0.7))
    assert trained.sample(codes[:0], cells[:0], 5).shape == (0, 20)


def test_guidance_of_minus_one_is_the_global_condition_and_zero_the_class(trained):
    codes, cells = np.arange(30) % 2, np.arange(30)
    no_class = np.full(30, trained.global_code)
    of_all = trained.sample(no_class, cells, 1, 0.0)
    assert np.array_equal(trained.sample(codes, cells, 1, -1.0), of_all)
    # With w = 0 the global condition has no say.
    state = trained.state()
    state["network.conditions"][-1] += 1.0
    changed = ScldModel.restore(state, trained.settings)
    plain = trained.sample(codes, cells, 1, 0.0)
    assert np.array_equal(changed.sample(codes, cells, 1, 0.0), plain)
    assert not np.array_equal(changed.sample(codes, cells, 1, -1.0), of_all)
    assert not np.array_equal(plain, of_all)
    with pytest.raises(InputError, match="classes 0 to 3, expected 0 to 2"):
        trained.sample(np.array([0, 3]), cells[:2], 1)


def test_a_restored_model_samples_the_same(trained):
    again = ScldModel.restore(trained.state(), trained.settings)
    codes, cells = np.arange(10) % 2, np.arange(10)
    assert np.array_equal(again.sample(codes, cells, 0), trained.sample(codes, cells, 0))
    assert all(tensor.dtype == torch.float32 for tensor in trained.state().values())


def test_samples_are_of_their_class():
    expression, codes = cells_of_two_classes()
    longer = replace(TOY, steps=400, epochs=(150, 150), learning_rate=3e-3)
    model = train_scld(expression, codes, 2, longer)
    wanted = np.arange(200) % 2
    made = model.sample(wanted, np.arange(200), 0)
    means = np.stack([expression[codes == code].mean(axis=0) for code in (0, 1)])
    distance = ((made[:, None] - means) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == wanted).mean() > 0.95
    found = np.stack([made[wanted == code].mean(axis=0) for code in (0, 1)])
    assert np.corrcoef(found.ravel(), means.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("name", ["autoencoder", "diffusion"])
def test_training_goes_on_from_a_checkpoint_to_the_same_model(name, trained, tmp_path, monkeypatch):
    step = Trainer.train_step
    part = {"autoencoder": Reconstruction, "diffusion": ConditionalNoise}[name]

    def interrupted(self):
        if isinstance(self.objective, part) and self.step == 8:
            # As after the 15 seconds that lie between two checkpoints.
            self.save(tmp_path / f"run_{name}.pt")
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_scld(*cells_of_two_classes(), 2, TOY, tmp_path / "run.pt")
    monkeypatch.undo()
    resumed = train_scld(*cells_of_two_classes(), 2, TOY, tmp_path / "run.pt")
    for key, tensor in trained.state().items():
        assert torch.equal(resumed.state()[key], tensor), key


def test_wrong_names_are_refused():
    with pytest.raises(InputError, match="space 'raw', expected one of unlogged_20000, log1p"):
        ScldSettings(space="raw")
    with pytest.raises(InputError, match="fusion 'gate', expected one of add, concatenate"):
        ScldSettings(fusion="gate")


# Post-guidance


def test_the_scorer_tells_shifted_sets_apart():
    rng = np.random.default_rng(0)
    real, made, more_real, more_made = (
        rng.normal(shift, 1, (400, 20)).astype(np.float32) for shift in (0.0, 0.6, 0.0, 0.6)
    )
    scorer = train_scorer(real, made)
    right, wrong = scorer.score(more_real), scorer.score(more_made)
    # Of the best rule, Phi(0.6 sqrt(20) / sqrt(2)) = 0.97.
    assert (right[:, None] > wrong).mean() > 0.9
    assert np.array_equal(scorer.score(more_made[7:19]), wrong[7:19])
    assert scorer.score(more_made[:0]).shape == (0,)


def test_the_best_of_each_class_are_kept():
    scores = np.array([1.0, 5.0, 3.0, 2.0, 4.0, 9.0, 8.0, 8.0])
    codes = np.array([0, 0, 0, 0, 0, 1, 2, 2])
    assert keep_best(scores, codes, 0.6).tolist() == [1, 2, 4, 5, 6]
    assert keep_best(scores[:0], codes[:0]).tolist() == []


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_as_many_cells_are_kept_as_were_wanted(keep):
    wanted = np.arange(1, 120)
    codes = np.repeat(wanted, candidates(wanted, keep))
    kept = keep_best(np.random.default_rng(0).normal(size=len(codes)), codes, keep)
    assert np.bincount(codes[kept])[1:].tolist() == wanted.tolist()


def test_the_queue_gives_the_same_as_without():
    parts = [np.full((3, 2), float(i)) for i in range(9)]
    # Whichever is slower: a gate holds one thread back until the other is as far as it can get.
    sampled_all, first_scored = threading.Event(), threading.Event()

    def sample_slowly(part):
        assert part[0, 0] == 0 or first_scored.wait(10)
        return part + 1

    def score(cells):
        first_scored.set()
        return cells[:, 0] * 2

    def sample(part):
        if part[0, 0] == WAITING:
            sampled_all.set()
        return part + 1

    def score_slowly(cells):
        assert sampled_all.wait(10)
        return cells[:, 0] * 2

    expected = [(part + 1, (part + 1)[:, 0] * 2) for part in parts]
    for made in (
        sample_and_score(parts, sample_slowly, score),
        sample_and_score(parts, sample, score_slowly),
    ):
        assert len(made) == len(expected)
        for mine, right in zip(made, expected, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(mine, right, strict=True))


def test_an_error_of_either_thread_reaches_the_caller():
    parts = [np.zeros((1, 1))] * 50
    before = threading.active_count()

    def broken(_):
        raise InputError("broken")

    with pytest.raises(InputError, match="broken"):
        sample_and_score(parts, lambda part: part, broken)
    with pytest.raises(InputError, match="broken"):
        sample_and_score(parts, broken, lambda cells: cells[:, 0])
    assert threading.active_count() == before, "a thread goes on"


# Spaces


@pytest.mark.parametrize("name", SPACES)
def test_spaces_go_there_and_back(name):
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(2.0, (30, 12)))
    libraries = counts.sum(axis=1).A1 + 15
    libraries[3], counts[3] = 0, 0
    counts.eliminate_zeros()
    space = SPACES[name]
    expression = space.expression(counts, libraries)
    assert expression.dtype == np.float32
    shares = space.shares(expression)
    assert np.allclose(shares * libraries[:, None], counts.toarray(), atol=1e-4)
    whole = space.shares(expression, whole=True).sum(axis=1)
    assert np.allclose(np.delete(whole, 3), 1)
    assert whole[3] == 0


def test_shares_of_what_no_cell_can_have_stay_shares():
    for space in SPACES.values():
        shares = space.shares(np.array([[-1.0, 1e6, 1e6], [-5.0, 0.0, -1.0]]))
        assert np.allclose(shares, [[0, 0.5, 0.5], [0, 0, 0]])


def test_counts_have_their_library_and_depend_on_the_cell_alone():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(40), 300) * 0.8
    libraries, cells = rng.integers(500, 3000, 300), np.arange(50, 350)
    for law in ("multinomial", "poisson"):
        counts = counts_of_shares(shares, libraries, cells, 7, law)
        assert counts.dtype == np.int32
        part = counts_of_shares(shares[9:20], libraries[9:20], cells[9:20], 7, law)
        assert (counts[9:20] != part).nnz == 0
        assert (counts_of_shares(shares, libraries, cells, 8, law) != counts).nnz > 0
        mean = (shares * libraries[:, None]).sum(axis=0)
        assert np.allclose(counts.sum(axis=0).A1, mean, atol=4.5 * np.sqrt(mean.max()))
    exact = counts_of_shares(shares / 0.8, libraries, cells, 7)
    assert np.array_equal(exact.sum(axis=1).A1, libraries)
    assert counts_of_shares(shares[:0], libraries[:0], cells[:0], 7).shape == (0, 40)
    with pytest.raises(ValueError, match="law 'normal'"):
        counts_of_shares(shares, libraries, cells, 7, "normal")
