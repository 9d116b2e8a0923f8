"""uns["dice_atlas"]: settings, versions and inputs of an atlas."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from dice_atlas.files import sha256
from dice_atlas.names import LOG1P
from dice_atlas.tables import read_part

PACKAGES = (
    "anndata", "harmonypy", "igraph", "leidenalg", "numpy", "pandas", "scanpy", "scikit-learn",
    "scipy", "snakemake", "torch", "umap-learn",
)  # fmt: skip


def provenance(
    settings: Mapping[str, Any],
    paths: Sequence[str | Path],
    card: str | Path,
    prior: str | Path,
    denoised: str | Path,
    labels: np.ndarray | None = None,
) -> dict[str, Any]:
    """uns["dice_atlas"]: settings, versions and inputs.

    Nested settings are JSON strings, since h5ad holds no None; there is no date and no duration,
    so that the same run gives the same file.

    Parameters
    ----------
    settings : `config` and `samples`, as they were validated and read.
    paths : filtered.h5ad of the samples.
    card, prior, denoised : card.json, prior.safetensors and denoised.h5ad.
    labels : names of the transferred labels; None where none were transferred.
    """
    about_prior = json.loads(Path(card).read_text())
    dice = read_part(denoised, "uns/dice")
    sources = {}
    for path in paths:
        name = str(read_part(path, "obs")["sample"].iloc[0])
        sources[name] = read_part(path, "uns").get("source", {})
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    found = {
        "config": as_json(settings["config"]),
        "samples": as_json(settings["samples"]),
        "seed": int(settings["config"]["seed"]),
        "versions": versions,
        "inputs": as_json(sources),
        "prior": as_json({k: v for k, v in about_prior.items() if k != "seconds"}),
        "prior_sha256": sha256(prior),
        "dice": as_json(dict(dice)),
    }
    logged = [name for name, source in sources.items() if source.get("expression") == LOG1P]
    if logged:
        found["without_counts"] = (
            f"log-normalised samples: {', '.join(logged)}; there is no layers['counts']"
        )
    if labels is not None:
        found["labels"] = labels
    return found


def as_json(value: Any) -> str:
    """JSON of nested settings, numpy's numbers and arrays included."""
    return json.dumps(value, default=lambda other: np.asarray(other).tolist())
