"""Names that users meet: columns of obs, embeddings, and the words that stand for no label."""

from collections.abc import Iterable

UNASSIGNED = "unassigned"  # the cell type of a cell that got no label
SEPARATOR = "|"  # joins the labels of a set
SCORE = "score:"  # begins the column of a label's score
SPACES = ("pca", "dice")  # in which labels are transferred
# Embedding that config names: its obsm key.
EMBEDDINGS = {"pca": "X_pca", "harmony": "X_harmony", "dice": "X_dice"}

# Columns of obs in the atlas, beside the metrics of quality control (counts/criteria.py).
OBS = {
    "sample": "sample, from the sheet; further columns of the sheet follow `batch`",
    "role": "`reference` or `query`, from the sheet",
    "batch": "batch, from the sheet",
    "doublet_score": "doublet score of Scrublet, per sample",
    "predicted_doublet": "whether Scrublet calls the cell a doublet",
    "cell_type": "reference: the given label. Query: the transferred one. `unassigned`: none",
    "cell_type_score": "score of the best label, 0 to 1 (reference: NaN)",
    "cell_type_set": "labels of the prediction set, joined by `|`",
    "cell_type_entropy": "entropy of the scores in nats, scaled to a sum of 1",
    "cell_type_n_anchors": "number of anchors behind the label",
    "cell_type_second": "second best label; empty if nothing supports one",
    "cell_type_p_reference": "small where the reference may lack the type (reference: NaN)",
    "cell_type_rule": "why a cell is `unassigned`; else empty",
    **{f"cell_type_in_{space}": f"label in space `{space}`" for space in SPACES},
    "dice_label_set": "fewest labels that hold `annotate.coverage` of the posterior samples",
    "dice_label_entropy": "entropy of the labels' shares of the posterior samples, in nats",
    "dice_uncertainty": "trace of the posterior covariance of the denoised position",
    "dice_residual": "distance from observed to denoised position, in noise standard deviations",
    "cluster": "Leiden cluster; `0` is the largest",
}
# Columns of obs between the rules, and names that anndata keeps for itself.
INTERNAL = ("barcode", "cell", "label", "_index", "index")
OBSM = {
    "X_pca": "projection on the reference's loadings",
    "X_harmony": "the same after batch correction: what DICE starts from",
    "X_dice": "posterior mean of the position: the denoised embedding",
    "X_dice_sd": "posterior standard deviation of the position",
    "X_umap": "UMAP of the embedding that `cluster.embedding` names",
    "cell_type_scores": "score of every label; names in `uns[\"cell_type_scores_names\"]`",
    "dice_label_posterior": (
        "share of the posterior samples with each label; names in "
        "`uns[\"dice_label_posterior_names\"]`"
    ),
}  # fmt: skip


def joined(labels: Iterable[str]) -> str:
    """A set of labels as text, in alphabetical order."""
    return SEPARATOR.join(sorted(labels))


def split_set(text: str) -> list[str]:
    """The labels of a set as it is written."""
    return text.split(SEPARATOR) if text else []
