"""render_synthesis: the page about synthetic cells and its figures."""

from pathlib import Path

from dice_atlas.logs import job_log
from dice_atlas.report.synthesis import write_synthesis_page

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        made, params = snakemake.output, snakemake.params
        write_synthesis_page(
            dict(snakemake.input.items()), Path(made.page), Path(made.figures), params.atlas_name,
            params.seed, params.palette,
        )  # fmt: skip
