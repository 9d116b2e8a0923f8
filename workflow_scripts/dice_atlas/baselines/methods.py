"""The methods of the benchmark, each written once: function, title, what it needs.

Schema, rules, tables and figures ask this table. Nothing heavy is imported here: the Snakefile
reads this file for every job.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Method:
    """One method that embeds the cells of a split.

    Attributes
    ----------
    title : in figures.
    function : reference of a function (split, latents, s, seed) -> embedding, see
        `baselines/embed.py`; "" for a method that has rules of its own.
    options : arguments of the function besides.
    default : whether the benchmark runs it unasked.
    always : whether it runs in any case: others are compared with it.
    prior : of DICE's methods, a key of `PRIORS`.
    denoise : of DICE's methods, what differs from the config section `denoise`.
    """

    title: str
    function: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    default: bool = True
    always: bool = False
    prior: str = ""
    denoise: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PriorVariant:
    """A prior of the benchmark: what differs from the config.

    Attributes
    ----------
    settings : of the section `prior`.
    noise : `denoise.noise`; "" = the config's.
    """

    settings: Mapping[str, Any]
    noise: str = ""

    def overrides(self, preset: str, of_config: Mapping[str, float]) -> dict[str, float]:
        """The config's overrides, where the preset is the config's too, and those of the variant.

        Another preset may not have the settings that the config overrides.
        """
        kept = of_config if self.settings.get("preset", preset) == preset else {}
        return {**kept, **self.settings.get("overrides", {})}


# The config's prior with labels, and what is compared with it.
PRIORS: Mapping[str, PriorVariant] = {
    "labels": PriorVariant({"augmentation": "labels"}),
    "clusters": PriorVariant({"augmentation": "clusters"}),
    "isotropic": PriorVariant({"augmentation": "labels", "background": 0.0}, "isotropic"),
    # The default of version 0.1.0, but for what the config overrides of that preset.
    "earlier": PriorVariant(
        {"augmentation": "labels", "preset": "fast", "background": 0.0}, "isotropic"
    ),
    "sharp": PriorVariant({"augmentation": "labels", "background": 0.0}),
    "kernel": PriorVariant({"augmentation": "labels", "preset": "kernel"}),
    "network": PriorVariant({"augmentation": "labels", "preset": "fast"}),
    # The mixture that the network starts from.
    "mixture": PriorVariant(
        {"augmentation": "labels", "preset": "fast", "overrides": {"steps": 0}}
    ),
}


def variant(title: str, prior: str) -> Method:
    """DICE's exact mode on another prior, which the benchmark runs if it is asked for."""
    return Method(title, prior=prior, denoise={"method": "exact"}, default=False)


METHODS: Mapping[str, Method] = {
    "pca": Method("PCA", "dice_atlas.baselines.embed:pca", always=True),
    "kernel": Method("kernel mean", "dice_atlas.baselines.embed:kernel"),
    "knn_5": Method("kNN 5", "dice_atlas.baselines.embed:knn", {"n_neighbors": 5}),
    "knn_10": Method("kNN 10", "dice_atlas.baselines.embed:knn", {"n_neighbors": 10}),
    "knn_15": Method("kNN 15", "dice_atlas.baselines.embed:knn", {"n_neighbors": 15}),
    "magic": Method("MAGIC", "dice_atlas.baselines.embed:magic_pcs"),
    "whitened": Method("whitened PCA", "dice_atlas.baselines.embed:whitened"),
    "lda": Method("LDA", "dice_atlas.baselines.embed:lda"),
    "nmf": Method("NMF", "dice_atlas.baselines.embed:nmf"),
    "alra": Method("ALRA", "dice_atlas.baselines.embed:alra"),
    # In an environment of its own, by the rule `embed_scvi`.
    "scvi": Method("scVI", default=False),
    "dice_exact": Method("DICE", always=True, prior="labels", denoise={"method": "exact"}),
    "dice_no_labels": Method("DICE, no labels", prior="clusters", denoise={"method": "exact"}),
    # Chains hardly move between the points of a kernel.
    "dice_gibbs": Method("DICE, Gibbs", prior="network", denoise={"method": "gibbs"}),
    "dice_isotropic": variant("DICE, isotropic noise", "isotropic"),
    "dice_earlier": variant("DICE 0.1.0", "earlier"),
    "dice_sharp": variant("DICE, no background", "sharp"),
    "dice_kernel": variant("DICE, kernel", "kernel"),
    "dice_network": variant("DICE, network", "network"),
    "dice_mixture": variant("DICE, mixture", "mixture"),
}
# Those that the rule `embed_benchmark` runs.
EMBEDDED = tuple(name for name, method in METHODS.items() if method.function)
# DICE's, by the workflow's own rules; `dice_rho_<rho>` are `dice_exact` at another rho.
DICE_METHODS = {name: method for name, method in METHODS.items() if method.prior}
ALWAYS = tuple(name for name, method in METHODS.items() if method.always)


def methods_schema() -> dict[str, Any]:
    """JSON schema of the setting `benchmark.methods`."""
    others = [name for name in METHODS if name not in ALWAYS]
    least = f"a list with {' and '.join(ALWAYS)}"
    return {
        "type": "array",
        "uniqueItems": True,
        "items": {"enum": list(METHODS)},
        "allOf": [{"contains": {"const": name}, "description": least} for name in ALWAYS],
        "default": [name for name, method in METHODS.items() if method.default],
        "description": f"{least} (always), {', '.join(others[:-1])} and {others[-1]}",
    }
