"""Settings of the synthesis; without torch, so that every environment can read them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dice_atlas.errors import InputError
from dice_atlas.features.card import CardKind

PRESETS = ("fast", "paper")
PRIORS = ("mixed", "gaussian", "diffusion", "posterior")
CLUSTER, CELL_TYPE, NONE = "cluster", "cell_type", "none"
GENERATOR = CardKind(
    "generator",
    1,
    ("format", "preset", "prior", "label", "genes", "classes", "settings", "held_out"),
    {"preset": str, "prior": str, "label": str, "genes": list, "classes": dict, "settings": dict,
     "held_out": list, "sha256": str},
    "results/<atlas>/synthesis",
    "model.safetensors",
)  # fmt: skip


@dataclass(frozen=True)
class ModelSettings:
    """What a generator is and how it is trained.

    Attributes
    ----------
    preset : fast (a count model) or paper (SCLD).
    prior : of the latents (fast): auto or one of `PRIORS`.
    k : latent dimensions (fast).
    label : what the classes are: cell_type (the labels of the sheet), cluster, or none.
    genes : all, or the variable ones alone.
    space : of the expression that SCLD learns.
    fusion : of condition and latent (SCLD).
    keep : share of the cells that post-guidance keeps (SCLD).
    training_steps : None: the preset's own number.
    """

    preset: str = "fast"
    prior: str = "auto"
    k: int = 20
    label: str = CELL_TYPE
    genes: str = "all"
    space: str = "unlogged_20000"
    fusion: str = "add"
    keep: float = 1.0
    training_steps: int | None = None

    @classmethod
    def from_config(cls, synthesis: Mapping[str, Any]) -> "ModelSettings":
        """Settings from the `synthesis` section of the config."""
        return cls(**{f.name: synthesis[f.name] for f in fields(cls) if f.name in synthesis})

    def prior_of(self, labelled: bool) -> str:
        """The prior of the latents: `mixed` with classes and `diffusion` without, if it is auto."""
        if self.prior == "auto":
            return "mixed" if labelled else "diffusion"
        return self.prior


@dataclass(frozen=True)
class AugmentSettings:
    """Section `augment` of the config: synthetic cells for rare classes of the reference.

    Attributes
    ----------
    below : classes of fewer cells get synthetic ones; 0: none do.
    target : cells, real and synthetic, that such a class is brought to, but to no more than the
        smallest class that is not rare has: its cells would be taken for the rare class's.
    spread : of the synthetic cells around the mean of their class, 1: as the real ones.
    """

    below: int = 0
    target: int = 60
    spread: float = 0.5

    @classmethod
    def from_config(cls, augment: Mapping[str, Any]) -> "AugmentSettings":
        """Settings from the `augment` section of the config."""
        return cls(**{f.name: augment[f.name] for f in fields(cls)})

    def missing(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Synthetic cells of each rare class.

        Parameters
        ----------
        sizes : real cells of each class.
        """
        others = [n for n in sizes.values() if n >= self.below]
        target = min([self.target, *others])
        return {name: max(target - n, 0) for name, n in sizes.items() if n < self.below}


@dataclass(frozen=True)
class CellRequest:
    """Which cells are wanted of a trained generator.

    Attributes
    ----------
    cells : their number, or the number of each class by its name.
    depth : factor of the library sizes.
    guidance : strength of the classifier-free guidance; 0: the class alone.
    steps : of the diffusion's chain.
    """

    cells: int | Mapping[str, int]
    depth: float = 1.0
    guidance: float = 0.0
    steps: int = 40

    @classmethod
    def from_config(cls, synthesis: Mapping[str, Any]) -> "CellRequest":
        """Settings from the `synthesis` section of the config."""
        return cls(**{f.name: synthesis[f.name] for f in fields(cls)})

    def numbers(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Cells of each class.

        A single number is shared out as the training cells are, by largest remainders.

        Parameters
        ----------
        sizes : training cells of each class.

        Raises
        ------
        InputError
            A class does not exist.
        """
        if isinstance(self.cells, Mapping):
            unknown = sorted(set(self.cells) - set(sizes))
            if unknown:
                known = (
                    ", ".join(repr(name) for name in sizes) if any(sizes) else "none (no labels)"
                )
                raise InputError(
                    f"synthesis.cells: no class {', '.join(map(repr, unknown))}; the model knows "
                    f"{known} (labels as given, before annotate.rename)"
                )
            return {name: int(self.cells.get(name, 0)) for name in sizes}
        total = sum(sizes.values())
        exact = {name: self.cells * n / total for name, n in sizes.items()}
        numbers = {name: int(share) for name, share in exact.items()}
        left = sorted(exact, key=lambda name: numbers[name] - exact[name])
        for name in left[: self.cells - sum(numbers.values())]:
            numbers[name] += 1
        return numbers
