"""A folder for R: counts as Cell Ranger writes them, tables, and a script for Seurat."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from dice_atlas.atlas.matrices import stored_colors
from dice_atlas.export.targets import COUNTS, EMBEDDED
from dice_atlas.files import atomic_path, gzip_stream
from dice_atlas.numerics.blocks import read_blocks, stored_values
from dice_atlas.tables import read_part

# Classes of R by numpy's kinds.
CLASSES = {"b": "logical", "i": "integer", "u": "integer", "f": "numeric"}


def write_seurat(atlas: str | Path, script: str | Path, folder: str | Path) -> None:
    """Write the folder: matrix, features and barcodes (.gz), three csv files and `import.R`.

    Parameters
    ----------
    atlas : atlas.h5ad. Without counts the matrix holds X.
    script : `import.R` with the names of what the atlas says between @.
    folder : is made.
    """
    obs, var = read_part(atlas, "obs"), read_part(atlas, "var")
    with h5py.File(atlas) as file:
        counts = COUNTS in file
        reductions = [key for key in EMBEDDED if key in file["obsm"]]
    config = json.loads(read_part(atlas, "uns/dice_atlas")["config"])
    filled = {
        "has_counts": "TRUE" if counts else "FALSE",
        "target_sum": f"{config['normalization']['target_sum']:g}",
    }
    text = Path(script).read_text(encoding="utf-8")
    for name, value in filled.items():
        text = text.replace(f"@{name}@", value)
    ids = var["gene_id"].astype(str).where(var["gene_id"].astype(str) != "", var.index)
    with atomic_path(folder) as made:
        made.mkdir()
        write_matrix(atlas, COUNTS if counts else "X", made / "matrix.mtx.gz")
        genes = zip(ids, var.index, strict=True)
        write_lines(
            (f"{i}\t{gene}\tGene Expression" for i, gene in genes), made / "features.tsv.gz"
        )
        write_lines(obs.index, made / "barcodes.tsv.gz")
        words = {True: "TRUE", False: "FALSE"}
        logical = {name: obs[name].map(words) for name in obs.select_dtypes(bool)}
        obs.assign(**logical).to_csv(made / "metadata.csv", index_label="cell")
        embeddings(atlas, reductions, obs.index).to_csv(
            made / "embeddings.csv", index_label="cell", float_format="%.9g"
        )
        columns(obs, stored_colors(atlas)).to_csv(made / "columns.csv", index=False)
        (made / "import.R").write_text(text, encoding="utf-8")


def write_lines(lines: Iterable[str], path: Path) -> None:
    """Write lines of text, gzipped, the same bytes every time."""
    with open(path, "wb") as raw, gzip_stream(raw) as stream:
        stream.writelines(f"{line}\n".encode() for line in lines)


def write_matrix(atlas: str | Path, key: str, path: Path) -> None:
    """Write a matrix of the atlas as Matrix Market, genes x cells, a block of cells at a time."""
    with h5py.File(atlas) as file:
        n_cells, n_genes = map(int, file[key].attrs["shape"])
        kind = "integer" if file[key]["data"].dtype.kind in "iu" else "real"
    # Level 9 takes seven times as long and saves less than a hundredth.
    with open(path, "wb") as raw, gzip_stream(raw, level=6) as stream:
        head = f"%%MatrixMarket matrix coordinate {kind} general\n"
        stream.write(f"{head}{n_genes} {n_cells} {stored_values(atlas, key)}\n".encode())
        for rows, block in read_blocks(atlas, key=key):
            entries = block.tocoo()
            table = {"gene": entries.col + 1, "cell": entries.row + rows.start + 1}
            frame = pd.DataFrame({**table, "value": entries.data})
            text = frame.to_csv(sep=" ", header=False, index=False, float_format="%.7g")
            stream.write(text.encode())


def embeddings(atlas: str | Path, keys: Iterable[str], cells: pd.Index) -> pd.DataFrame:
    """All embeddings side by side, with columns such as `dice_1`."""
    tables = []
    for key in keys:
        values, name = read_part(atlas, f"obsm/{key}"), key.removeprefix("X_")
        header = [f"{name}_{i + 1}" for i in range(values.shape[1])]
        tables.append(pd.DataFrame(values, index=cells, columns=header))
    return pd.concat(tables, axis=1)


def columns(obs: pd.DataFrame, colors: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Class of each column in R; of a factor one row per level, in order, with its colour.

    Parameters
    ----------
    obs, colors : of the atlas, see `stored_colors`.
    """
    rows = []
    for name in obs:
        values = obs[name]
        if isinstance(values.dtype, pd.CategoricalDtype):
            levels = values.cat.categories
            own = colors.get(str(name), [""] * len(levels))
            rows += [
                (name, "factor", level, color) for level, color in zip(levels, own, strict=True)
            ]
        else:
            rows.append((name, CLASSES.get(values.dtype.kind, "character"), "", ""))
    return pd.DataFrame(rows, columns=["column", "class", "value", "color"])
