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
    classes : of DICE's methods, the classes of the mixup: labels or clusters.
    denoise : of DICE's methods, what differs from the config section `denoise`.
    """

    title: str
    function: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    default: bool = True
    always: bool = False
    classes: str = ""
    denoise: Mapping[str, Any] = field(default_factory=dict)


METHODS: Mapping[str, Method] = {
    "pca": Method("PCA", "dice_atlas.baselines.embed:pca", always=True),
    "kernel": Method("kernel mean", "dice_atlas.baselines.embed:kernel"),
    "knn_5": Method("kNN 5", "dice_atlas.baselines.embed:knn", {"n_neighbors": 5}),
    "knn_10": Method("kNN 10", "dice_atlas.baselines.embed:knn", {"n_neighbors": 10}),
    "knn_15": Method("kNN 15", "dice_atlas.baselines.embed:knn", {"n_neighbors": 15}),
    "magic": Method("MAGIC", "dice_atlas.baselines.embed:magic_pcs"),
    "nmf": Method("NMF", "dice_atlas.baselines.embed:nmf"),
    "alra": Method("ALRA", "dice_atlas.baselines.embed:alra"),
    # In an environment of its own, by the rule `embed_scvi`.
    "scvi": Method("scVI", default=False),
    "dice_exact": Method("DICE", always=True, classes="labels", denoise={"method": "exact"}),
    "dice_no_labels": Method("DICE, no labels", classes="clusters", denoise={"method": "exact"}),
    "dice_gibbs": Method("DICE, Gibbs", classes="labels", denoise={"method": "gibbs"}),
}
# Those that the rule `embed_benchmark` runs.
EMBEDDED = tuple(name for name, method in METHODS.items() if method.function)
# DICE's, by the workflow's own rules; `dice_rho_<rho>` are `dice_exact` at another rho.
DICE_METHODS = {name: method for name, method in METHODS.items() if method.classes}
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
