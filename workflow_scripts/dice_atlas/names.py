"""Names that users meet: columns of obs, embeddings, and the words that stand for no label."""

from collections.abc import Iterable

# Columns of the losses of a training, one row per validation.
LOSSES = ("step", "train_loss", "validation_loss")
UNASSIGNED = "unassigned"  # the cell type of a cell that got no label
# Words for nothing, as R, pandas and people write them.
MISSING = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "<NA>", "None", "NULL", "null"})
LOG1P = "log1p"  # in the sheet's column `expression`: a file without counts
FROM_OBS = "obs:"  # in a field of the sheet: begins the name of a column of the sample's cells
SEPARATOR = "|"  # joins the labels of a set
SCORE = "score:"  # begins the column of a label's score
RESOLUTION = "leiden_"  # begins the column of the clusters at a resolution
IN_VOTER = "cell_type_in_"  # begins the column of the labels of a voter
AT_LEVEL = "cell_type_at_"  # begins the column of the labels at a level
SYNTHETIC = "synthetic|"  # begins the name of a synthetic reference cell; no sample's name has a |
SPACES = ("pca", "dice")  # in which labels are transferred by anchors
# What gives labels: anchors in a space, and a linear model of the expression.
VOTERS = (*SPACES, "linear")
CELLTYPIST = "celltypist"  # the voter of a CellTypist model; further ones are tables of labels
CONSENSUS = "consensus"
# Embedding that config names: its obsm key.
EMBEDDINGS = {"pca": "X_pca", "harmony": "X_harmony", "dice": "X_dice"}

# Columns of obs in the atlas by what they are about, beside those of the sheet and the metrics of
# quality control (counts/criteria.py).
ORIGIN = {
    "sample": "name of the sample",
    "role": "`reference` or `query`",
    "batch": "batch of the cell",
}
QUALITY = {
    "doublet_score": "doublet score of Scrublet, computed sample by sample",
    "predicted_doublet": "whether Scrublet calls the cell a doublet",
}
LABEL = {
    "cell_type": "the label, or `unassigned`",
    "cell_type_rule": "why a cell is `unassigned`; else empty",
    "cell_type_ontology_term_id": "Cell Ontology id of the label; empty if its name has none",
    **{f"{IN_VOTER}{voter}": f"the label of the voter `{voter}` alone" for voter in VOTERS},
    "cell_type_in_markers": (
        "the label of the cell's cluster by marker lists alone; only with `annotate.markers`"
    ),
    "cell_type_source": (
        "where the label comes from: `given`, `transferred` or `markers`; empty for an unassigned "
        "cell; only with `annotate.markers`"
    ),
    "cell_type_best": (
        "the label with the highest score, which an `unassigned` cell has too; empty without "
        "evidence for one"
    ),
    "cell_type_second": "the second best label; empty without evidence for one",
    "cell_type_at_1": (
        "the label at level 1, the coarsest; `cell_type_at_2` ... at the next; only with levels"
    ),
    "cell_type_backoff": (
        "the finest label, of any level, that covers the prediction set, or `unassigned`; only "
        "with levels"
    ),
    "cell_type_level": "level of `cell_type_backoff`: 1 is the coarsest, 0 none; only with levels",
}
# What the column `cell_type_source` may hold.
GIVEN, TRANSFERRED, MARKERS = "given", "transferred", "markers"
# A label that so many of a cluster's labelled query cells share is the cluster's.
AGREEING = 0.6
# Fewer anchors than this are weak evidence.
FEW_ANCHORS = 5
# Values of `cell_type_doubt`, and what each says of a query cell; the first that holds counts.
DOUBTS = {
    "unassigned": "it has no label",
    "own_label_not_in_set": "its prediction set lacks its label",
    "empty_set": "its prediction set is empty",
    "several_labels": "its prediction set has several labels",
    "voters_disagree": "another voter gives another label",
    "cluster_disagrees": (
        f"{AGREEING:.0%} or more of its cluster's labelled query cells have another label"
    ),
    "few_anchors": (
        f"fewer than {FEW_ANCHORS} anchors support its label (`annotate.final`: `pca` or `dice`)"
    ),
}
NO_DOUBT = "none"
CONFIDENCE = {
    "cell_type_doubt": (
        "the first reason to look at a query cell's label: "
        + ", ".join(f"`{name}`" for name in DOUBTS)
        + f"; else `{NO_DOUBT}`. Empty for cells without a transferred label"
    ),
    "cell_type_score": "score of the best label, 0 to 1; NaN for reference cells",
    "cell_type_second_score": "score of the second best label",
    "cell_type_set": "labels of the prediction set, joined by `|`",
    "cell_type_entropy": "entropy of the scores (scaled to a sum of 1), in nats",
    "cell_type_n_anchors": "number of anchors that support the label",
    "cell_type_p_reference": "small if the reference may lack the type; NaN for reference cells",
    "cell_type_synthetic": (
        "share of the anchors' score that comes from synthetic reference cells; only with `augment`"
    ),
    "marker_score": (
        "how far up the genes of `cell_type_in_markers` stand in the cell (UCell's score); NaN "
        "without that label; only with `annotate.markers`"
    ),
}
POSTERIOR = {
    "dice_label_set": "fewest labels that cover `annotate.coverage` of the posterior samples",
    "dice_label_entropy": "entropy of the labels' shares of the samples, in nats",
    "dice_uncertainty": "trace of the posterior covariance",
    "dice_residual": "distance from observed to denoised position, in noise standard deviations",
    "dice_background": (
        "probability that the cell lies far from all that the reference holds; NaN: not computed"
    ),
}
CLUSTER = {
    "cluster": "Leiden cluster; `0` is the largest",
    "cluster_label": (
        f"the label that {AGREEING:.0%} or more of the cluster's labelled query cells share; empty "
        "if none does; only with transferred labels"
    ),
    f"{RESOLUTION}<resolution>": (
        "clusters at each of `cluster.resolutions`, such as `leiden_0.4`; `cluster` is one of them"
    ),
}
OBS = ORIGIN | QUALITY | LABEL | CONFIDENCE | POSTERIOR | CLUSTER
# Columns of further voters, of levels and of resolutions begin so.
OBS_PREFIXES = (IN_VOTER, AT_LEVEL, RESOLUTION)
# Columns whose values are labels, beside those of voters and levels.
OF_LABELS = (
    "cell_type", "truth", "cell_type_best", "cell_type_second", "cell_type_backoff",
    "cluster_label",
)  # fmt: skip
# Columns of obs between the rules, and names that anndata keeps for itself.
INTERNAL = ("barcode", "cell", "cell_key", "label", "label_parents", "_index", "index")
OBSM = {
    "X_pca": "projection on the reference's loadings",
    "X_harmony": "the same with batch correction; DICE starts from it",
    "X_dice": (
        "posterior mean of the denoised position; with `noise: within_type` in the coordinates "
        '`X_harmony` A, with A in `uns["dice_coordinates"]`'
    ),
    "X_dice_sd": "its posterior standard deviation",
    "X_umap": "UMAP of the embedding that `cluster.embedding` names",
    "cell_type_scores": 'score of every label; names in `uns["cell_type_scores_names"]`',
    "marker_scores": (
        'UCell score of every list of `annotate.markers`; names in `uns["marker_scores_names"]`'
    ),
    "dice_label_posterior": (
        'share of the posterior samples by label; names in `uns["dice_label_posterior_names"]`'
    ),
}
# What was decided about a sample's file: key of uns["dice_atlas"]["inputs"][sample]["decided"], and
# its title in the report.
DECIDED = {
    "values": "values",
    "matrix": "matrix",
    "passed_over": "passed over",
    "gene_names": "gene names",
    "set_apart": "features that are no genes",
    "left_out": "left out",
    "added_up": "added up",
    "labels": "labels",
}


def joined(labels: Iterable[str]) -> str:
    """A set of labels as text, in alphabetical order."""
    return SEPARATOR.join(sorted(labels))


def holds_labels(column: str) -> bool:
    """Whether the values of a column of obs are labels."""
    return column in OF_LABELS or column.startswith((IN_VOTER, AT_LEVEL))


def is_cluster(column: str) -> bool:
    """Whether a column of obs holds clusters, the chosen ones or those at a resolution."""
    return column == "cluster" or column.startswith(RESOLUTION)


def split_set(text: str) -> list[str]:
    """The labels of a set as it is written."""
    return text.split(SEPARATOR) if text else []
