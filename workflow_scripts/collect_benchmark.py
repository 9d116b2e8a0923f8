"""collect_benchmark: scores of all splits in tables and figures."""

from dice_atlas.benchmark.collect import all_tables, read_layouts, write_figures
from dice_atlas.files import write_table
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, made = snakemake.input, snakemake.output
        tables = all_tables(given.scores, given.curves, given.costs)
        for name, table in tables.items():
            write_table(table, made[name])
        drawn = write_figures(tables, read_layouts(given.layouts), made.figures)
        log.info("figures: %s", ", ".join(drawn))
