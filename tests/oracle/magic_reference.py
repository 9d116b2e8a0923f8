"""Small inputs diffused by magic-impute 3.0.0 itself, for tests/unit/test_baselines.py.

    python3.10 -m venv V
    V/bin/pip install magic-impute==3.0.0 graphtools==1.5.3 PyGSP==0.5.1 scprep==1.2.3 \
        numpy==1.23.5 scipy==1.9.3 pandas==1.5.3 scikit-learn==1.1.3 matplotlib==3.6.3
    V/bin/python tests/oracle/magic_reference.py

writes tests/oracle/magic.npz: per input its scores and, as NAME_magic, what MAGIC makes of them.
These are the versions of magic-impute's own time. With the versions of requirements.txt pip takes
scprep 1.1.0 and graphtools 2.1.0, which rounds the bandwidths to float32: about 2e-8 away.
"""

from pathlib import Path

import magic
import numpy as np


def groups(seed: int, sizes: tuple[int, ...], components: int, apart: float) -> np.ndarray:
    """Groups of different width, the first with two equal cells."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, apart, (len(sizes), components))
    sds = 1 + np.arange(len(sizes)) / 2
    scores = np.concatenate(
        [rng.normal(c, sd, (n, components)) for n, c, sd in zip(sizes, centers, sds, strict=True)]
    )
    scores[1] = scores[0]
    return scores


if __name__ == "__main__":
    arrays = {
        "scores": groups(0, (60, 50, 40), 20, apart=1),
        # So few cells that neighbours lie in other groups, too far for an affinity.
        "few": groups(1, (12, 12, 6), 3, apart=30),
    }
    for name, scores in list(arrays.items()):
        arrays[f"{name}_magic"] = magic.MAGIC(verbose=0).fit_transform(scores)
    np.savez_compressed(Path(__file__).with_name("magic.npz"), **arrays)
