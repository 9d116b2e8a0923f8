"""Small files as the rules of the workflow write them (workflow_scripts/README.md), for tests."""

import json
from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from dice_atlas.atlas.columns import cell_types, sample_obs
from dice_atlas.atlas.matrices import add_graph, write_atlas
from dice_atlas.clustering.settings import ClusterSettings
from dice_atlas.counts.criteria import CRITERIA, METRICS
from dice_atlas.counts.qc import QcSettings
from dice_atlas.features.correctors import BatchSettings
from dice_atlas.files import write_table
from dice_atlas.plots.categories import NO_CHOICE
from dice_atlas.tables import read_text_table
from dice_atlas.transfer.dataset import log_normalize
from dice_atlas.transfer.settings import AnchorSettings, CallSettings, WeightSettings
from sklearn.neighbors import kneighbors_graph

TYPES = ("B", "T", "NK", "Mono")
# Samples have different genes in a different order; "g3" is missing in q1, "extra" is new there.
GENES = {
    "ref": [f"g{i}" for i in range(40)],
    "q1": ["extra", *[f"g{i}" for i in range(39, -1, -1) if i != 3]],
    "q_2": [*[f"g{i}" for i in range(40)], "late"],
}
ROLES = {"ref": "reference", "q1": "query", "q_2": "query"}
CELLS = {"ref": 80, "q1": 60, "q_2": 40}
RESOLUTIONS = [0.2, 0.6, 1.0]
CLUSTER = ClusterSettings("dice", tuple(RESOLUTIONS), n_neighbors=15, flavor="igraph")

# Of the label transfer, for a few hundred cells.
ANNOTATE = {
    "k.anchor": 5, "k.filter": None, "k.score": 30, "max.features": 200, "k.weight": 50,
    "sd.weight": 1, "seurat_version": "v4", "exact_up_to": 10_000, "unassigned_below": 0.5,
    "outside_below": 0, "coverage": 0.8, "risk": 0.1,
}  # fmt: skip
ANCHORS = AnchorSettings.from_config(ANNOTATE)
WEIGHTS = WeightSettings.from_config(ANNOTATE)
CALLS = CallSettings.from_config(ANNOTATE)


# Criteria that remove no cell, and the patterns that are the defaults.
NO_QC = {
    **{criterion.setting: criterion.off for criterion in CRITERIA},
    **{metric.pattern: metric.default for metric in METRICS if metric.pattern},
    "n_mads": None,
    "doublets": "off",
}


# Section `batch` of the config.
BATCH = {
    "method": "harmony", "keys": ["batch"], "scope": "within_role", "n_pcs": 50, "theta": 2.0,
    "sigma": 0.1, "lambda": None, "max_iter": 10,
}  # fmt: skip


def batch_settings(**changes) -> BatchSettings:
    """The defaults of the batch correction, changed."""
    return BatchSettings.from_config(BATCH | changes)


def qc_settings(**limits) -> QcSettings:
    """Limits of QC by their names in the config; what is not given removes no cell."""
    return QcSettings.from_config(NO_QC | limits)


def expression_of_types(
    rate: np.ndarray, shares: tuple[float, ...], n: int, seed: int
) -> tuple[np.ndarray, sp.csr_matrix]:
    """Labels A, B ... and log-normalised Poisson counts of mean `rate` (types x genes)."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(len(shares), n, p=shares)
    counts = rng.poisson(rate[kinds] * rng.uniform(0.6, 1.4, (n, 1)))
    labels = np.array(list("ABCDEFGH"))[kinds]
    return labels, log_normalize(sp.csr_matrix(counts), counts.sum(axis=1))


def cells_to_label(labels: np.ndarray, query: np.ndarray, seed: int) -> pd.DataFrame:
    """Cells of one sample for `find_anchors.find`; the mask tells those without a label."""
    names = [f"c{seed}_{i}" for i in range(len(labels))]
    return pd.DataFrame(
        {
            "sample": "s",
            "role": np.where(query, "query", "reference"),
            "label": np.where(query, "", labels),
            "cell_key": names,
        },
        index=names,
    )


def blobs(
    n_clusters: int, size: int, dimensions: int, seed: int, distance: float = 8.0
) -> tuple[np.ndarray, np.ndarray]:
    """Unit Gaussian clusters whose centres stand `distance` from each other, and their labels."""
    rng = np.random.default_rng(seed)
    centers = np.zeros((n_clusters, dimensions))
    centers[np.arange(n_clusters), np.arange(n_clusters)] = distance / np.sqrt(2)
    labels = np.repeat(np.arange(n_clusters), size)
    points = centers[labels] + rng.normal(size=(len(labels), dimensions))
    return points.astype(np.float32), labels


def filtered_sample(name: str, seed: int = 0) -> ad.AnnData:
    """samples/<s>/filtered.h5ad: counts whose mean depends on the cell's type."""
    rng = np.random.default_rng([seed, list(GENES).index(name)])
    genes = GENES[name]
    types = rng.integers(0, len(TYPES), CELLS[name])
    number = np.array([int(g[1:]) if g[1:].isdigit() else 0 for g in genes])
    rate = 0.5 + 4.0 * (number[None, :] % len(TYPES) == types[:, None])
    counts = rng.poisson(rate).astype(np.int32)
    barcodes = [f"AC{i:03d}-1" for i in range(CELLS[name])]
    reference = ROLES[name] == "reference"
    obs = pd.DataFrame(
        {
            "barcode": barcodes,
            "sample": name,
            "role": ROLES[name],
            "batch": "A" if reference else "B",
            "label": [TYPES[t] if reference else "" for t in types],
            "donor": f"donor of {name}",
            "n_genes": (counts > 0).sum(axis=1),
            "total_counts": counts.sum(axis=1),
            "percent_mito": rng.random(CELLS[name]),
            "doublet_score": np.nan,
            "predicted_doublet": False,
            "hidden": [TYPES[t] for t in types],
        },
        index=pd.Index([f"{name}_{barcode}" for barcode in barcodes], dtype=object),
    )
    var = pd.DataFrame(
        {"gene_id": [f"ENSG{g}" for g in genes], "n_cells": (counts > 0).sum(axis=0)},
        index=pd.Index(genes, dtype=object),
    )
    source = {"path": f"{name}.h5ad", "sha256": "0" * 64, "format": "h5ad"}
    return ad.AnnData(sp.csr_matrix(counts), obs=obs, var=var, uns={"source": source})


def make_results(folder: Path, transfer: bool = True) -> dict[str, Path]:
    """All files that the back of the workflow reads; the paths by name, `truth` by sample."""
    samples = {name: filtered_sample(name) for name in GENES}
    hidden = pd.concat([s.obs["hidden"] for s in samples.values()]).to_numpy()
    paths: dict[str, Path] = {}
    for name, sample in samples.items():
        del sample.obs["hidden"]
        paths[name] = folder / "samples" / name / "filtered.h5ad"
        paths[name].parent.mkdir(parents=True)
        sample.write_h5ad(paths[name])
    obs = pd.concat([sample.obs for sample in samples.values()])
    paths |= write_embeddings(folder, obs, hidden)
    paths |= write_expression(folder, samples)
    paths["truth"] = folder / "truth.csv"
    query = (obs["role"] == "query").to_numpy()
    truth = pd.DataFrame({"barcode": obs["barcode"][query], "label": hidden[query]})
    truth[obs["sample"][query].to_numpy() == "q1"].to_csv(paths["truth"], index=False)
    paths["card"] = folder / "card.json"
    paths["card"].write_text(json.dumps({"preset": "fast", "k": 6, "note": None}))
    if transfer:
        paths |= write_calls(folder, obs.index[query], hidden[query])
    return paths


def write_embeddings(folder: Path, obs: pd.DataFrame, hidden: np.ndarray) -> dict[str, Path]:
    rng = np.random.default_rng(5)
    codes = np.array([TYPES.index(t) for t in hidden])
    center = np.eye(len(TYPES), 6)[codes]
    noise = rng.normal(size=(len(codes), 6))
    latents = ad.AnnData(
        obs=obs[["sample", "role", "batch", "label"]],
        obsm={
            "X_pca": (4 * center + noise).astype(np.float32),
            "X_harmony": (5 * center + noise).astype(np.float32),
        },
    )
    denoised = ad.AnnData(obs=latents.obs.copy())
    denoised.obs["dice_uncertainty"] = rng.random(len(codes))
    denoised.obs["dice_residual"] = rng.random(len(codes))
    denoised.obsm["X_dice"] = (9 * center + noise).astype(np.float32)
    denoised.obsm["X_dice_sd"] = np.full((len(codes), 6), 0.5, dtype=np.float32)
    denoised.uns["dice"] = {"labels": np.array(TYPES, dtype=object), "noise_variance": 1.0}
    paths = {"latents": folder / "latents.h5ad", "denoised": folder / "denoised.h5ad"}
    latents.write_h5ad(paths["latents"])
    denoised.write_h5ad(paths["denoised"])
    return paths


def write_expression(folder: Path, samples: dict[str, ad.AnnData]) -> dict[str, Path]:
    shared = [g for g in GENES["ref"] if all(g in genes for genes in GENES.values())]
    selected = shared[5:35]
    genes = pd.DataFrame({"gene": shared, "gene_id": [f"ENSG{g}" for g in shared]})
    genes["rank"] = np.arange(len(shared))
    genes["selected"] = genes["gene"].isin(selected)
    blocks = [sample[:, selected].X.astype(np.float32) for sample in samples.values()]
    normalized = ad.AnnData(
        sp.csr_matrix(sp.vstack(blocks).log1p()),
        obs=pd.concat([sample.obs for sample in samples.values()]),
        var=pd.DataFrame(index=pd.Index(selected, dtype=object)),
    )
    paths = {"genes": folder / "genes.tsv", "normalized": folder / "normalized.h5ad"}
    write_table(genes, paths["genes"])
    normalized.write_h5ad(paths["normalized"])
    return paths


def write_calls(folder: Path, cells: pd.Index, truth: np.ndarray) -> dict[str, Path]:
    """Calls in the space dice: right, but for every tenth cell, which is unassigned."""
    low = np.arange(len(cells)) % 10 == 0
    scores = np.where(low, 0.24, 0.1)[:, None].repeat(len(TYPES), axis=1)
    own = [TYPES.index(t) for t in truth]
    scores[np.arange(len(cells)), own] = np.where(low, 0.25, 0.7)
    predictions = pd.DataFrame({"cell": cells, "predicted": truth, "score": scores.max(axis=1)})
    predictions["n_anchors"] = 3
    for i, name in enumerate(TYPES):
        predictions[f"score:{name}"] = scores[:, i]
    calls = predictions[["cell", "predicted", "score", "n_anchors"]].copy()
    calls.insert(1, "cell_type", np.where(low, "unassigned", truth))
    calls["second"], calls["second_score"] = TYPES[0], 0.1
    calls["prediction_set"] = np.where(low, "|".join(TYPES), truth)
    calls["entropy"] = 0.5
    calls["p_reference"] = 0.5
    calls["rule"] = np.where(low, "score_below_0.5", "")
    paths = {"calls": folder / "calls.tsv.gz", "predictions": folder / "predictions.tsv.gz"}
    write_table(calls, paths["calls"])
    write_table(predictions, paths["predictions"])
    return paths


def write_graph(path: Path, embedding: np.ndarray, cells: pd.Index) -> None:
    """clusters/graph.h5ad; weights fall with the distance, where the rule's are UMAP's."""
    distances = kneighbors_graph(embedding, 9, mode="distance")
    weights = distances.copy()
    weights.data = np.exp(-weights.data).astype(np.float32)
    params = {"method": "umap", "metric": "euclidean", "n_neighbors": 10, "random_state": 0,
              "use_rep": "X_dice"}  # fmt: skip
    keys = {f"{name}_key": name for name in ("connectivities", "distances")}
    graph = ad.AnnData(
        obs=pd.DataFrame(index=cells),
        obsp={"distances": distances, "connectivities": sp.csr_matrix(weights.maximum(weights.T))},
        uns={"neighbors": {**keys, "params": params}, "embedding": "dice"},
    )
    graph.write_h5ad(path, compression="lzf")


def make_atlas(
    folder: Path, counts: bool = True, palette: Mapping[str, str] = NO_CHOICE, **columns: object
) -> Path:
    """atlas.h5ad of the cells of `make_results`, written by the library; clusters are the types.

    Parameters
    ----------
    folder : empty.
    counts : whether the samples have raw counts; else log-normalised values alone.
    palette : colours of some labels.
    columns : further ones of obs.
    """
    paths = make_results(folder)
    samples = [paths[name] for name in GENES]
    if not counts:
        for path in samples:
            sample = ad.read_h5ad(path)
            sample.X = sample.X.astype(np.float32)
            sample.uns["source"] = {"expression": "log1p", "total": 1e4}
            sample.write_h5ad(path)
    calls = read_text_table(paths["calls"], "score", "entropy", "n_anchors", "p_reference")
    obs = sample_obs(samples, {"ref": {"extra": {"donor": "x"}}})
    hidden = pd.concat([filtered_sample(name).obs["hidden"] for name in GENES])
    obs = obs.drop(columns="label").join(cell_types(obs, calls))
    codes = hidden.map(TYPES.index)
    obs = obs.assign(cell_type_ontology_term_id="CL:0000236", cluster=codes.astype(str), **columns)
    # Twelve clusters, of which the names sort otherwise than the numbers.
    obs["leiden_2"] = [str(code + 4 * (i % 3)) for i, code in enumerate(codes)]
    denoised = ad.read_h5ad(paths["denoised"])
    obsm = {"X_dice": denoised.obsm["X_dice"], "X_umap": denoised.obsm["X_dice"][:, :2]}
    write_graph(folder / "graph.h5ad", obsm["X_dice"], obs.index)
    config = {"seed": 0, "normalization": {"target_sum": 1e4}}
    about = {"dice_atlas": {"seed": 0, "config": json.dumps(config)}}
    path = folder / "atlas.h5ad"
    write_atlas(path, samples, obs, obsm, about, ["g5", "g6"], 1e4, palette)
    add_graph(path, folder / "graph.h5ad")
    return path
