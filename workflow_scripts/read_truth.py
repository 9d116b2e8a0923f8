"""read_truth: true labels of the samples that have them, checked before the long work begins."""

import logging
from collections.abc import Mapping

import pandas as pd
from dice_atlas.counts.labels import read_cell_labels
from dice_atlas.errors import InputError

logger = logging.getLogger("dice_atlas")


def read_truth(settings: Mapping[str, Mapping[str, str]], obs: pd.DataFrame) -> pd.DataFrame:
    """Columns `cell` and `truth` of the cells that have a truth.

    Parameters
    ----------
    settings : per sample `truth`, `truth_source`, `subset`, as in the sample sheet.
    obs : index = cell names, column `sample`.

    Raises
    ------
    InputError
        A sample's file names none of its cells.
    """
    parts = [pd.Series(dtype=object)]
    for sample, row in settings.items():
        cells = obs.index[obs["sample"] == sample]
        labels = read_cell_labels(sample, row["truth"], row["truth_source"], row["subset"])
        if len(cells) and not cells.isin(labels.index).any():
            seen, expected = (
                index[0].removeprefix(f"{sample}_") for index in (labels.index, cells)
            )
            raise InputError(
                f"{row['truth_source']}: none of its {len(labels)} barcodes (such as {seen}) is "
                f"among the {len(cells)} cells of sample {sample!r} (such as {expected}); write "
                "the barcodes as in the counts, or leave the column truth empty"
            )
        parts.append(labels[labels.index.isin(cells) & (labels != "")])
        if len(parts[-1]) < len(cells) / 2:
            logger.warning(
                "%s: a truth for %d of the %d cells of sample %s only; %d of its %d barcodes are "
                "not among them",
                row["truth_source"],
                len(parts[-1]),
                len(cells),
                sample,
                (~labels.index.isin(cells)).sum(),
                len(labels),
            )
    return pd.concat(parts).rename_axis("cell").rename("truth").reset_index()


if __name__ == "__main__":
    from dice_atlas.files import write_table
    from dice_atlas.logs import job_log
    from dice_atlas.tables import read_part

    with job_log(snakemake.log[0]) as log:
        obs = pd.concat([read_part(path, "obs") for path in snakemake.input.counts])
        table = read_truth(snakemake.params.truth, obs)
        log.info("%d of %d cells have a truth", len(table), len(obs))
        write_table(table, snakemake.output.truth)
