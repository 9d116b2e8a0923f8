# What a run says while it goes on: a line for each job that is done, and where the results are.
import logging

from dice_atlas.logs import last_result, warnings_of
from snakemake_interface_logger_plugins.common import LogEvent

# What of Snakemake's own lines goes to its log alone; `--verbose` shows them.
HIDDEN_EVENTS = (
    LogEvent.JOB_INFO,
    LogEvent.JOB_STARTED,
    LogEvent.JOB_FINISHED,
    LogEvent.PROGRESS,
    LogEvent.GROUP_INFO,
    LogEvent.RESOURCES_INFO,
)
HIDDEN_STARTS = (
    "Select jobs to execute",
    "Execute ",
    "Removing temporary output",
    "Finished job",
    "Touching output file",
    "Complete log(s)",
    "Job ",  # SLURM: "Job 3 has been submitted with SLURM jobid 12 (log: ...)."
)


def is_shown(record):
    """Whether a line of Snakemake's goes to the terminal."""
    if record.levelno >= logging.WARNING or hasattr(record, "of_progress"):
        return True
    if getattr(record, "event", None) in HIDDEN_EVENTS:
        return False
    return not str(record.msg).startswith(HIDDEN_STARTS)


def said(line):
    """A line of ours, on the terminal and in Snakemake's log."""
    logger.info(line, extra={"of_progress": True})


class JobLines(logging.Handler):
    """A line for each job that is done: its result and its seconds; each warning once."""

    def __init__(self, total):
        super().__init__()
        self.total, self.done = total, 0
        self.started, self.warned = {}, set()

    def emit(self, record):
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_INFO:
            self.started[record.jobid] = record
        elif event == LogEvent.JOB_FINISHED and record.job_id in self.started:
            self.finished(self.started.pop(record.job_id))

    def finished(self, job):
        if not job.log:  # a target
            return
        self.done += 1
        result = last_result(job.log[0])
        place = f"[{self.done:{len(str(self.total))}}/{self.total}]"
        said(
            f"{place} {named(job.rule_name, job.wildcards)}: {result}{self.seconds(job)}"
        )
        for warning in warnings_of(job.log[0]):
            if warning not in self.warned:
                self.warned.add(warning)
                said(f"    Warning: {warning}")

    @staticmethod
    def seconds(job):
        try:
            fields = Path(job.benchmark).read_text().splitlines()[1].split("\t")
            return f" ({float(fields[0]):.0f} s)"
        except (OSError, TypeError, IndexError, ValueError):
            return ""  # a job without such a file


def say_progress():
    """From here on a line for each job in place of Snakemake's own."""
    output = workflow.output_settings
    if output.verbose or output.printshellcmds or output.quiet:
        return
    jobs = [job for job in workflow.dag.needrun_jobs() if job.log]
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(is_shown)
    logger.addHandler(JobLines(len(jobs)))


def say_results():
    """Where the pages are that this run made."""
    made = [
        str(path)
        for job in workflow.dag.needrun_jobs(exclude_finished=False)
        for path in job.output
        if str(path).endswith(("report.html", "atlas.h5ad", "synthetic.h5ad"))
    ]
    lines = [f"    {path}" for path in dict.fromkeys(made) if os.path.exists(path)]
    atlas = out("atlas.h5ad")
    lines += [
        f"    {out(path)} is older than the atlas; to renew it: the target export_{name}"
        for name, path in EXPORTS.items()
        if atlas in made
        and os.path.exists(out(path))
        and os.path.getmtime(out(path)) < os.path.getmtime(atlas)
    ]
    seconds = time.time() - STARTED
    minutes, rest = divmod(round(seconds), 60)
    took = f"{minutes} min {rest} s" if minutes else f"{rest} s"
    said("\n".join([f"Done in {took}." + (" Look at:" if lines else ""), *lines]))
