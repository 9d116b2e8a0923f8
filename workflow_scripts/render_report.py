"""render_report: the HTML report and its figures."""

from pathlib import Path

from dice_atlas.conditions.settings import CompareSettings
from dice_atlas.logs import job_log
from dice_atlas.report.data import read_report_data
from dice_atlas.report.html import ReportSettings, write_report
from dice_atlas.report.slides import SlideSettings, write_slides

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        files, params = dict(snakemake.input.items()), snakemake.params
        folder, page = Path(snakemake.output.figures), Path(snakemake.output.report)
        settings = ReportSettings.from_config(
            params.report, params.seed, params.defaults, params.figures["names"]
        )
        compare = CompareSettings.from_config(params.compare) if params.compare else None
        data = read_report_data(files, settings.n_markers, compare)
        write_report(data, files, page, folder, settings, params.atlas_name)
        slides = SlideSettings.from_config(params.figures)
        write_slides(data, settings.n_markers, folder, slides)
