"""Colours of the columns of obs that hold names: the same in the atlas, the report and figures."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dice_atlas.names import AT_LEVEL, UNASSIGNED, holds_labels, is_cluster
from dice_atlas.plots.style import (
    CLUSTER_COLORS,
    ROLE_COLORS,
    SAMPLE_COLORS,
    mixed,
    natural,
    palette,
)

# More types than this are not told apart by hue alone: see `palette`.
MOST_HUES = 12
# The darkest and the lightest shade of a hue: share of the way to black, and to white.
DARKEST, LIGHTEST = 0.45, 0.65


def by_frequency(values: pd.Series) -> list[str]:
    """Names of labels, most frequent first, without `unassigned`."""
    counts = values.astype(str).astype(object).value_counts()
    return [name for name in counts.index if name not in (UNASSIGNED, "")]


def type_colors(obs: pd.DataFrame) -> dict[str, str]:
    """Colour of each cell type.

    Above `MOST_HUES` types, if there are levels, the types of one parent are shades of its hue.

    Parameters
    ----------
    obs : of the atlas; `cell_type`, and with levels `cell_type_at_1`.
    """
    types, coarse = by_frequency(obs["cell_type"]), f"{AT_LEVEL}1"
    if len(types) <= MOST_HUES or coarse not in obs:
        return palette(types)
    names, parents = (obs[name].astype(str) for name in ("cell_type", coarse))
    parent = pd.crosstab(names, parents).drop(columns=UNASSIGNED, errors="ignore").idxmax(axis=1)
    hues = palette(list(dict.fromkeys(parent[name] for name in types)))
    found = dict(hues)
    for one in set(parent[types]):
        own = [name for name in types if parent[name] == one]
        found |= dict(zip(own, shades(hues[one], len(own)), strict=True))
    return found


def shades(color: str, n: int) -> list[str]:
    """So many shades of a colour, the darkest first; of one the colour itself."""
    if n == 1:
        return [color]
    shares = np.linspace(-DARKEST, LIGHTEST, n)
    return [mixed(color, abs(share), "black" if share < 0 else "white") for share in shares]


def with_further(known: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """The known colours, and for the names that have none those that come after them."""
    further = [name for name in names if name not in known]
    return {**palette([*known, *further]), **known}


def category_colors(obs: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Colour of each category, by the column of obs that has it.

    Parameters
    ----------
    obs : of the atlas. Columns that name labels, clusters, samples, batches or roles get colours.
    """
    types, found = type_colors(obs), {}
    for column in map(str, obs):
        if column == "role":
            found[column] = dict(ROLE_COLORS)
        elif holds_labels(column):
            found[column] = with_further(types, natural(obs[column].astype(str)))
        elif is_cluster(column):
            found[column] = palette(natural(obs[column].astype(str)), CLUSTER_COLORS)
        elif column == "sample":
            found[column] = palette(list(dict.fromkeys(obs[column].astype(str))), SAMPLE_COLORS)
        elif column == "batch":
            found[column] = palette(natural(obs[column].astype(str)), SAMPLE_COLORS)
    return found
