"""Tables between the rules, read without guessing."""

from pathlib import Path

import pandas as pd


def read_text_table(path: str | Path, *numbers: str) -> pd.DataFrame:
    """A tsv whose columns are text, but for `numbers`: a label may read "NA" or "01"."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return table.assign(**{name: pd.to_numeric(table[name]) for name in numbers})
