"""Put what runs again after a change, and how long it takes, into docs/howto.md.

    python docs/update_howto.py

The numbers are in docs/benchmarks/second_day.tsv, by `make bench-second-day`.
"""

from pathlib import Path

import pandas as pd
from update_benchmarks import rewrite

DOCS = Path(__file__).resolve().parent
TABLE, PAGE = DOCS / "benchmarks" / "second_day.tsv", DOCS / "howto.md"


def sentence(row: pd.Series, whole: pd.Series) -> str:
    """What a task costs on the demo, beside the whole run."""
    jobs = f"{row['jobs']} job{'s' * (row['jobs'] != 1)}"
    made, took = whole["jobs"], whole["cpu_seconds"]
    cost = f"{jobs}, {row['cpu_seconds']} s of CPU"
    return f"*On the demo: {cost} (the whole run: {made} jobs, {took} s).*"


def main() -> None:
    """Rewrite docs/howto.md in place."""
    table = pd.read_csv(TABLE, sep="\t").set_index("task")
    whole, tasks = table.loc["demo"], table.drop(index="demo")
    rewrite(PAGE, {f"cost of {name}": sentence(row, whole) for name, row in tasks.iterrows()})


if __name__ == "__main__":
    main()
