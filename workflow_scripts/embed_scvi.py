"""embed_scvi: latents of scVI on raw counts, in an environment of its own (requirements-scvi.txt).

    python embed_scvi.py --input split.h5ad --output scvi.h5ad --seed 0 --threads 2

The environment lacks the workflow's packages, so nothing of dice_atlas is imported here. scVI:
Lopez et al., "Deep generative modeling for single-cell transcriptomics", Nature Methods 2018.
"""

import argparse
import os
import sys
from pathlib import Path

import anndata as ad
import numpy as np

N_LATENT = 10


def check_counts(data: ad.AnnData) -> None:
    """Raise ValueError unless layers["counts"] holds raw counts and obs a batch."""
    if "counts" not in data.layers or "batch" not in data.obs:
        raise ValueError('the input lacks layers["counts"] or obs["batch"]')
    values = data.layers["counts"].data
    if not values.size or values.min() < 0 or (values != np.round(values)).any():
        raise ValueError('layers["counts"] holds no counts, or negative or fractional ones')


def embed(data: ad.AnnData, seed: int, threads: int) -> np.ndarray:
    """Train scVI on all cells; returns the means of their latents, cells x 10, float32.

    Parameters
    ----------
    data : layers["counts"] cells x genes CSR raw counts; obs `batch`.
    seed : of split, initial weights and batches; with as many threads it gives the same again.
    threads : of torch on the CPU; a GPU is used where torch finds one.
    """
    import logging

    # Read when torch is loaded. Where the cores are busy, torch's threads waiting for each other
    # in a loop took ten times as long as one thread alone.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import scvi
    import torch

    scvi.settings.verbosity = logging.WARNING
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    scvi.settings.seed = seed
    torch.set_num_threads(threads)
    # One copy without the rest: scVI writes into the obs of what it gets.
    data = ad.AnnData(
        obs=data.obs[["batch"]].astype(str).astype("category"),
        layers={"counts": data.layers["counts"].astype(np.float32)},
        shape=data.shape,
    )
    scvi.model.SCVI.setup_anndata(data, layer="counts", batch_key="batch")
    model = scvi.model.SCVI(data, n_latent=N_LATENT)
    model.train(early_stopping=True, enable_progress_bar=False)
    print(f"{len(model.history['elbo_validation'])} epochs on {model.device}", file=sys.stderr)
    return np.asarray(model.get_latent_representation(), dtype=np.float32)


def write(data: ad.AnnData, path: Path) -> None:
    """Write to a temporary name, then rename: the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        data.write_h5ad(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    split = ad.read_h5ad(arguments.input)
    check_counts(split)
    embedding = embed(split, arguments.seed, arguments.threads)
    write(ad.AnnData(obs=split.obs, obsm={"X_embedding": embedding}), arguments.output)
