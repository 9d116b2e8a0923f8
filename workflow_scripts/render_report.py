"""render_report: the HTML report and its figures."""

from pathlib import Path

from dice_atlas.conditions.settings import CompareSettings
from dice_atlas.logs import job_log
from dice_atlas.report.html import ReportSettings, write_report

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        compare = snakemake.params.compare
        write_report(
            dict(snakemake.input.items()),
            Path(snakemake.output.report),
            Path(snakemake.output.figures),
            ReportSettings.from_config(snakemake.params.report),
            snakemake.params.atlas_name,
            CompareSettings.from_config(compare) if compare else None,
        )
