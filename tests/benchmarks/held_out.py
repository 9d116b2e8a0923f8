"""Denoising of held-out cells of real data sets, protocol blind.

    python tests/benchmarks/real_data.py --data DIR [--seeds 5] [--jobs 2]

DIR holds <name>/<name>.h5ad with raw counts and the labels of `SETS`. Three quarters of the cells,
by label, are the reference; the others are denoised. Rows: PCA; the kernel posterior mean (exact
under the empirical prior of the reference's latents); DICE exact with the reference's labels for
the mixup, and without labels; the same prior with noise_variance auto (the held-out cells' residual
outside the loadings); split Gibbs on the same prior. Writes docs/benchmarks/real_data.tsv.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import torch
import yaml
from dice_atlas.dice.exact import exact_posterior
from dice_atlas.dice.gibbs import gibbs_samples
from dice_atlas.dice.likelihoods import GaussianLikelihood
from dice_atlas.dice.priors import prior_of, trained_network
from dice_atlas.dice.schedule import first_needed_iteration, rho_schedule
from dice_atlas.dice.training import Trainer, preset_settings
from dice_atlas.features.loadings import choose_k, residual_variance, truncated_svd
from dice_atlas.features.normalize import log1p_normalize
from dice_atlas.features.projection import LatentSpace, least_squares_latents
from dice_atlas.features.scaling import fit_scaling, scale
from dice_atlas.features.variable_genes import variable_genes
from dice_atlas.metrics.groups import cluster_scores, label_scores
from joblib import Parallel, delayed
from train_prior import mixup_classes

ROOT = Path(__file__).parents[2]
# Column of the labels; labels left out; least number of genes of a cell.
SETS = {
    "zheng_facs_pbmc": ("cell_type_fine", 200),
    "pbmc3k": ("cell_type", 200),
    "kang_ctrl_8donors": ("cell_type", 50),
    "worm_neuron": ("cell_type", 100),
}
NO_LABEL = ("unlabelled", "nan", "")
S, MOST_GENES = float(np.sqrt(1.25)), 3000


def split(labels: np.ndarray, seed: int) -> np.ndarray:
    """Mask of the held-out quarter, by label."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held[members[: len(members) // 4]] = True
    return held


def read(path: Path, column: str, min_genes: int) -> ad.AnnData:
    """Labelled cells with enough genes."""
    data = ad.read_h5ad(path)
    data.obs["label"] = data.obs[column].astype(str)
    enough = np.diff(data.X.tocsr().indptr) >= min_genes
    return data[enough & ~data.obs["label"].isin(NO_LABEL).to_numpy()].copy()


def project(data: ad.AnnData, held: np.ndarray, seed: int) -> tuple[np.ndarray, float, LatentSpace]:
    """Latents (cells x k), the held-out cells' noise variance, and the reference's loadings."""
    counts = data.X.tocsr()
    chosen, _ = variable_genes(counts[~held], MOST_GENES)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    expression = log1p_normalize(counts[:, np.sort(chosen)], totals, 1e4)
    scaling = fit_scaling(expression[~held], 10)
    scaled = scale(expression[~held], scaling)
    values, loadings = truncated_svd(scaled, scaling.center, 50, seed)
    k = choose_k(values)
    none = np.array([], dtype=str)
    genes = data.var_names[np.sort(chosen)].to_numpy(dtype=str)
    space = LatentSpace(genes, loadings[:, :k], scaling, values, none)
    noise = residual_variance(scale(expression[held], scaling), scaling.center, space.loadings)
    return least_squares_latents(expression, space).astype(np.float32), noise, space


def fit(reference: np.ndarray, labels: np.ndarray, augmentation: str, seed: int):
    """A fast prior of the reference's latents."""
    classes, kind = mixup_classes(reference, labels, augmentation, seed)
    settings = preset_settings("fast", len(reference), {})
    trainer = Trainer(
        "fast", settings, torch.from_numpy(reference), torch.from_numpy(classes),
        kind != "none", seed, "cpu",
    )  # fmt: skip
    trainer.run()
    network = trained_network(
        "fast", reference.shape[1], settings.width, settings.blocks, trainer.best
    )
    return prior_of("fast", network)


def kernel_mean(reference: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Exact posterior mean (n, k) under the empirical prior of the reference."""
    weight = torch.softmax(-(torch.cdist(u, reference) ** 2) / (2 * S**2), dim=1)
    return weight @ reference


def embeddings(
    latents: np.ndarray, noise: float, labels: np.ndarray, held: np.ndarray, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray | None, float]]:
    """(method, embedding, posterior sd or None, seconds) of the held-out cells."""
    reference, u = latents[~held], torch.from_numpy(latents[held])
    cells = torch.arange(len(u))
    yield "PCA", u.numpy(), None, 0.0
    yield "kernel posterior mean", kernel_mean(torch.from_numpy(reference), u).numpy(), None, 0.0
    for name, augmentation in (("DICE exact", "labels"), ("DICE exact, no labels", "clusters")):
        start = time.perf_counter()
        prior = fit(reference, labels[~held], augmentation, seed)
        mean, samples = exact_posterior(prior, u, cells, S, 20, seed)
        yield name, mean.numpy(), samples.std(dim=0).numpy(), time.perf_counter() - start
        if augmentation == "labels":
            s = float(np.sqrt(noise + 0.25))
            mean, samples = exact_posterior(prior, u, cells, s, 20, seed)
            yield "DICE exact, noise auto", mean.numpy(), samples.std(dim=0).numpy(), 0.0
            start, rho = time.perf_counter(), rho_schedule(5.0, 0.5, 100)
            likelihood = GaussianLikelihood(u, torch.eye(u.shape[1]))
            rho = rho[first_needed_iteration(rho, 1.0) :]
            samples = gibbs_samples(prior, likelihood, cells, rho, 5, seed)
            found = samples.mean(dim=0).numpy(), samples.std(dim=0).numpy()
            yield "DICE gibbs", *found, time.perf_counter() - start


def one(path: Path, name: str, seed: int, cluster: dict) -> list[dict]:
    """Rows of one data set and seed."""
    torch.set_num_threads(1)
    column, min_genes = SETS[name]
    data = read(path, column, min_genes)
    labels = data.obs["label"].to_numpy(dtype=str)
    held = split(labels, seed)
    rows = []
    latents, noise, _ = project(data, held, seed)
    for method, found, sd, seconds in embeddings(latents, noise, labels, held, seed):
        scores = label_scores(found, labels[held], seed)
        scores |= cluster_scores(found, labels[held], cluster, seed, sd)
        kept = ("silhouette", "clisi", "ari", "nmi", "n_clusters")
        values = {metric: scores[metric].value for metric in kept}
        rows.append({"data": name, "seed": seed, "method": method, **values, "seconds": seconds,
                     "noise_variance": noise})  # fmt: skip
    print(pd.DataFrame(rows).round(3).to_string(index=False), flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="data sets at once, a thread each")
    options = parser.parse_args()
    cluster = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["cluster"]
    # About as good as leidenalg (clustering/leiden.py) in a tenth of its time.
    cluster["flavor"] = "igraph"
    paths = {name: options.data / name / f"{name}.h5ad" for name in SETS}
    jobs = Parallel(n_jobs=options.jobs)(
        delayed(one)(path, name, seed, cluster)
        for seed in range(options.seeds)
        for name, path in paths.items()
    )
    rows = pd.DataFrame([row for job in jobs for row in job])
    rows["data"] = pd.Categorical(rows["data"], list(SETS))
    out = ROOT / "docs" / "benchmarks" / "real_data.tsv"
    out.parent.mkdir(parents=True, exist_ok=True)
    rows.sort_values(["data", "seed"], kind="stable").to_csv(
        out, sep="\t", index=False, float_format="%.5g"
    )
