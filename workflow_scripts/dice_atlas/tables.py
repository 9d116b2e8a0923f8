"""Tables between the rules, read without guessing."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd


def read_text_table(path: str | Path, *numbers: str) -> pd.DataFrame:
    """A tsv whose columns are text, but for `numbers`: a label may read "NA" or "01"."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return table.assign(**{name: pd.to_numeric(table[name]) for name in numbers})


def read_by_space(paths: Iterable[str | Path], *numbers: str) -> dict[str, pd.DataFrame]:
    """Tables annotation/<space>/<name> by their space; see `read_text_table`."""
    return {Path(path).parent.name: read_text_table(path, *numbers) for path in paths}
