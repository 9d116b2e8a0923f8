"""What a run approximated because of the number of its cells, for `uns`, log and report."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dice_atlas.atlas.settings import AtlasSettings
from dice_atlas.dice.settings import REFERENCE_AT_MOST
from dice_atlas.holdout import CALIBRATION_SHARE
from dice_atlas.names import SPACES, UNASSIGNED
from dice_atlas.numerics.neighbors import search_note
from dice_atlas.transfer.settings import MOST_CELLS


def approximations(
    obs: pd.DataFrame, settings: AtlasSettings, card: Mapping[str, Any]
) -> list[str]:
    """One sentence for each approximation; none where all cells were used for everything.

    Parameters
    ----------
    obs : of the atlas: `sample`, `role`, `cell_type`.
    settings : its limits and voters.
    card : of the prior.
    """
    limits, voters = settings.limits, settings.voters
    reference = obs["role"] == "reference"
    labelled = int((reference & (obs["cell_type"] != UNASSIGNED)).sum())
    query = obs.loc[~reference, "sample"]
    found = []
    draws = card["settings"].get("most")
    if draws and card["n_cells"] > draws:
        found.append(f"the prior is {draws:,} mixed cells of {card['n_cells']:,}")
    if labelled > REFERENCE_AT_MOST:
        found.append(
            f"posterior samples got their labels from {REFERENCE_AT_MOST:,} of the {labelled:,} "
            "labelled reference cells, drawn label by label"
        )
    if note := search_note(len(obs), limits.graph):
        found.append(f"graph of the clusters and the map: {note}")
        if len(obs) > limits.sketch:
            found.append(f"the map starts from one of {limits.sketch:,} cells, drawn at random")
    if labelled > MOST_CELLS and "linear" in voters.voters:
        found.append(
            f"the linear model is fitted on {MOST_CELLS:,} reference cells, drawn by label"
        )
    if labelled and len(query) and {*SPACES} & {*voters.voters}:
        each = query.value_counts().max() if voters.per == "sample" else len(query)
        # Held-out reference cells are asked about together with the query.
        most = max(int(reference.sum()), int(each) + round(CALIBRATION_SHARE * labelled))
        if note := search_note(most, limits.transfer):
            found.append(f"label transfer: {note}")
    if len(obs) > limits.sketch:
        found.append(
            f"metrics of an embedding look at {limits.sketch:,} cells at the most, drawn at random"
        )
    return found
