"""Colours of the columns of obs that hold names: the same in the atlas, the report and figures."""

import pandas as pd

from dice_atlas.names import RESOLUTION, UNASSIGNED
from dice_atlas.plots.style import (
    CLUSTER_COLORS,
    ROLE_COLORS,
    SAMPLE_COLORS,
    natural,
    palette,
)


def by_frequency(values: pd.Series) -> list[str]:
    """Names of labels, most frequent first, without `unassigned`."""
    counts = values.astype(str).astype(object).value_counts()
    return [name for name in counts.index if name not in (UNASSIGNED, "")]


def category_colors(obs: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Colour of each category, by the column of obs that has it.

    Parameters
    ----------
    obs : of the atlas. Columns that name types, clusters, samples, batches or roles get colours.
    """
    types = by_frequency(obs["cell_type"])
    found = {}
    for column in obs:
        names = list(dict.fromkeys(obs[column].astype(str)))
        if column == "cell_type" or column.startswith("cell_type_in_"):
            found[column] = palette([*types, *sorted(set(names) - set(types))])
        elif column == "cluster" or column.startswith(RESOLUTION):
            found[column] = palette(natural(names), CLUSTER_COLORS)
        elif column == "sample":
            found[column] = palette(names, SAMPLE_COLORS)
        elif column == "batch":
            found[column] = palette(natural(names), SAMPLE_COLORS)
        elif column == "role":
            found[column] = ROLE_COLORS
    return found
