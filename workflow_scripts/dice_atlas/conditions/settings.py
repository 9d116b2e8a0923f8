"""Settings of a comparison of conditions, and what the replicates must be like."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from dice_atlas.errors import InputError

# How a cell counts for a type: by its label; by its label if no other is possible; by the scores
# of all labels of its prediction set.
WEIGHTINGS = ("label", "certain", "expected")
LABEL, CERTAIN, EXPECTED = WEIGHTINGS
# Conditions are compared where each has so many replicates.
LEAST_REPLICATES = 2
# Genes with so many counts in as many units as the smaller condition has are tested.
LEAST_COUNT = 10


@dataclass(frozen=True)
class Grouping:
    """Keys of the section `compare` that say which cells are summed.

    Attributes
    ----------
    column : of obs, with the condition; cells without one take no part.
    sample : column of the biological replicate.
    covariates : columns that the models adjust for.
    cells : `query`, or `all` for the reference's cells as well.
    """

    column: str
    sample: str
    covariates: tuple[str, ...]
    cells: str

    @classmethod
    def from_config(cls, compare: Mapping[str, Any]) -> Self:
        """From the section of the validated config."""
        values = {name: compare[name] for name in cls.__dataclass_fields__}
        return cls(**values | {"covariates": tuple(compare["covariates"])})

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of obs that are looked at."""
        return tuple(dict.fromkeys([self.column, self.sample, *self.covariates]))


@dataclass(frozen=True)
class CompareSettings(Grouping):
    """The whole section.

    Attributes
    ----------
    baseline : the condition that all others are compared with.
    min_cells : of a replicate and type, from which it takes part.
    fdr : false discovery rate of a finding.
    """

    baseline: str
    min_cells: int
    fdr: float


def shared_replicates(units: Iterable[tuple[str, str]], one: str, other: str) -> list[str]:
    """Replicates that lie in both conditions, in order.

    Parameters
    ----------
    units : replicate and condition.
    one, other : conditions.
    """
    units = set(units)
    return sorted(name for name, of in units if of == one and (name, other) in units)


def require_units(units: Iterable[tuple[str, str]], settings: CompareSettings) -> None:
    """Check that the replicates allow a comparison of every condition with the baseline.

    Parameters
    ----------
    units : replicate and condition, each pair once or more; "" as condition: takes no part.

    Raises
    ------
    InputError
        The baseline is no condition or the only one, a condition has fewer than two replicates,
        or a single replicate lies in a condition and in the baseline.
    """
    units = sorted({(replicate, of) for replicate, of in units if of})
    found = Counter(sorted(condition for _, condition in units))
    values = ", ".join(found) or "none"
    if settings.baseline not in found:
        raise InputError(
            f"compare.baseline: seen {settings.baseline!r}, expected a value of the column "
            f"{settings.column} (seen there: {values})"
        )
    if len(found) == 1:
        raise InputError(
            f"compare.column: seen {values} alone in the column {settings.column}, expected a "
            "second condition to compare with the baseline"
        )
    few = [f"{condition} ({n})" for condition, n in found.items() if n < LEAST_REPLICATES]
    if few:
        raise InputError(
            f"compare.sample: fewer than {LEAST_REPLICATES} replicates (values of the column "
            f"{settings.sample}) in {', '.join(few)}; expected more: differences between single "
            f"samples say nothing of conditions. Add some, or leave {settings.column} of these "
            "samples empty"
        )
    for condition in found:
        both = shared_replicates(units, settings.baseline, condition)
        if condition != settings.baseline and len(both) == 1:
            raise InputError(
                f"compare.sample: {both[0]} lies in {settings.baseline} and in {condition}, the "
                "others in one of them; expected two or more in both (they are then compared as "
                f"pairs) or none. Is {settings.sample} the biological replicate?"
            )
