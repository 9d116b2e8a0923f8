"""check: what was read of the samples, and what a run will take, on the terminal."""

from dice_atlas.counts.overview import overview, remarks
from dice_atlas.logs import job_log
from dice_atlas.tables import read_text_table

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        seen = overview(snakemake.input.counts)
        known = [read_text_table(path)["truth"] for path in snakemake.input.truth]
        text = "\n".join([seen.table.to_string(index=False), "", *remarks(seen, *known)])
        log.info("\n%s", text)
        print(f"\n{text}\n", flush=True)
        log.info("%d samples were read", len(seen.table))
