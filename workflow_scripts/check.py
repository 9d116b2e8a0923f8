"""check: what is in the samples' files, and what a run will take, on the terminal."""

from dice_atlas.counts.overview import look_at_all, remarks
from dice_atlas.errors import InputError, bullets
from dice_atlas.features.card import read_card
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        params = snakemake.params
        asked = params.rows, params.names, params.truth, params.rename, params.complete
        seen = look_at_all(*asked)
        if len(seen.table):
            saved = list(snakemake.input.card)
            card = read_card(saved[0]) if saved else None
            told = ["", *remarks(seen, card, params.markers)]
            text = "\n".join([seen.table.to_string(index=False), *told])
            print(f"\n{text}\n", flush=True)
            log.info("\n%s", text)
        if seen.faults:
            raise InputError(f"a run would stop:\n{bullets(seen.faults)}")
        log.info("%d samples were looked at", len(seen.table))
