"""What is said of synthetic cells: generators, figures and limits, for tables and pages."""

from collections.abc import Mapping

# The generator that is judged, and the control: real cells.
OWN, CONTROL = "synthetic", "resampled"
TITLES: Mapping[str, str] = {
    OWN: "this generator",
    CONTROL: "real cells",
    "thinned_pairs": "mixed counts",
    "gaussian_copula": "Gaussian copula",
    "independent_negative_binomial": "independent NB",
}
# Remedies for rare classes, and the classifier that all of them are for.
NO_REMEDY, SYNTHETIC_CELLS, REGRESSION = "none", "synthetic cells", "logistic regression"
# Fewer held-out cells judge nothing.
LEAST_HELD_OUT = 20
# Held-out and synthetic cells below which a class has no forest and no fold changes of its own,
# and below which a low percentile of its distances says nothing.
LEAST_CLASS, LEAST_DISTANCES = 30, 10

# In the order of the table: what each says, and what is good.
METRICS: Mapping[str, str] = {
    "rf_auc_pc": "AUC of a forest, real or synthetic, on 50 components; 0.5 is good",
    "rf_auc_genes": "the same on the genes; 0.5 is good",
    "rf_auc_class": "the same on components within a class, mean over classes; 0.5 is good",
    "mmd_root": "maximum mean discrepancy, biased, root; 0 is good",
    "mmd_squared": "maximum mean discrepancy, unbiased, squared; 0 is good",
    "ilisi": "real and synthetic cells among the 30 nearest, inverse Simpson index; 2 is good",
    "trtr_accuracy": "classifier trained on real cells: accuracy on held-out ones",
    "trtr_macro_f1": "the same: macro F1",
    "tstr_accuracy": "classifier trained on synthetic cells: accuracy on held-out ones; as trtr",
    "tstr_macro_f1": "the same: macro F1",
    "label_kept": "synthetic cells whose label the classifier of real cells gives back; 1 is good",
    "gene_mean_r": "correlation of the genes' means; 1 is good",
    "gene_variance_r": "correlation of the genes' variances; 1 is good",
    "variance_ratio": "sum of the variances, synthetic over real; 1 is good",
    "zero_fraction_difference": "mean absolute difference of the genes' zero fractions; 0 is good",
    "library_ks": "Kolmogorov-Smirnov distance of the library sizes; 0 is good",
    "genes_per_cell_ks": "the same of the numbers of genes above 0 per cell; 0 is good",
    "gene_correlation_r": "correlation of the gene-gene correlations; 1 is good",
    "gene_correlation_rmse": "root mean squared difference of the same; 0 is good",
    "log_fold_change_slope": "class against rest, synthetic over real; below 1: attenuated",
    "log_fold_change_r": "correlation of the same; 1 is good",
    "dcr_p5": "distance to the nearest training cell, 5th percentile over that of held-out cells; "
    "0: copies, 1 is good",
    "closer_to_training": "synthetic cells nearer to training than to held-out ones; 0.5 is good, "
    "copies have the value of the control",
}
CLASS_METRICS = ("n_cells", "n_held_out", "rf_auc_pc", "label_kept", "dcr_p5")
