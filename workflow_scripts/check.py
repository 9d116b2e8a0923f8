"""check: what was read of the samples, and what a run will take, on the terminal."""

from dice_atlas.counts.overview import overview, remarks
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        table = overview(snakemake.input.counts)
        text = "\n".join(
            [table.to_string(index=False), "", *remarks(snakemake.input.counts, table)]
        )
        log.info("\n%s", text)
        print(f"\n{text}\n", flush=True)
        log.info("%d samples are as the sheet says", len(table))
