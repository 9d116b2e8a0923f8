"""gather_annotation: the tables of the transfers to each query sample as one."""

from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.tables import read_text_table
from dice_atlas.transfer.calls import gathered

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        for name, path in snakemake.output.items():
            parts = [read_text_table(part) for part in snakemake.input[name]]
            whole = gathered(parts)
            log.info("%s: %d rows of %d samples", name, len(whole), len(parts))
            write_table(whole, path)
