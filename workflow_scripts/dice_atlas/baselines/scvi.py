"""scVI: latents of raw counts by a variational autoencoder; scANVI: labels by the same model.

Lopez et al., "Deep generative modeling for single-cell transcriptomics", Nature Methods 2018; Xu et
al., "Probabilistic harmonization and annotation of single-cell transcriptomics data with deep
generative models", Molecular Systems Biology 2021. They run in an environment of their own
(requirements-scvi.txt): nothing is imported that it lacks.
"""

import os
import sys
from typing import Any

import anndata as ad
import numpy as np

N_LATENT = 10
# Label of cells without one, and cells of a label in an epoch: those of scANVI's tutorial.
UNLABELLED, CELLS_OF_A_LABEL = "Unknown", 100


def check_counts(data: ad.AnnData) -> None:
    """Raise ValueError unless layers["counts"] holds raw counts and obs a batch."""
    if "counts" not in data.layers or "batch" not in data.obs:
        raise ValueError('the input lacks layers["counts"] or obs["batch"]')
    values = data.layers["counts"].data
    if not values.size or values.min() < 0 or (values != np.round(values)).any():
        raise ValueError('layers["counts"] holds no counts, or negative or fractional ones')


def trained(data: ad.AnnData, seed: int, threads: int) -> Any:
    """scVI's model of all cells.

    Parameters
    ----------
    data : layers["counts"] cells x genes CSR raw counts; obs `batch`, and for scANVI `label`.
    seed : of split, initial weights and batches; with as many threads it gives the same again.
    threads : of torch on the CPU; a GPU is used where torch finds one.

    Raises
    ------
    ValueError
        The layer does not hold raw counts, or obs no batch.
    """
    check_counts(data)
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
    columns = data.obs.columns.intersection(["batch", "label"])
    data = ad.AnnData(
        obs=data.obs[columns].astype(str).astype("category"),
        layers={"counts": data.layers["counts"].astype(np.float32)},
        shape=data.shape,
    )
    scvi.model.SCVI.setup_anndata(data, layer="counts", batch_key="batch")
    model = scvi.model.SCVI(data, n_latent=N_LATENT)
    model.train(early_stopping=True, enable_progress_bar=False)
    print(f"{len(model.history['elbo_validation'])} epochs on {model.device}", file=sys.stderr)
    return model


def embed_and_label(data: ad.AnnData, seed: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of the cells' latents (cells x 10, float32), and scANVI's labels, from one model.

    Parameters
    ----------
    data : see `trained`; obs also `role` and `label`. Labels of query cells are not looked at.
    seed, threads : see `trained`.
    """
    known = data.obs["label"].astype(str).where(data.obs["role"] == "reference", UNLABELLED)
    model = trained(ad.AnnData(obs=data.obs.assign(label=known), layers=data.layers), seed, threads)
    latents = model.get_latent_representation()
    import scvi

    labeller = scvi.model.SCANVI.from_scvi_model(model, UNLABELLED, labels_key="label")
    labeller.train(n_samples_per_label=CELLS_OF_A_LABEL, enable_progress_bar=False)
    return np.asarray(latents, dtype=np.float32), np.asarray(labeller.predict(), dtype=str)


def draw(data: ad.AnnData, cells: np.ndarray, seed: int, threads: int) -> np.ndarray:
    """Counts (m, genes) int32 of cells drawn again from the posterior predictive of `trained`.

    Parameters
    ----------
    data, seed, threads : see `trained`.
    cells : (m,) positions.
    """
    drawn = trained(data, seed, threads).posterior_predictive_sample(indices=cells)
    dense = drawn.todense() if hasattr(drawn, "todense") else drawn
    return np.asarray(dense, dtype=np.int32)
