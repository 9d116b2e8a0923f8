"""obs, obsm and uns of the atlas, put together from the files of the stages."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from dice_atlas.atlas.approximations import approximations
from dice_atlas.atlas.columns import (
    CALLED_NUMBERS,
    cell_types,
    embeddings,
    labels_of_voters,
    level_columns,
    marker_columns,
    posterior_columns,
    sample_obs,
    score_matrix,
)
from dice_atlas.atlas.doubt import cluster_labels, doubts
from dice_atlas.atlas.ontology import Ontology, term_ids
from dice_atlas.atlas.settings import AtlasSettings
from dice_atlas.features.card import read_card
from dice_atlas.holdout import repeated_cells, require_same_cells
from dice_atlas.names import CONSENSUS
from dice_atlas.tables import read_by_voter, read_text_table
from dice_atlas.transfer.levels import Levels

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageFiles:
    """The files that the atlas is made of.

    Attributes
    ----------
    samples : filtered.h5ad, in the order of the cells.
    latents, denoised, clusters, umap : of all cells.
    calls : calls.tsv.gz of each voter; none where no labels were transferred.
    predictions : predictions.tsv.gz of the final voter; None likewise.
    markers : cells.h5ad of the marker lists; None where there are none.
    card : of the prior.
    levels : label_levels.tsv, where labels were joined.
    """

    samples: tuple[Path, ...]
    latents: Path
    denoised: Path
    clusters: Path
    umap: Path
    calls: tuple[Path, ...]
    predictions: Path | None
    markers: Path | None
    card: Path
    levels: tuple[Path, ...] = ()

    @classmethod
    def from_rule(cls, given: Any) -> "StageFiles":
        """From the rule's named inputs."""
        return cls(
            tuple(map(Path, given.samples)),
            Path(given.latents),
            Path(given.denoised),
            Path(given.clusters),
            Path(given.umap),
            tuple(map(Path, given.calls)),
            Path(given.predictions[0]) if given.predictions else None,
            Path(given.markers[0]) if given.markers else None,
            Path(given.card),
            tuple(map(Path, given.levels)),
        )


def assemble(
    files: StageFiles, sheet: Mapping[str, Mapping[str, Any]], settings: AtlasSettings
) -> tuple[pd.DataFrame, dict[str, np.ndarray], dict[str, Any]]:
    """obs, obsm and uns of the atlas; of `uns["dice_atlas"]` only what is to be said of the cells.

    Parameters
    ----------
    files : of the stages.
    sheet : rows of the sample sheet by sample.
    settings : of the columns.

    Raises
    ------
    InputError
        The files do not hold the same cells in the same order, or the calls are not of the query.
    """
    latents, denoised = ad.read_h5ad(files.latents), ad.read_h5ad(files.denoised)
    obs, levels = sample_obs(files.samples, sheet), Levels.read(files.levels)
    obs["label"] = levels.renamed(obs["label"])
    for one, other, n in repeated_cells(obs):
        logger.warning(
            "%s (reference) and %s (query) have %d cells with the same barcode and counts: are "
            "they the same data?", one, other, n,
        )  # fmt: skip
    clusters = read_text_table(files.clusters)
    umap = read_text_table(files.umap, "umap1", "umap2")
    for cells, name in (
        (obs.index, "the filtered samples"),
        (denoised.obs_names, files.denoised),
        (clusters["cell"], files.clusters),
        (umap["cell"], files.umap),
    ):
        require_same_cells(cells, latents.obs_names, f"{name} and {files.latents}")
    obsm, uns = embeddings(latents, denoised, umap), {}
    if "dice_coordinates" in denoised.uns:
        uns["dice_coordinates"] = denoised.uns["dice_coordinates"]
    if "label_posterior" in denoised.obsm:
        given = denoised.obsm["label_posterior"], denoised.uns["dice"]["labels"]
        shares, labels = levels.merged_shares(*given)
        denoised.obsm["label_posterior"], denoised.uns["dice"]["labels"] = shares, labels
        obsm["dice_label_posterior"] = shares
        uns["dice_label_posterior_names"] = np.asarray(labels, dtype=object)
    posterior, calls = posterior_columns(denoised, settings.coverage), None
    by_voter = read_by_voter(files.calls, *CALLED_NUMBERS)
    if files.predictions:
        calls = by_voter[settings.voters.final]
        predictions = levels.merged(read_text_table(files.predictions))
        scores, names = score_matrix(predictions, obs.index)
        obsm["cell_type_scores"] = scores
        uns["cell_type_scores_names"] = np.array(names, dtype=object)
    obs = obs.drop(columns="label").join(cell_types(obs, calls))
    if calls is not None and levels.finest > 1:
        obs = obs.join(level_columns(obs["cell_type"], calls, levels))
    # Of the labelled reference, before marker lists name further cells.
    approximated = approximations(obs, settings, read_card(files.card))
    if files.markers:
        markers = ad.read_h5ad(files.markers)
        require_same_cells(markers.obs_names, obs.index, f"{files.markers} and {files.latents}")
        obs = marker_columns(obs, markers.obs, transferred=calls is not None)
        obsm["marker_scores"] = markers.obsm["scores"]
        uns["marker_scores_names"] = markers.uns["types"]
    ontology = Ontology.read()
    ids, unknown = term_ids(obs["cell_type"].unique(), ontology, settings.ontology)
    obs["cell_type_ontology_term_id"] = obs["cell_type"].map(ids)
    notes = {
        "ontology": unknown,
        "approximations": approximated,
    }
    for about, said in notes.items():
        logger.info("%s: %s", about, "; ".join(said) or "nothing to say")
    uns["dice_atlas"] = {
        about: np.array(said, dtype=object) for about, said in notes.items() if said
    }
    if len(by_voter) > 1:
        alone = {voter: own for voter, own in by_voter.items() if voter != CONSENSUS}
        obs = obs.join(labels_of_voters(obs["cell_type"], alone))
    obs = obs.join(posterior)
    # The chosen clusters, and those at every other resolution.
    obs = obs.join(clusters.set_index("cell"))
    if by_voter:
        obs["cluster_label"] = obs["cluster"].astype(str).map(cluster_labels(obs)).fillna("")
    obs["cell_type_doubt"] = doubts(obs, settings.voters.final) if by_voter else ""
    return obs, obsm, uns
