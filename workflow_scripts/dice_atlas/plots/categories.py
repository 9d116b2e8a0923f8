"""Colours of the columns of obs that hold names: the same in the atlas, the report and figures."""

from collections.abc import Iterable, Mapping, Sequence

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

NO_CHOICE: Mapping[str, str] = {}
# More types than this are not told apart by hue alone: see `palette`.
MOST_HUES = 12
# The darkest and the lightest shade of a hue: share of the way to black, and to white.
DARKEST, LIGHTEST = 0.45, 0.65


def by_frequency(values: pd.Series) -> list[str]:
    """Names of labels, most frequent first, without `unassigned`."""
    counts = values.astype(str).astype(object).value_counts()
    return [name for name in counts.index if name not in (UNASSIGNED, "")]


def type_colors(obs: pd.DataFrame, chosen: Mapping[str, str] = NO_CHOICE) -> dict[str, str]:
    """Colour of each cell type.

    Above `MOST_HUES` types, if there are levels, the types of one parent are shades of its hue.

    Parameters
    ----------
    obs : of the atlas; `cell_type`, and with levels `cell_type_at_1`.
    chosen : colours of some labels, by the user. Shades are those of a parent's chosen colour.
    """
    types, coarse = by_frequency(obs["cell_type"]), f"{AT_LEVEL}1"
    if len(types) <= MOST_HUES or coarse not in obs:
        return with_chosen(palette(types), chosen)
    names, parents = (obs[name].astype(str) for name in ("cell_type", coarse))
    parent = pd.crosstab(names, parents).drop(columns=UNASSIGNED, errors="ignore").idxmax(axis=1)
    hues = with_chosen(palette(list(dict.fromkeys(parent[name] for name in types))), chosen)
    found = dict(hues)
    for one in set(parent[types]):
        own = [name for name in types if parent[name] == one]
        found |= dict(zip(own, shades(hues[one], len(own)), strict=True))
    return with_chosen(found, chosen)


def with_chosen(found: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, str]:
    """The colours with those that a user chose; who had one of these before gets a freed one."""
    own = {name: chosen[name].upper() for name in found if name in chosen}
    freed = [found[name] for name in own if found[name] not in own.values()]
    taken = [name for name in found if name not in own and found[name] in own.values()]
    return {**found, **dict(zip(taken, freed, strict=False)), **own}


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


def category_colors(
    obs: pd.DataFrame, chosen: Mapping[str, str] = NO_CHOICE
) -> dict[str, dict[str, str]]:
    """Colour of each category, by the column of obs that has it.

    Parameters
    ----------
    obs : of the atlas. Columns that name labels, clusters, samples, batches or roles get colours.
    chosen : colours of some labels (`figures.palette`).
    """
    types, found = type_colors(obs, chosen), {}
    for column in map(str, obs):
        if column == "role":
            found[column] = dict(ROLE_COLORS)
        elif holds_labels(column):
            named = with_further(types, natural(obs[column].astype(str)))
            found[column] = with_chosen(named, chosen)
        elif is_cluster(column):
            found[column] = palette(natural(obs[column].astype(str)), CLUSTER_COLORS)
        elif column == "sample":
            found[column] = palette(list(dict.fromkeys(obs[column].astype(str))), SAMPLE_COLORS)
        elif column == "batch":
            found[column] = palette(natural(obs[column].astype(str)), SAMPLE_COLORS)
    return found


def labels_of(obs: pd.DataFrame) -> list[str]:
    """All labels of the columns of obs that hold some, sorted."""
    columns = [name for name in map(str, obs) if holds_labels(name)]
    return natural([label for name in columns for label in {*obs[name].astype(str)} - {""}])


def unknown_labels(asked: Iterable[str], known: Sequence[str], setting: str) -> str:
    """A sentence about labels that a setting names and no cell has; "" where there are none."""
    unknown = [label for label in asked if label not in known]
    if not unknown:
        return ""
    return (
        f"{setting}: seen {', '.join(unknown)}, which no cell has as a label; expected some of "
        f"{', '.join(known)}"
    )
