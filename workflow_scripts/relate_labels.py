"""relate_labels: the name of each label at each level, checked before the long work begins."""

from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.tables import read_text_table
from dice_atlas.transfer.relations import read_reference, relate
from dice_atlas.transfer.settings import LevelSettings
from dice_atlas.transfer.tables import labels_in, read_voter_table

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, tables = snakemake.input, snakemake.params.tables
        others = {label for path in given.truth for label in read_text_table(path)["truth"]}
        for voter, path in tables.items():
            others |= labels_in(read_voter_table(path, f"annotate.tables.{voter}"))
        settings = LevelSettings.from_config(snakemake.params.annotate)
        table = relate(settings, read_reference(given.samples), others)
        log.info("\n%s", table.to_string(index=False))
        write_table(table, snakemake.output.levels)
        log.info("%d labels", len(table))
