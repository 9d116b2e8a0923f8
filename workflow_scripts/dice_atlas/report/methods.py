"""The methods section: what was done, with the settings of the run, as paragraphs to copy."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dice_atlas.clustering.settings import FAST, leiden_package
from dice_atlas.counts.criteria import CRITERIA
from dice_atlas.names import CONSENSUS, LOG1P, UNASSIGNED
from dice_atlas.report import marker_lists
from dice_atlas.report.answer import unassigned_rules
from dice_atlas.report.conditions import REFERENCES as CONDITION_REFERENCES
from dice_atlas.report.conditions import methods_text
from dice_atlas.report.data import ReportData, of_transfer
from dice_atlas.report.finding import plural
from dice_atlas.transfer.conformal import MOST_OTHERS
from dice_atlas.transfer.settings import MOST_CELLS

REFERENCES = {
    "DICE": "Meier, Yu, Nandy, Ghosal, Gan. Clustering by Denoising: Latent Plug-and-Play "
    "Diffusion for Single-Cell Data. ICLR 2026, arXiv 2510.22835.",
    "Seurat": "Stuart et al. Comprehensive Integration of Single-Cell Data. Cell 177, 2019.",
    "Temperature": "Guo et al. On Calibration of Modern Neural Networks. ICML 2017.",
    "Harmony": "Korsunsky et al. Fast, sensitive and accurate integration of single-cell data "
    "with Harmony. Nature Methods 16, 2019.",
    "Symphony": "Kang et al. Efficient and precise single-cell reference atlas mapping with "
    "Symphony. Nature Communications 12, 2021.",
    "Leiden": "Traag, Waltman, van Eck. From Louvain to Leiden: guaranteeing well-connected "
    "communities. Scientific Reports 9, 2019.",
    "UMAP": "McInnes, Healy, Melville. UMAP: Uniform Manifold Approximation and Projection for "
    "Dimension Reduction. arXiv 1802.03426, 2018.",
    "Scrublet": "Wolock, Lopez, Klein. Scrublet: Computational Identification of Cell Doublets in "
    "Single-Cell Transcriptomic Data. Cell Systems 8, 2019.",
    "scanpy": "Wolf, Angerer, Theis. SCANPY: large-scale single-cell gene expression data "
    "analysis. Genome Biology 19, 2018.",
    "UCell": "Andreatta, Carmona. UCell: Robust and scalable single-cell gene signature scoring. "
    "Computational and Structural Biotechnology Journal 19, 2021.",
    "ScType": "Ianevski, Giri, Aittokallio. Fully-automated and ultra-fast cell-type "
    "identification using specific marker combinations from single-cell transcriptomic data. "
    "Nature Communications 13, 2022.",
    "Snakemake": "Mölder et al. Sustainable data analysis with Snakemake. F1000Research 10, 2021.",
}

LIKELIHOODS = {
    "gaussian": "Gaussian noise",
    "gaussian_per_gene": "Gaussian noise with each gene's residual variance",
    "student_t": "Student t noise of four degrees of freedom with each gene's residual variance",
    "poisson": "Poisson counts",
    "negative_binomial": "negative binomial counts with each gene's residual dispersion",
}


def methods(data: ReportData) -> list[str]:
    """Paragraphs of the methods section."""
    found = [counts(data), features(data), denoising(data)]
    if data.transferred:
        found.append(transfer(data))
    found.append(clustering(data))
    if data.marker_calls is not None:
        found.append(marker_lists.methods(data))
    if data.conditions:
        found.append(methods_text(data.conditions))
    return [*found, *approximated(data)]


def references(texts: Sequence[str]) -> list[str]:
    """Of all references those that the methods section cites, by the first author's name."""
    said = " ".join(texts)
    found = []
    for text in (REFERENCES | CONDITION_REFERENCES).values():
        author = re.escape(re.split("[, ]", text)[0])
        if re.search(rf"\b{author} (et al|and )", said):
            found.append(text)
    return found


def approximated(data: ReportData) -> list[str]:
    """What the number of cells allowed only approximately, if anything."""
    notes = list(data.provenance.get("approximations", []))
    return [f"Because of the number of cells: {'; '.join(notes)}."] if notes else []


def fitted_on(data: ReportData) -> str:
    """The cells that the latent space and the prior were made from."""
    return "reference" if len(data.reference) else "cells"


def whose_cells(data: ReportData) -> str:
    """The same, where a saved prior brought its own reference."""
    return "prior's reference" if data.config["prior"]["path"] else fitted_on(data)


def limits(values: pd.Series) -> str:
    """One limit, or the range of those that samples have."""
    kept = sorted(set(values.dropna()))
    return " to ".join(f"{value:g}" for value in dict.fromkeys([kept[0], kept[-1]]))


def by_sample(values: pd.Series) -> str:
    """What is said behind a limit that is not the same for all samples."""
    return " (by sample)" if values.nunique() > 1 else ""


def logged_samples(data: ReportData) -> list[str]:
    """Samples whose files held log-normalised expression and no counts."""
    inputs = data.provenance["inputs"].items()
    return [name for name, source in inputs if source.get("expression") == LOG1P]


def counts(data: ReportData) -> str:
    """Quality control."""
    qc = data.qc
    numbers = qc["role"].value_counts()
    roles = [f"{numbers[role]} {role}" for role in ("reference", "query") if role in numbers]
    rules = [
        criterion.phrase.format(limits(qc[criterion.setting])) + by_sample(qc[criterion.setting])
        for criterion in CRITERIA
        if (qc[criterion.setting] != criterion.off).any()
    ]
    logged = logged_samples(data)
    values = f"Raw counts (of {', '.join(logged)}: log-normalised expression)"
    text = values if logged else "Raw counts"
    text += f" of {plural(len(qc), 'sample')} ({', '.join(roles)}) were filtered: "
    text += f"cells with {' or '.join(rules)} were removed" if rules else "no limit was set"
    if qc["n_mads"].notna().any():
        text += f", and cells beyond the median ± {limits(qc['n_mads'])} MADs"
        text += by_sample(qc["n_mads"])
    text += f"; {int(qc['cells_kept'].sum()):,} of {int(qc['cells_in'].sum()):,} cells were kept."
    scored = sorted(set(qc.loc[qc["doublets"] != "off", "doublets"]))
    if scored:
        done = {"annotate": "marked", "remove": "removed"}
        text += " Doublets were called with Scrublet (Wolock et al. 2019) and "
        text += " or ".join(done[kind] for kind in scored) + "."
    return text


def taken_as_given(data: ReportData, logged: list[str]) -> str:
    """Which of the samples had no total of their own that could be seen."""
    inputs = data.provenance["inputs"]
    unseen = [name for name in logged if "no single total" in inputs[name]["decided"]["values"]]
    return f" (that of {', '.join(unseen)} assumed to be 10,000)" if unseen else ""


def features(data: ReportData) -> str:
    """Normalisation, genes, batch correction, loadings."""
    config, genes = data.config, data.genes
    n = int((genes["selected"] == "True").sum())
    text = (
        "Counts were divided by the total of the cell, multiplied by "
        f"{config['normalization']['target_sum']:,} and log1p-transformed. "
    )
    logged = logged_samples(data)
    if logged:
        text += (
            f"The log-normalised expression of {', '.join(logged)} was brought to the same total"
            f"{taken_as_given(data, logged)}. "
        )
    scaled = (
        f"scaled with the mean and standard deviation of the {whose_cells(data)} and capped at "
        f"{config['normalization']['max_value']:g} standard deviations. "
    )
    if config["prior"]["path"]:
        text += f"The {n:,} genes of the saved prior that the samples have were {scaled}"
        text += f"Loadings of {data.k} dimensions came with the saved prior. "
    else:
        top = config["genes"]["n_top"]
        how = {
            "joint": "ranked over all batches",
            "intersection": f"those among the top {top:,} of both reference and query",
        }[config["genes"]["mode"]]
        cited = "normalised dispersion, Satija et al., Nature Biotechnology 33, 2015"
        of_logged = f"; of {', '.join(logged)} {cited}" if logged else ""
        text += (
            f"All {n:,} common genes, fewer than the {top:,} asked for, were {scaled}"
            if n == len(genes) < top
            else f"{n:,} highly variable genes (Seurat v3's criterion within each batch, Stuart et "
            f"al. 2019{of_logged}; {how}) were {scaled}"
        )
    batch, notes = data.settings.batch, "; ".join(map(str, data.correction["notes"]))
    if data.correction["applied"]:
        text += (
            f"{batch.n_pcs} principal components were corrected by {batch.corrector.title} "
            f"({batch.corrector.citation}; {batch.own.described()})"
            + (
                " and by mapping the query on the reference's clusters (in the manner of Symphony, "
                "Kang et al. 2021)"
                if batch.scope == "mapped"
                else ""
            )
            + f": {notes}. "
        )
    elif batch.scope == "none":
        text += "Batches were not corrected. "
    else:
        text += f"Batches were not corrected ({notes}). "
    if not config["prior"]["path"]:
        how = "where the singular values join their straight tail"
        how = how if config["latent"]["k"] == "auto" else "as set"
        text += f"A truncated SVD of the {fitted_on(data)} gave {data.k} latent dimensions ({how})."
    return text.strip()


def denoising(data: ReportData) -> str:
    """The prior and DICE."""
    card, dice, config = data.card, data.dice, data.config
    kernel = card["preset"] == "kernel"
    what = "a kernel density" if kernel else "a diffusion model"
    if config["prior"]["path"]:
        text = f"The prior, {what} of the latents of a reference, was a saved one "
    else:
        made = "fitted" if kernel else "trained"
        text = f"The prior, {what} of the latents of the {fitted_on(data)}, was {made} "
    overrides = {} if config["prior"]["path"] else config["prior"].get("overrides", {})
    mixed = {"labels": "mixup within labels", "clusters": "mixup within clusters"}
    steps = f"{card['steps']:,} steps in {card['seconds']:,.0f} s on {card['device']}, "
    background = card["settings"].get("background", 0)
    text += (
        f"(preset {card['preset']}, {mixed.get(card['augmentation'], 'no mixup')}, "
        f"{card['n_cells']:,} cells, {'' if kernel else steps + weights_kept(data)}"
        f"held-out loss {card['held_out_loss']:.3f}{changed(overrides)}"
        f"{f'; a background of {background:g}' if background else ''}). "
    )
    if card["noise"] == "within_type" and dice["likelihood"] == "gaussian":
        text += (
            f"Noise was taken to have the pooled covariance of the {whose_cells(data)} within "
            f"{'types' if card['augmentation'] == 'labels' else 'clusters'}. "
        )
    text += "Every cell's latent position was denoised with DICE (Meier et al. 2026) "
    noise = LIKELIHOODS[dice["likelihood"]]
    if dice["likelihood"] == "gaussian":
        noise += f" of variance {by_role(dice['noise_variance'], '.3g')} per scaled gene"
    settings = data.settings.denoise
    rho = settings.rho
    if dice["method"] == "exact":
        level = by_role(dice["s"], ".3f")
        return text + (
            f"in its closed form ({noise}, rho {rho.end:g}, so noise level {level}): "
            f"the posterior mean, and {dice['samples']} posterior samples"
            f"{' in bfloat16' if settings.precision == 'bfloat16' else ''} for the "
            "uncertainty."
        )
    return text + (
        f"by split Gibbs sampling ({noise}, rho from {rho.start:g} to {rho.end:g} "
        f"({rho.schedule}) in {settings.iterations} iterations"
        f"{skipped(dice, settings.iterations)}, "
        f"{dice['samples']} chains per cell)."
    )


def weights_kept(data: ReportData) -> str:
    """Which weights of the training were kept, where it is not those of the last step."""
    best = data.loss["validation_loss"].astype(float)
    if best.isna().all():
        return ""
    step = int(data.loss["step"].astype(int)[best.idxmin()])
    if step == 0:
        return "of which none was better than the mixture that it starts from, "
    return f"weights of step {step:,} kept, " if step < data.card["steps"] else ""


def changed(overrides: Mapping[str, float]) -> str:
    """The overrides of the preset, which may make it another network."""
    named = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in overrides.items())
    return f"; changed from the preset: {named}" if named else ""


def skipped(dice: Mapping[str, Any], iterations: int) -> str:
    """How many Gibbs iterations ran, where the first ones could be left out."""
    ran = by_role(dice["iterations"], "d")
    return "" if ran == str(iterations) else f", of which the last {ran} can still matter and ran"


def by_role(values: Mapping[str, float], form: str) -> str:
    """One number, or that of each role where they differ."""
    texts = {role: format(value, form) for role, value in values.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return " and ".join(f"{text} ({role})" for role, text in texts.items())


def transfer(data: ReportData) -> str:
    """Labels, scores, prediction sets."""
    labelled = int((data.reference["cell_type"] != UNASSIGNED).sum())
    calls, calibration = data.settings.calls, of_transfer(data.calibration)
    text = (
        f"Labels of {labelled:,} reference cells were transferred to {len(data.query):,} query "
        f"cells {' and '.join(how_labelled(data))}. {whose_labels(data)} "
    )
    if calls.unassigned_below is None and len(calibration) and np.isfinite(data.least_score):
        text += (
            "The least score of a label was chosen so that at most "
            f"{calls.risk:.0%} of the labels of held-out reference cells are wrong (one more cell "
            "counted as wrong). "
        )
    text += f"Unassigned: {unassigned_rules(data)}."
    text += synthetic_cells(data)
    if len(calibration):
        text += (
            f" Prediction sets of {calls.coverage:.0%} coverage are split-conformal, type by "
            f"type, from {len(calibration):,} reference cells that were held out (a quarter "
            "of each type) and labelled from the others. Where it is not the best, a label is "
            f"in the sets of at most {MOST_OTHERS} of these cells of other types for each cell "
            "that calibrates it."
        )
    return text


def how_labelled(data: ReportData) -> list[str]:
    """What each kind of voter did."""
    settings, reduction = data.settings, data.settings.reduction
    anchors, weights = settings.anchors, settings.weights
    spaces = {
        "pca": f"Seurat's own ({reduction.method}, {reduction.dims} dimensions of at most "
        f"{reduction.nfeatures:,} genes)",
        "dice": "the denoised one",
    }
    found = []
    used = [spaces[voter] for voter in settings.voters.voters if voter in spaces]
    if used:
        given, score = ("none" if k is None else k for k in (anchors.k_filter, anchors.k_score))
        found.append(
            f"with the anchor algorithm of Seurat {weights.seurat_version}{each_alone(data)} "
            f"(Stuart et al. 2019; k.anchor {anchors.k_anchor}, k.filter {given}, k.score {score}, "
            f"k.weight {weights.k_weight}, sd.weight {weights.sd_weight:g}) in "
            f"{plural(len(used), 'space')}: {' and '.join(used)}"
        )
    if "linear" in settings.voters.voters:
        found.append(
            f"by logistic regression on at most {reduction.nfeatures:,} variable genes of the "
            f"reference, fitted on at most {MOST_CELLS:,} of its cells (scaled expression, ridge "
            "penalty, each label of the same weight)"
        )
    if settings.voters.tables:
        found.append(f"by the labels of other tools ({', '.join(settings.voters.tables)})")
    return found


def whose_labels(data: ReportData) -> str:
    """Which of the labels are the final ones."""
    voters = data.settings.voters
    names = {
        "pca": "the anchors in the PCA space",
        "dice": "the anchors in the denoised space",
        "linear": "the logistic regression",
        **{voter: f"the tool {voter}" for voter in voters.tables},
    }
    if voters.final != CONSENSUS:
        return f"The final labels are those of {names[voters.final]}."
    calibrated = ", each calibrated by a temperature on held-out reference cells (Guo et al. 2017)"
    return (
        "The final labels are those of the best mean probability of "
        f"{' and '.join(names[voter] for voter in voters.consensus)}"
        f"{calibrated if len(of_transfer(data.calibration)) else ''}."
    )


def synthetic_cells(data: ReportData) -> str:
    """What was added to rare labels of the reference."""
    made = 0 if data.augmented is None else int(data.augmented["synthetic_cells"].sum())
    if not made:
        return ""
    augment, used = data.settings.augment, "train the prior and to find anchors"
    used = "find anchors" if data.config["prior"]["path"] else used
    return (
        f" {made:,} synthetic cells of labels with fewer than {augment.below} reference cells "
        f"were drawn from a negative-binomial autoencoder (spread {augment.spread:g}) and used "
        f"to {used} only."
    )


def each_alone(data: ReportData) -> str:
    """That the labels of each query sample were transferred by itself, where it has others."""
    alone = data.settings.voters.per == "sample" and data.query["sample"].nunique() > 1
    return ", to each sample by itself" if alone else ""


def choice_of_resolution(data: ReportData) -> str:
    """How the resolution of the clusters was chosen."""
    choose, by_labels = data.settings.cluster.choose, data.resolutions["reference_ari"].notna()
    if isinstance(choose, float | int):
        return "by hand"
    if choose != "stability" and by_labels.all():
        return "by the labels of the reference: its clusters agree best with them (ARI)"
    other = package_of(data) != FAST
    return (
        "without labels: the best separated clusters (silhouette) among those that are about as "
        "stable as any on subsamples" + f" (stability of {FAST}'s clusters)" * other
    )


def package_of(data: ReportData) -> str:
    """The package that made the atlas's clusters."""
    return leiden_package(data.settings.cluster.flavor, len(data.obs))


def clustering(data: ReportData) -> str:
    """Graph, clusters, UMAP, markers, versions."""
    settings, versions = data.settings.cluster, data.provenance["versions"]
    corrected = "batch-corrected" if data.correction["applied"] else "uncorrected"
    names = {"dice": "denoised", "harmony": corrected, "pca": "uncorrected"}
    chosen = data.resolutions.loc[data.resolutions["chosen"] == "True", "resolution"].iloc[0]
    return (
        f"On the graph of {settings.n_neighbors} nearest neighbours in the "
        f"{names[settings.embedding]} space, clusters were found by the Leiden algorithm (Traag "
        f"et al. 2019; {package_of(data)}) at {plural(len(data.resolutions), 'resolution')}; "
        f"resolution {chosen:g} was chosen {choice_of_resolution(data)}. "
        "The map is a UMAP (McInnes et al. 2018) of the same graph. "
        "Markers were ranked by a Wilcoxon rank-sum test of each cluster against the rest (scanpy "
        f"{versions['scanpy']}, Wolf et al. 2018), among the selected genes. The analysis ran in "
        f"dice-atlas {data.card['dice_atlas']} on Snakemake {versions['snakemake']} (Mölder et al. "
        f"2021) with seed {data.config['seed']}."
    )
