"""obs, obsm and scores of the atlas, from the files of the stages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from dice_atlas.counts.criteria import METRIC_NAMES
from dice_atlas.dice.label_sets import credible_sets, label_entropy
from dice_atlas.errors import InputError
from dice_atlas.names import (
    AT_LEVEL,
    DOUBTS,
    GIVEN,
    IN_VOTER,
    MARKERS,
    SCORE,
    TRANSFERRED,
    UNASSIGNED,
)
from dice_atlas.tables import read_part
from dice_atlas.transfer.levels import Levels

QC_COLUMNS = (*METRIC_NAMES, "doublet_score", "predicted_doublet")
# Column of the atlas: column of calls.tsv.gz, and its value for cells without a call.
CALLED = {
    "cell_type_score": ("score", np.nan),
    "cell_type_set": ("prediction_set", ""),
    "cell_type_entropy": ("entropy", np.nan),
    "cell_type_n_anchors": ("n_anchors", 0),
    "cell_type_best": ("predicted", ""),
    "cell_type_second": ("second", ""),
    "cell_type_second_score": ("second_score", np.nan),
    "cell_type_p_reference": ("p_reference", np.nan),
}
# Columns of calls.tsv.gz that are numbers.
CALLED_NUMBERS = tuple(name for name, without in CALLED.values() if not isinstance(without, str))


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

    Raises
    ------
    InputError
        The calls are not of just the query cells.
    """
    label = obs["label"].astype(str).to_numpy(dtype=object)
    none_given = np.where(obs["role"] == "reference", "no_label_given", "no_labels_transferred")
    table = pd.DataFrame(
        {
            "cell_type": np.where(label == "", UNASSIGNED, label),
            **{name: without for name, (_, without) in CALLED.items()},
            "cell_type_rule": np.where(label == "", none_given, ""),
        },
        index=obs.index,
    )
    if calls is None:
        return table
    query = obs.index[obs["role"] == "query"]
    found = calls.set_index("cell").reindex(query)
    require_calls(found, calls, query)
    sources = {"cell_type": "cell_type", "cell_type_rule": "rule"}
    sources |= {name: source for name, (source, _) in CALLED.items()}
    for name, source in sources.items():
        table.loc[query, name] = found[source].astype(table[name].dtype)
    if "synthetic" in found:
        table["cell_type_synthetic"] = np.nan
        table.loc[query, "cell_type_synthetic"] = found["synthetic"].astype(float)
    return table


def labels_of_voters(cell_type: pd.Series, calls: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Columns `cell_type_in_<voter>`: the label that each voter alone gives.

    Parameters
    ----------
    cell_type : final label of all cells, by name; kept for the reference's.
    calls : calls.tsv.gz by voter.
    """
    table = pd.DataFrame(index=cell_type.index)
    for voter, own in calls.items():
        table[f"{IN_VOTER}{voter}"] = cell_type
        table.loc[own["cell"], f"{IN_VOTER}{voter}"] = own["cell_type"].to_numpy()
    return table


def level_columns(cell_type: pd.Series, calls: pd.DataFrame, levels: Levels) -> pd.DataFrame:
    """Columns `cell_type_at_<level>`, `cell_type_backoff` and `cell_type_level` of all cells.

    Parameters
    ----------
    cell_type : final label of all cells, by name; given for the reference's.
    calls : calls.tsv.gz of the final voter.
    levels : of the labels.
    """
    query, table = calls["cell"], pd.DataFrame(index=cell_type.index)
    for level in range(1, levels.finest):
        table[f"{AT_LEVEL}{level}"] = levels.at(level, cell_type)
        table.loc[query, f"{AT_LEVEL}{level}"] = calls[f"at_{level}"].to_numpy()
    table["cell_type_backoff"] = cell_type
    table.loc[query, "cell_type_backoff"] = calls["backoff"].to_numpy()
    table["cell_type_level"] = np.where(cell_type == UNASSIGNED, 0, levels.finest)
    table.loc[query, "cell_type_level"] = calls["level"].astype(int).to_numpy()
    return table


def marker_columns(obs: pd.DataFrame, markers: pd.DataFrame, transferred: bool) -> pd.DataFrame:
    """Columns of the marker lists. Without a transfer, they label the cells that have no label.

    Parameters
    ----------
    obs : all cells, with the columns of `cell_types`.
    markers : obs of cells.h5ad, in the same order: `label`, `rule`, `score`.
    transferred : whether the query's labels were transferred.
    """
    label, rule = (markers[name].astype(str).to_numpy(dtype=object) for name in ("label", "rule"))
    given = (obs["role"] == "reference") if transferred else True
    given &= obs["cell_type"] != UNASSIGNED
    source = np.where(given, GIVEN, TRANSFERRED if transferred else MARKERS)
    table = obs.assign(**{IN_VOTER + MARKERS: label, "marker_score": markers["score"].to_numpy()})
    if not transferred:
        table["cell_type"] = np.where(given, obs["cell_type"], label)
        table["cell_type_rule"] = np.where(given, obs["cell_type_rule"], rule)
    assigned = table["cell_type"] != UNASSIGNED
    return table.assign(cell_type_source=np.where(assigned, source, ""))


def require_calls(found: pd.DataFrame, calls: pd.DataFrame, query: pd.Index) -> None:
    """Raise unless the calls are of just the query cells.

    Parameters
    ----------
    found : the calls, reindexed to the query cells.
    calls : calls.tsv.gz.
    query : names of the query cells.

    Raises
    ------
    InputError
        A query cell has no call, or another cell has one.
    """
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


def sample_obs(paths: Sequence[str | Path], sheet: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """obs of all samples: sample, role, batch, further columns of the sheet, QC, label.

    Parameters
    ----------
    paths : filtered.h5ad of the samples, in the order of the cells.
    sheet : rows of the sample sheet by sample; `extra` holds the further columns.
    """
    tables = []
    for path in paths:
        table = read_part(path, "obs")
        # Categories of the samples differ; text is made of them before they meet.
        for name in table.select_dtypes("category"):
            table[name] = table[name].astype(object)
        tables.append(table)
    obs = pd.concat(tables)
    further = [name for row in sheet.values() for name in row["extra"]]
    columns = dict.fromkeys(["sample", "role", "batch", *further, *QC_COLUMNS, "label"])
    kept = [name for name in columns if name in obs]
    return obs[kept].assign(label=obs["label"].fillna("").astype(str))


def posterior_columns(denoised: ad.AnnData, coverage: float) -> pd.DataFrame:
    """The `dice_*` columns of all cells.

    Parameters
    ----------
    denoised : denoised.h5ad.
    coverage : of `dice_label_set`, 0 to 1.
    """
    table = pd.DataFrame(index=denoised.obs_names)
    if "label_posterior" in denoised.obsm:
        shares, labels = denoised.obsm["label_posterior"], denoised.uns["dice"]["labels"]
        table["dice_label_set"] = credible_sets(shares, labels, coverage)
        table["dice_label_entropy"] = label_entropy(shares)
    for name in ("dice_uncertainty", "dice_residual", "dice_background"):
        table[name] = denoised.obs[name].to_numpy()
    return table


def cells_table(obs: pd.DataFrame, umap: np.ndarray) -> pd.DataFrame:
    """One row per cell: its name, all columns of obs, and its place on the map (cells x 2)."""
    places = {"umap1": umap[:, 0], "umap2": umap[:, 1]}
    return obs.assign(**places).rename_axis("cell").reset_index()


def doubtful_table(obs: pd.DataFrame) -> pd.DataFrame:
    """One row per query cell with a reason to doubt its label: what a person looks at to decide.

    Parameters
    ----------
    obs : of the atlas.

    Returns
    -------
    DataFrame
        `cell`, `sample`, `cell_type_doubt`, the label, the other columns of labels and confidence,
        `cluster`; ordered by the reason and by the score, least first. Without a transfer no rows.
    """
    about = [name for name in obs if name.startswith("cell_type") and name != "cell_type_doubt"]
    doubt = obs.get("cell_type_doubt", pd.Series("", index=obs.index)).astype(str)
    score = pd.to_numeric(obs["cell_type_score"])
    rank = doubt.map({name: i for i, name in enumerate(DOUBTS)})
    order = pd.DataFrame({"rank": rank, "score": score}).dropna(subset="rank")
    rows = order.sort_values(["rank", "score"], kind="stable").index
    table = obs.assign(cell_type_doubt=doubt).loc[rows]
    further = [name for name in ("cluster", "cluster_label") if name in obs]
    columns = ["sample", "cell_type_doubt", *about, *further]
    return table[columns].rename_axis("cell").reset_index()


def embeddings(latents: ad.AnnData, denoised: ad.AnnData, umap: pd.DataFrame) -> dict:
    """obsm of the atlas."""
    return {
        "X_pca": latents.obsm["X_pca"],
        "X_harmony": latents.obsm["X_harmony"],
        "X_dice": denoised.obsm["X_dice"],
        "X_dice_sd": denoised.obsm["X_dice_sd"],
        "X_umap": umap[["umap1", "umap2"]].to_numpy(dtype=np.float32),
    }
