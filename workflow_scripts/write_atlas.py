"""write_atlas: counts, expression, embeddings, labels and provenance of all cells in one h5ad."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from dice_atlas.atlas import write_atlas
from dice_atlas.cells import require_same_cells
from dice_atlas.dice.credible import credible_sets, label_entropy
from dice_atlas.errors import InputError
from dice_atlas.files import atomic_path, sha256
from dice_atlas.logs import job_log
from dice_atlas.tables import read_by_space, read_part, read_text_table

QC_COLUMNS = ("n_genes", "total_counts", "percent_mito", "doublet_score", "predicted_doublet")
SCORE = "score:"
UNASSIGNED = "unassigned"
PACKAGES = (
    "anndata", "harmonypy", "igraph", "leidenalg", "numpy", "pandas", "scanpy", "scikit-learn",
    "scipy", "snakemake", "torch", "umap-learn",
)  # fmt: skip


def cell_types(obs: pd.DataFrame, calls: pd.DataFrame | None) -> pd.DataFrame:
    """The `cell_type*` columns of all cells.

    Parameters
    ----------
    obs : all cells; `role`, `label` ("" = none).
    calls : calls.tsv.gz of the final space; None when no labels were transferred.

    Returns
    -------
    DataFrame
        Reference cells have their given label; query cells the transferred one, or without a
        transfer a given one. Cells without either are "unassigned", and `cell_type_rule` says why.
    """
    label = obs["label"].astype(str).to_numpy(dtype=object)
    none_given = np.where(obs["role"] == "reference", "no_label_given", "no_labels_transferred")
    table = pd.DataFrame(
        {
            "cell_type": np.where(label == "", UNASSIGNED, label),
            "cell_type_score": np.nan,
            "cell_type_set": "",
            "cell_type_entropy": np.nan,
            "cell_type_n_anchors": 0,
            "cell_type_second": "",
            "cell_type_p_reference": np.nan,
            "cell_type_rule": np.where(label == "", none_given, ""),
        },
        index=obs.index,
    )
    if calls is None:
        return table
    query = obs.index[obs["role"] == "query"]
    found = calls.set_index("cell").reindex(query)
    require_calls(found, calls, query)
    table.loc[query, "cell_type"] = found["cell_type"]
    table.loc[query, "cell_type_score"] = found["score"]
    table.loc[query, "cell_type_set"] = found["prediction_set"]
    table.loc[query, "cell_type_entropy"] = found["entropy"]
    table.loc[query, "cell_type_n_anchors"] = found["n_anchors"].astype(int)
    table.loc[query, "cell_type_second"] = found["second"]
    table.loc[query, "cell_type_p_reference"] = found["p_reference"]
    table.loc[query, "cell_type_rule"] = found["rule"]
    return table


def labels_of_spaces(cell_type: pd.Series, calls: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Columns `cell_type_in_<space>`: the label that each space alone gives.

    Parameters
    ----------
    cell_type : final label of all cells, by name; kept for the reference's.
    calls : calls.tsv.gz by space.
    """
    table = pd.DataFrame(index=cell_type.index)
    for space, own in calls.items():
        table[f"cell_type_in_{space}"] = cell_type
        table.loc[own["cell"], f"cell_type_in_{space}"] = own["cell_type"].to_numpy()
    return table


def require_calls(found: pd.DataFrame, calls: pd.DataFrame, query: pd.Index) -> None:
    """Raise unless the calls are of just the query cells."""
    if found["cell_type"].isna().any() or len(calls) != len(query):
        raise InputError(
            f"the label transfer has {len(calls)} cells, expected the {len(query)} query cells; "
            "remove annotation/ and start again"
        )


def score_matrix(predictions: pd.DataFrame, cells: pd.Index) -> tuple[np.ndarray, list[str]]:
    """Scores of all labels (cells x labels, float32; NaN for reference cells) and their names."""
    # Alphabetical, as the labels of the posterior.
    columns = sorted(name for name in predictions if name.startswith(SCORE))
    values = predictions.set_index("cell")[columns].astype(np.float32).reindex(cells)
    return values.to_numpy(dtype=np.float32), [name.removeprefix(SCORE) for name in columns]


def sample_obs(paths: Sequence[str], sheet: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """obs of all samples: sample, role, batch, further columns of the sheet, QC, label."""
    tables = []
    for path in paths:
        table = read_part(path, "obs")
        # Categories of the samples differ; text is made of them before they meet.
        for name in table.select_dtypes("category"):
            table[name] = table[name].astype(object)
        tables.append(table)
    obs = pd.concat(tables)
    further = [name for row in sheet.values() for name in row["extra"]]
    wanted = dict.fromkeys(["sample", "role", "batch", *further, *QC_COLUMNS, "label"])
    kept = [name for name in wanted if name in obs]
    return obs[kept].assign(label=obs["label"].fillna("").astype(str))


def provenance(
    settings: Mapping[str, Any],
    paths: Sequence[str],
    card: Mapping[str, Any],
    prior_sha256: str,
    dice: Mapping[str, Any],
) -> dict[str, Any]:
    """uns["dice_atlas"]: settings, versions and inputs.

    Nested settings are JSON strings, since h5ad holds no None; there is no date and no duration,
    so that the same run gives the same file.
    """
    sources = {}
    for path in paths:
        name = str(read_part(path, "obs")["sample"].iloc[0])
        sources[name] = read_part(path, "uns").get("source", {})
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "config": as_json(settings["config"]),
        "samples": as_json(settings["samples"]),
        "seed": int(settings["config"]["seed"]),
        "versions": versions,
        "inputs": as_json(sources),
        "prior": as_json({k: v for k, v in card.items() if k != "seconds"}),
        "prior_sha256": prior_sha256,
        "dice": as_json(dict(dice)),
    }


def as_json(value: Any) -> str:
    """JSON of nested settings, numpy's numbers and arrays included."""
    return json.dumps(value, default=lambda other: np.asarray(other).tolist())


def embeddings(latents: ad.AnnData, denoised: ad.AnnData, umap: pd.DataFrame) -> dict:
    """obsm of the atlas."""
    return {
        "X_pca": latents.obsm["X_pca"],
        "X_harmony": latents.obsm["X_harmony"],
        "X_dice": denoised.obsm["X_dice"],
        "X_dice_sd": denoised.obsm["X_dice_sd"],
        "X_umap": umap[["umap1", "umap2"]].to_numpy(dtype=np.float32),
    }


if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, params = snakemake.input, snakemake.params
        latents, denoised = ad.read_h5ad(given.latents), ad.read_h5ad(given.denoised)
        obs = sample_obs(given.samples, params.config["samples"])
        clusters = read_text_table(given.clusters)
        umap = read_text_table(given.umap, "umap1", "umap2")
        for cells, name in (
            (obs.index, "the filtered samples"),
            (denoised.obs_names, given.denoised),
            (clusters["cell"], given.clusters),
            (umap["cell"], given.umap),
        ):
            require_same_cells(cells, latents.obs_names, f"{name} and {given.latents}")
        obsm = embeddings(latents, denoised, umap)
        card = json.loads(Path(given.card).read_text())
        dice = dict(denoised.uns["dice"])
        about = provenance(params.config, given.samples, card, sha256(given.prior), dice)
        uns, calls, posterior = {"dice_atlas": about}, None, {}
        if "label_posterior" in denoised.obsm:
            shares = obsm["dice_label_posterior"] = denoised.obsm["label_posterior"]
            names = uns["dice_label_posterior_names"] = np.asarray(dice["labels"], dtype=object)
            coverage = params.config["config"]["annotate"]["coverage"]
            posterior["dice_label_set"] = credible_sets(shares, names, coverage)
            posterior["dice_label_entropy"] = label_entropy(shares)
        if given.calls:
            numbers = ("score", "entropy", "n_anchors", "p_reference")
            by_space = read_by_space(given.calls, *numbers)
            calls = by_space[params.config["config"]["annotate"]["final"]]
            scores, names = score_matrix(read_text_table(given.predictions[0]), obs.index)
            obsm["cell_type_scores"] = scores
            uns["cell_type_scores_names"] = about["labels"] = np.array(names, dtype=object)
        obs = obs.drop(columns="label").join(cell_types(obs, calls))
        if calls is not None and len(by_space) > 1:
            obs = obs.join(labels_of_spaces(obs["cell_type"], by_space))
        obs = obs.assign(**posterior)
        for name in ("dice_uncertainty", "dice_residual"):
            obs[name] = denoised.obs[name].to_numpy()
        obs["cluster"] = clusters["cluster"].to_numpy()
        genes = read_text_table(given.genes)
        selected = genes["gene"][genes["selected"] == "True"]
        with atomic_path(snakemake.output.atlas) as path:
            write_atlas(path, given.samples, obs, obsm, uns, selected, params.target_sum)
        log.info("%d cells", len(obs))
