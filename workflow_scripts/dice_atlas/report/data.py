"""What the report is made of, read from the workflow's files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.conditions.files import Conditions, read_conditions
from dice_atlas.conditions.settings import CompareSettings
from dice_atlas.counts.criteria import METRIC_NAMES, PATTERNS
from dice_atlas.names import LOSSES, MARKERS, SPACES, UNASSIGNED
from dice_atlas.plots.categories import by_frequency, category_colors
from dice_atlas.report.expression import mean_expression
from dice_atlas.report.settings import RunSettings
from dice_atlas.tables import read_part, read_part_if_there, read_text_table
from dice_atlas.transfer.conformal import score_threshold
from dice_atlas.transfer.levels import Levels

TABLES = ("metrics", "qc", "confusion", "resolutions", "markers", "loss", "genes")
# Those that there are only where labels were transferred.
TRANSFER_TABLES = ("calibration", "label_genes", "cluster_labels", "levels", "shift")
# Those that there are only where synthetic cells were added to the reference.
AUGMENT_TABLES = ("augmented", "augment_scores")
# Those that there are only where conditions were compared.
CONDITION_TABLES = ("condition_genes", "condition_shares", "condition_types")
# Those that there are only with marker lists.
MARKER_TABLES = ("marker_scores", "marker_calls", "marker_genes")
# Columns that are text whatever they look like: a label may read "NA", a cluster is a name.
TEXTS = (
    "protocol", "cell", "embedding", "metric", "note", "sample", "role", "batch",
    *PATTERNS, "doublets", "space", "truth", "predicted", "label", "cluster", "gene",
    "gene_id", "chosen", "selected", "against", "reference_label", "remedy", "classifier",
    "type", "types", "rule", "carried_by", "found", "similar", "apart",
)  # fmt: skip
NOT_NUMBERS = {"metrics": ("cells",), "levels": ("cells", "level")}


@dataclass
class ReportData:
    """Tables and settings of one atlas.

    Attributes
    ----------
    obs
        The atlas's obs; columns of names as plain strings.
    umap
        Cells x 2.
    metrics, qc, confusion, resolutions, markers, loss, genes
        The tables of those names (workflow_scripts/README.md).
    qc_cells
        All cells before filtering: `sample`, the metrics of quality control, `kept`.
    calibration
        Held-out reference cells of the final space, or None where no labels were transferred.
    label_genes, cluster_labels, shift
        The tables of those names, or None where no labels were transferred.
    levels
        The table of that name, or None where labels have one level.
    augmented, augment_scores
        Synthetic cells by label, and what they and other remedies do for rare labels; None
        without synthetic cells.
    marker_scores, marker_calls, marker_genes
        Clusters by type, clusters, and genes of the marker lists (annotation/markers/); None
        without lists.
    expression, type_expression
        Of the top markers by cluster, and of `type_genes` by cell type (`mean_expression`).
    type_genes
        `label` and `gene`: those that tell the types apart, the first of each type first.
    singular_values, k
        Of the loadings.
    correction
        uns["correction"] of the PCs.
    card
        Of the prior.
    provenance
        uns["dice_atlas"] with its JSON parsed.
    conditions
        Tables of the comparison of conditions, or None without one.
    truth
        Given truth of the cells that have one; None without any.
    graph
        Of neighbours, cells x cells; None where the atlas has none.
    """

    obs: pd.DataFrame
    umap: np.ndarray
    metrics: pd.DataFrame
    qc: pd.DataFrame
    qc_cells: pd.DataFrame
    confusion: pd.DataFrame
    resolutions: pd.DataFrame
    markers: pd.DataFrame
    loss: pd.DataFrame
    genes: pd.DataFrame
    calibration: pd.DataFrame | None
    label_genes: pd.DataFrame | None
    cluster_labels: pd.DataFrame | None
    levels: pd.DataFrame | None
    shift: pd.DataFrame | None
    augmented: pd.DataFrame | None
    augment_scores: pd.DataFrame | None
    marker_scores: pd.DataFrame | None
    marker_calls: pd.DataFrame | None
    marker_genes: pd.DataFrame | None
    expression: pd.DataFrame
    type_genes: pd.DataFrame
    type_expression: pd.DataFrame
    singular_values: np.ndarray
    k: int
    correction: dict[str, Any]
    card: dict[str, Any]
    provenance: dict[str, Any]
    conditions: Conditions | None
    truth: pd.Series | None = None
    graph: sp.csr_matrix | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The validated config of the run; `settings` has the stages' in their types."""
        return self.provenance["config"]

    @cached_property
    def settings(self) -> RunSettings:
        """Settings of the run's stages."""
        return RunSettings.from_config(self.config)

    @property
    def dice(self) -> dict[str, Any]:
        """Settings and notes of the denoising."""
        return self.provenance.get("dice", {})

    @cached_property
    def least_score(self) -> float:
        """Score below which a query cell is unassigned; 0 where none is by its score."""
        return score_threshold(of_transfer(self.calibration), self.settings.calls)

    @cached_property
    def has_support(self) -> bool:
        """Whether the final labels come with an anchor support, and so with p_reference."""
        return bool(of_transfer(self.calibration).get("support", pd.Series()).notna().any())

    @cached_property
    def least_p_reference(self) -> float:
        """p_reference below which a query cell is unassigned; 0 where none can be for it."""
        least = self.settings.calls.outside_below
        # Of n held-out cells no p value is below 1 / (n + 1).
        reachable = self.has_support and least > 1 / (1 + len(of_transfer(self.calibration)))
        return least if reachable else 0.0

    @property
    def each_sample_alone(self) -> bool:
        """Whether thresholds and calibration are those of each query sample by itself."""
        voters = self.settings.voters
        return (
            voters.per == "sample" and voters.final in SPACES and self.query["sample"].nunique() > 1
        )

    @property
    def ontology(self) -> str:
        """How many labels have an id of the Cell Ontology, and which have none."""
        ids = self.obs.groupby("cell_type")["cell_type_ontology_term_id"].first()
        ids = ids.drop(UNASSIGNED, errors="ignore")
        text = f"{int((ids != '').sum())} of {len(ids)} labels have an id of the Cell Ontology."
        notes = list(self.provenance.get("ontology", []))
        if not notes:
            return text
        return f"{text} {'; '.join(notes)}. Ids can be given in annotate.ontology."

    @cached_property
    def query(self) -> pd.DataFrame:
        """obs of the query cells."""
        return self.obs[self.obs["role"] == "query"]

    @cached_property
    def reference(self) -> pd.DataFrame:
        """obs of the reference cells."""
        return self.obs[self.obs["role"] == "reference"]

    @property
    def query_truth(self) -> pd.Series:
        """Given truth of the query cells, "" where there is none."""
        if self.truth is None:
            return pd.Series("", index=self.query.index)
        return self.truth.reindex(self.query.index).fillna("")

    @property
    def reference_types(self) -> set[str]:
        """Cell types that reference cells have."""
        return {*self.reference["cell_type"]} - {UNASSIGNED}

    @property
    def transferred(self) -> bool:
        """Whether labels were transferred."""
        return self.calibration is not None

    @property
    def by_markers(self) -> bool:
        """Whether marker lists gave labels to the cells that have no given one."""
        return not self.transferred and self.marker_calls is not None

    @property
    def labelled_by(self) -> str:
        """What gave the labels, by its name in the metrics."""
        return MARKERS if self.by_markers else self.settings.voters.final

    @cached_property
    def labels(self) -> list[str]:
        """Cell types, most frequent first, without `unassigned`."""
        return by_frequency(self.obs["cell_type"])

    @cached_property
    def colors(self) -> dict[str, dict[str, str]]:
        """Colour of each value, by column of obs."""
        return category_colors(self.obs, self.settings.palette)

    @cached_property
    def clusters(self) -> list[str]:
        """Clusters in their order."""
        return sorted(set(self.obs["cluster"]), key=int)

    @cached_property
    def samples(self) -> list[str]:
        """Samples in the order of the sheet."""
        return list(dict.fromkeys(self.obs["sample"]))

    def metric(self, name: str, embedding: str, cells: str = "query") -> float | None:
        """One value of metrics.tsv; None where there is none."""
        table = self.metrics
        rows = table[
            (table["metric"] == name)
            & (table["embedding"] == embedding)
            & (table["cells"] == cells)
            & table["value"].notna()
        ]
        return float(rows["value"].iloc[0]) if len(rows) else None


def of_transfer(table: pd.DataFrame | None) -> pd.DataFrame:
    """A table that there is only where labels were transferred.

    Raises
    ------
    ValueError
        They were not: `ReportData.transferred` says so beforehand.
    """
    if table is None:
        raise ValueError("no labels were transferred: there is no such table")
    return table


def read_table(path: str | Path, name: str = "") -> pd.DataFrame:
    """A table of the workflow: names as text, all else as numbers (empty fields are NaN)."""
    texts = {*TEXTS, *NOT_NUMBERS.get(name, ())}
    if name == "loss" and not Path(path).stat().st_size:  # a saved prior's
        return pd.DataFrame(columns=LOSSES, dtype=float)
    header = pd.read_csv(path, sep="\t", nrows=0).columns
    return read_text_table(path, *(column for column in header if column not in texts))


def read_qc_cells(paths: Sequence[str | Path], samples: Sequence[str]) -> pd.DataFrame:
    """All cells before filtering: `sample`, metrics of quality control, `doublet_score` and `kept`.

    Parameters
    ----------
    paths, samples : qc_cells.tsv.gz and the sample's name, in the same order.
    """
    numbers = dict.fromkeys((*METRIC_NAMES, "doublet_score"), np.float32)
    tables = [
        pd.read_csv(path, sep="\t", usecols=[*numbers, "kept"], dtype={**numbers, "kept": bool})
        for path in paths
    ]
    lengths = [len(table) for table in tables]
    names = np.repeat(np.array(list(samples), dtype=object), lengths)
    return pd.concat(tables, ignore_index=True).assign(sample=names)


def read_truth(path: str | Path, levels: Levels) -> pd.Series:
    """Truth by cell under the names of the labels; cells whose truth has no name have none."""
    found = read_text_table(path).set_index("cell")["truth"]
    named = pd.Series(levels.renamed(found), index=found.index, name="truth")
    return named[named != ""]


def top_markers(markers: pd.DataFrame, n: int) -> pd.DataFrame:
    """The first n markers of every cluster that are up in it."""
    up = markers[markers["log2_fold_change"] > 0]
    return up.sort_values("rank", kind="stable").groupby("cluster", sort=False).head(n)


def genes_of_types(tables: Mapping[str, pd.DataFrame | None], n: int) -> pd.DataFrame:
    """Genes that tell types apart: `label`, `gene`, n of each label, the first first.

    Those that set the labels of the reference apart; without a transfer those of the marker lists
    that were found; without these the markers of the clusters (`label` is "").
    """
    labels, lists = tables["label_genes"], tables["marker_genes"]
    if labels is not None:
        # Each label has two blocks by rank: the first is against all others.
        table = labels.drop_duplicates(["label", "rank"])
    elif lists is not None:
        table = lists[(lists["sign"] > 0) & (lists["found"] != "")]
        table = table.assign(label=table["type"], gene=table["found"])
    else:
        table = top_markers(of_transfer(tables["markers"]), n)
        table = table.sort_values("cluster", kind="stable", key=lambda c: c.astype(int))
        return table.assign(label="")[["label", "gene"]].reset_index(drop=True)
    return table.groupby("label", sort=False).head(n)[["label", "gene"]].reset_index(drop=True)


def as_text(obs: pd.DataFrame) -> pd.DataFrame:
    """The columns of names as plain strings."""
    columns = (
        "sample", "role", "batch", "cell_type", "cell_type_set", "cell_type_rule",
        "cell_type_ontology_term_id", "cluster",
    )  # fmt: skip
    there = [name for name in (*columns, "cell_type_doubt") if name in obs]
    return obs.assign(**{name: obs[name].astype(str).astype(object) for name in there})


def read_provenance(uns: Mapping[str, Any]) -> dict[str, Any]:
    """uns["dice_atlas"], its JSON strings parsed."""
    return {
        key: json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value
        for key, value in uns.items()
    }


def read_report_data(
    files: Mapping[str, Any], n_markers: int, compare: CompareSettings | None = None
) -> ReportData:
    """Read everything that the report is made of.

    Parameters
    ----------
    files : the rule's named inputs.
    n_markers : markers of each cluster whose expression is read.
    compare : settings of the comparison of conditions, if there is one.
    """
    obs = as_text(read_part(files["atlas"], "obs"))
    provenance = read_provenance(read_part(files["atlas"], "uns/dice_atlas"))
    umap = read_part(files["atlas"], "obsm/X_umap")
    with np.load(files["loadings"]) as loadings:
        singular_values, k = loadings["singular_values"], int(loadings["k"])
    tables = {name: read_table(files[name], name) for name in TABLES}
    levels = Levels.read(files["label_levels"])
    for name in (*TRANSFER_TABLES, *AUGMENT_TABLES, *MARKER_TABLES):
        path = next(iter(files[name]), None)
        tables[name] = read_table(path, name) if path else None
    if tables["calibration"] is not None:
        held = tables["calibration"].query("role == 'reference'")
        tables["calibration"] = levels.merged(held)
    genes = list(dict.fromkeys(top_markers(tables["markers"], n_markers)["gene"]))
    of_types = genes_of_types(tables, n_markers)
    groups = {name: obs[name].to_numpy() for name in ("cluster", "cell_type")}
    seed = int(provenance["config"]["seed"])
    found = mean_expression(
        files["atlas"], list(dict.fromkeys([*genes, *of_types["gene"]])), groups, seed
    )
    compared = [path for name in CONDITION_TABLES for path in files[name]]
    truth = next(iter(files["truth"]), None)
    return ReportData(
        obs=obs,
        umap=umap,
        **tables,
        qc_cells=read_qc_cells(files["qc_cells"], tables["qc"]["sample"]),
        expression=found["cluster"][found["cluster"]["gene"].isin(genes)],
        type_genes=of_types,
        type_expression=found["cell_type"][found["cell_type"]["gene"].isin(of_types["gene"])],
        singular_values=singular_values,
        k=k,
        correction=read_part(files["corrected"], "uns/correction"),
        card=json.loads(Path(files["card"]).read_text()),
        provenance=provenance,
        conditions=read_conditions(compared, compare) if compare else None,
        graph=read_part_if_there(files["atlas"], "obsp/connectivities"),
        truth=read_truth(truth, levels) if truth else None,
    )
