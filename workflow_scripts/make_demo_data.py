"""make_demo_data: a labelled reference and two queries from the PBMC that scanpy ships."""

from dice_atlas.counts import demo
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        cells = demo.demo_counts()
        parts = demo.split_cells(cells.obs["sort_gate"].to_numpy(), snakemake.params.seed)
        log.info("cells: %s", {name: len(part) for name, part in parts.items()})
        demo.write_reference(cells[parts["reference"]].copy(), snakemake.output.reference)
        for number in (1, 2):
            query = cells[parts[f"query{number}"]]
            demo.write_mtx_folder(query, snakemake.output[f"query{number}"])
            demo.write_truth(query, snakemake.output[f"truth{number}"])
