"""Agreement of two partitions: ARI, NMI in both normalisations, V-measure."""

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, v_measure_score

from dice_atlas.metrics.score import Score


def partition_agreement(truth: np.ndarray, clusters: np.ndarray) -> dict[str, Score]:
    """Scores of `clusters` against `truth`; all are 1 for equal partitions.

    Parameters
    ----------
    truth, clusters : labels of any type, one per cell.

    Returns
    -------
    dict
        `ari`; `nmi` = 2 I / (H(truth) + H(clusters)); `nmi_max` = I / max(H, H), which is what
        R's aricode::NMI gives; `v_measure`, equal to `nmi` by definition.
    """
    truth, clusters = np.asarray(truth).astype(str), np.asarray(clusters).astype(str)
    note = "" if len(np.unique(truth)) > 1 else "one class only: 1 if there is one cluster, else 0"
    values = {
        "ari": adjusted_rand_score(truth, clusters),
        "nmi": normalized_mutual_info_score(truth, clusters, average_method="arithmetic"),
        "nmi_max": normalized_mutual_info_score(truth, clusters, average_method="max"),
        "v_measure": v_measure_score(truth, clusters),
    }
    return {name: Score(float(value), note) for name, value in values.items()}
