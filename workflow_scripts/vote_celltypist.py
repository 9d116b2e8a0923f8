"""vote_celltypist: a table of labels by a CellTypist model, in an environment of its own.

python vote_celltypist.py --model model.pkl --output table.tsv.gz filtered.h5ad ...
"""

import argparse

import pandas as pd
from dice_atlas.files import write_table
from dice_atlas.transfer.celltypist import label_table

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    tables = [label_table(path, arguments.model) for path in arguments.samples]
    write_table(pd.concat(tables, ignore_index=True), arguments.output)
