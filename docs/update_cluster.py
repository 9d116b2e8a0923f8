"""Put the tables of docs/cluster.md in place.

    python docs/update_cluster.py

They come from docs/benchmarks: slurm_faults.tsv is written by `make test-slurm`, dag.tsv by
tests/benchmarks/dag.py.
"""

from pathlib import Path

import pandas as pd
from update_benchmarks import markdown, replace_block

DOCS = Path(__file__).resolve().parent
TABLES = {"dag": "benchmarks/dag.tsv", "faults": "benchmarks/slurm_faults.tsv"}


def main() -> None:
    """Rewrite docs/cluster.md in place."""
    path = DOCS / "cluster.md"
    text = path.read_text()
    for name, file in TABLES.items():
        if (DOCS / file).exists():
            table = pd.read_csv(DOCS / file, sep="\t", dtype=str)
            text = replace_block(text, name, markdown(list(table), table.to_numpy().tolist()))
    path.write_text(text)


if __name__ == "__main__":
    main()
