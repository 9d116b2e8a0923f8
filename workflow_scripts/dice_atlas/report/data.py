"""What the report is made of, read from the workflow's files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd


@dataclass
class ReportData:
    """Tables and settings of one atlas.

    Attributes
    ----------
    obs
        The atlas's obs; label columns as plain strings.
    umap
        Cells x 2.
    metrics, qc, confusion, resolutions, markers, loss, genes
        The tables of those names (workflow_scripts/README.md).
    calibration
        Held-out reference cells of the final space, or None where no labels were transferred.
    singular_values, k
        Of the loadings.
    harmony
        uns["harmony"] of the correction.
    provenance
        uns["dice_atlas"] with its JSON parsed.
    """

    obs: pd.DataFrame
    umap: np.ndarray
    metrics: pd.DataFrame
    qc: pd.DataFrame
    confusion: pd.DataFrame
    resolutions: pd.DataFrame
    markers: pd.DataFrame
    loss: pd.DataFrame
    genes: pd.DataFrame
    calibration: pd.DataFrame | None
    singular_values: np.ndarray
    k: int
    harmony: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """The validated config of the run."""
        return self.provenance["config"]

    @property
    def query(self) -> pd.DataFrame:
        """obs of the query cells."""
        return self.obs[self.obs["role"] == "query"]

    @property
    def transferred(self) -> bool:
        """Whether labels were transferred."""
        return self.calibration is not None

    @property
    def labels(self) -> list[str]:
        """Cell types, most frequent first, without `unassigned`."""
        counts = self.obs["cell_type"].value_counts()
        return [label for label in counts.index if label not in ("unassigned", "")]

    @property
    def clusters(self) -> list[str]:
        """Clusters in their order."""
        return sorted(set(self.obs["cluster"]), key=int)


def read_table(path: str | Path) -> pd.DataFrame:
    """A tsv of the workflow: a missing number is NaN, a missing text is empty.

    "NA" and the like stay as they are: a cell type may be called that.
    """
    texts = dict.fromkeys(("cluster", "truth", "predicted", "label", "cell", "note", "sample"), str)
    table = pd.read_csv(path, sep="\t", dtype=texts, keep_default_na=False, na_values=[""])
    present = [column for column in table if column in texts or table[column].dtype == object]
    return table.fillna(dict.fromkeys(present, ""))


def read_report_data(files: dict[str, Any]) -> ReportData:
    """Read everything from the rule's named inputs; the expression itself is not read."""
    atlas = ad.read_h5ad(files["atlas"], backed="r")
    obs = atlas.obs.copy()
    for column in ("sample", "role", "batch", "cell_type", "cell_type_set", "cluster"):
        obs[column] = obs[column].astype(str)
    provenance = {
        key: json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value
        for key, value in atlas.uns["dice_atlas"].items()
    }
    umap = np.asarray(atlas.obsm["X_umap"])
    atlas.file.close()
    with np.load(files["loadings"]) as loadings:
        singular_values, k = loadings["singular_values"], int(loadings["k"])
    harmony = ad.read_h5ad(files["harmony"], backed="r")
    tables = ("metrics", "qc", "confusion", "resolutions", "markers", "loss", "genes")
    calibration = list(files["calibration"])
    return ReportData(
        obs=obs,
        umap=umap,
        **{name: read_table(files[name]) for name in tables},
        calibration=read_table(calibration[0]) if calibration else None,
        singular_values=singular_values,
        k=k,
        harmony=dict(harmony.uns["harmony"]),
        provenance=provenance,
    )
