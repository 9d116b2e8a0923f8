# What a run says: its plan, a line for each job that is done, what goes on where nothing is done
# for a while, and where the results are.
import json
import logging
import subprocess
import threading
from typing import NamedTuple

from dice_atlas.counts.formats import DEMO_CELLS
from dice_atlas.effort import Pace, Planned, guess_minutes, in_words, unknown_rules
from dice_atlas.logs import last_result, read_log, stamp_of, state_of, warnings_of
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
    "Elapsed time",
    "Job ",  # SLURM: "Job 3 has been submitted with SLURM jobid 12 (log: ...)."
)
# The same before the first job: the plan says it in a line.
HIDDEN_FIRST_EVENTS = (
    LogEvent.WORKFLOW_STARTED,
    LogEvent.RUN_INFO,
    LogEvent.RESOURCES_INFO,
)
HIDDEN_FIRST_STARTS = (
    "Assuming unrestricted shared",
    "Building DAG",
    "Using shell",
    "Conda environments: ignored",
    "Singularity containers: ignored",
)
NOTHING = "Nothing to be done"
# Seconds without a line until it is said what goes on; then twice as many, up to the most.
SILENCE, MOST_SILENCE = 30, 600
MOST_SAID = 3  # jobs that a pulse names
HEADER_PATIENCE = 5  # seconds for the headers of all count files
PAGES = ("report.html", "atlas.h5ad", "synthetic.h5ad")


def is_shown(record):
    """Whether a line of Snakemake's goes to the terminal while jobs run."""
    if record.levelno >= logging.WARNING or hasattr(record, "of_progress"):
        return True
    if getattr(record, "event", None) in HIDDEN_EVENTS:
        return False
    return not str(record.msg).startswith(HIDDEN_STARTS)


def is_shown_first(record):
    """The same before the first job; of a dry run everything is."""
    if record.levelno >= logging.WARNING or workflow.dryrun:
        return True
    if getattr(record, "event", None) in HIDDEN_FIRST_EVENTS:
        return False
    return not str(record.msg).startswith(HIDDEN_FIRST_STARTS)


def said(line):
    """A line of ours, on the terminal and in Snakemake's log."""
    logger.info(line, extra={"of_progress": True})


def harmless(method):
    """A method of which no error ends the run: what it says is not worth one."""

    def guarded(*arguments):
        try:
            return method(*arguments)
        except Exception as error:
            logger.debug(f"{method.__name__}: {error!r}")

    return guarded


class Going(NamedTuple):
    """A job that was sent: its record, the stamp of its log then, and the time."""

    job: logging.LogRecord
    stamp: tuple[int, int, int] | None
    sent: float


class JobLines(logging.Handler):
    """A line for each job that is done: its result and its seconds; each warning once.

    Where no line was said for a while, one for each of some jobs that go on.
    """

    def __init__(self, total):
        super().__init__()
        self.total, self.done = total, 0
        self.going, self.warned = {}, set()
        self.last, self.silence = time.time(), SILENCE

    @harmless
    def emit(self, record):
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_INFO:
            stamp = stamp_of(record.log[0]) if record.log else None
            self.going[record.jobid] = Going(record, stamp, time.time())
        elif event == LogEvent.JOB_ERROR:
            self.going.pop(record.jobid, None)
        elif event == LogEvent.JOB_FINISHED and record.job_id in self.going:
            self.finished(self.going.pop(record.job_id).job)

    def finished(self, job):
        if not job.log:  # a target
            return
        self.done += 1
        self.last, self.silence = time.time(), SILENCE
        result = last_result(job.log[0])
        place = f"[{self.done:{len(str(self.total))}}/{self.total}]"
        said(
            f"{place} {named(job.rule_name, job.wildcards)}: {result}{self.seconds(job)}"
        )
        for warning in warnings_of(job.log[0]):
            if warning not in self.warned:
                self.warned.add(warning)
                said(f"    Warning: {warning}")

    @harmless
    def pulse(self, now):
        """Say what goes on, if nothing was said for a while."""
        if now - self.last < self.silence:
            return
        self.last, self.silence = now, min(2 * self.silence, MOST_SILENCE)
        going = [one for one in list(self.going.values()) if one.job.log]
        states = {
            named(job.rule_name, job.wildcards): state_of(job.log[0], stamp, sent, now)
            for job, stamp, sent in going
        }
        begun = [f"{name}, {state}" for name, state in states.items() if state]
        lines = begun[:MOST_SAID]
        if len(begun) > MOST_SAID:
            lines.append(f"{len(begun) - MOST_SAID} more jobs go on")
        if waiting := len(states) - len(begun):
            lines.append(f"{waiting} {'job waits' if waiting == 1 else 'jobs wait'}")
        if lines:
            said("\n".join(f"    ... {line}" for line in lines))

    def beat(self):
        """Look once a second whether there is something to say; ends with the process."""
        pause = threading.Event()
        while not pause.wait(1):
            self.pulse(time.time())

    @staticmethod
    def seconds(job):
        try:
            fields = Path(job.benchmark).read_text().splitlines()[1].split("\t")
            return f" ({float(fields[0]):.0f} s)"
        except (OSError, TypeError, IndexError, ValueError):
            return ""  # a job without such a file


class Plan(logging.Handler):
    """What is said before the first job, and in place of jobs where there are none."""

    def __init__(self):
        super().__init__()
        self.planned = False

    @harmless
    def emit(self, record):
        if getattr(record, "event", None) == LogEvent.RUN_INFO and not self.planned:
            self.planned = True
            if not any(job.rule.name == "check" for job in workflow.dag.jobs):
                said("\n".join([plan(), *earlier_warnings()]))
        elif str(record.msg).startswith(NOTHING):
            if lines := results_there([out("atlas.h5ad"), out("report.html")]):
                said("\n".join(["Look at:", *lines]))


def plan():
    """Samples, cells, jobs, and a guess of the time."""
    jobs = [job for job in workflow.dag.needrun_jobs() if job.log]
    plural = "s" * (len(jobs) != 1)
    if not any(str(path).startswith(out("")) for job in jobs for path in job.output):
        return f"Plan: {len(jobs)} job{plural}."  # of a target with a sheet of its own
    numbers = [
        f"{len(names)} {what}"
        for names, what in ((REFERENCES, "reference"), (QUERIES, "query"))
        if names
    ]
    cells = known_cells()
    # A subset is known when its sample is read.
    unread = (n for n in SAMPLES if not os.path.exists(out(f"samples/{n}/counts.h5ad")))
    most = "at most " if any(SHEET[name]["subset"] for name in unread) else ""
    said_of_cells = f", {most}{cells:,} cells" if cells else ""
    counted = f"{len(jobs)} job{plural} for {len(SAMPLES)} sample"
    counted += "s" * (len(SAMPLES) != 1)
    return (
        f"Plan: {counted} ({', '.join(numbers)}){said_of_cells}; "
        f"{guess(jobs, cells)}."
    )


def earlier_warnings():
    """For a dry run, which looks at no file: what `check` and earlier runs found."""
    if not workflow.dryrun:
        return []
    logs = [str(job.log[0]) for job in workflow.dag.jobs if job.log]
    found = [line for log in logs for line in warnings_of(log)]
    if is_newest(log_of("check"), looked_at()):
        lines = read_log(log_of("check")).splitlines()
        found += [line for line in lines if line.startswith("Look at ")]
    lines = [f"    {line}" for line in dict.fromkeys(found)]
    return ["Warnings of earlier runs and of `check`:", *lines] if lines else []


def looked_at():
    """What `check` depends on: config, sheet, and the files that it names."""
    own = workflow.overwrite_configfiles or ["config/config.yaml"]
    files = [file for row in SHEET.values() for file in all_sources(row)]
    return [default_file(config["samples"]), *own, *files]


def is_newest(path, others):
    """Whether a file is there, and none of the others was changed after it."""
    there = [other for other in map(str, others) if os.path.exists(other)]
    return os.path.exists(path) and all(
        os.path.getmtime(path) >= os.path.getmtime(other) for other in there
    )


def guess(jobs, cells):
    """About how long the jobs take, if that can be said at all."""
    places = {job: i for i, job in enumerate(jobs)}
    planned = [
        Planned(
            job.rule.name,
            str(job.benchmark) if job.benchmark else None,
            [
                places[other]
                for other in workflow.dag.dependencies[job]
                if other in places
            ],
        )
        for job in jobs
    ]
    pace = Pace.from_config(config["prior"], config["denoise"])
    if not cells:
        return "no guess of the time: the number of cells is not known before they are read"
    unknown = unknown_rules(planned, pace)
    if 2 * sum(job.rule.name in unknown for job in jobs) > len(jobs):
        return "no guess of the time: most of these jobs have not been measured"
    cores = workflow._cores if workflow.local_exec else None
    minutes = in_words(guess_minutes(planned, cells, cores, pace))
    where = (
        f"on {cores} idle core{'s' * (cores != 1)}" if cores else "beside the queue's"
    )
    without = f", without {', '.join(unknown)}" if unknown else ""
    return f"a guess of the time: {minutes} {where}{without}"


def known_cells():
    """Cells of all samples, of those that were read or by the headers of their files, else None.

    In a process of its own, and not for long: files may be damaged, or far away.
    """
    paths, made = [], 0
    for name in SAMPLES:
        own, read = SHEET[name]["path"], out(f"samples/{name}/counts.h5ad")
        if (
            os.path.basename(own) in DEMO_CELLS
            and own.startswith(DEMO)
            and not os.path.exists(own)
        ):
            made += DEMO_CELLS[os.path.basename(own)]
        else:
            paths.append(read if os.path.exists(read) else own)
    command = [sys.executable, "-m", "dice_atlas.counts.sizes", *paths]
    try:
        asked = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        numbers = json.loads(asked.communicate(timeout=HEADER_PATIENCE)[0])
    except subprocess.TimeoutExpired:
        asked.kill()  # and no waiting: it may hang on a far file system
        return None
    except (OSError, ValueError):
        return None
    return None if None in numbers else sum(numbers, made)


def say_plan():
    """From here on our own first lines in place of Snakemake's."""
    output = workflow.output_settings
    if not output or output.verbose or output.quiet or not workflow.is_main_process:
        return
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(is_shown_first)
    logger.addHandler(Plan())


def say_progress():
    """From here on a line for each job in place of Snakemake's own."""
    output = workflow.output_settings
    if output.verbose or output.printshellcmds or output.quiet:
        return
    jobs = [job for job in workflow.dag.needrun_jobs() if job.log]
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(is_shown)
    lines = JobLines(len(jobs))
    logger.addHandler(lines)
    threading.Thread(target=lines.beat, daemon=True).start()


def results_there(paths):
    """A line for each of the files that is there, and for each export older than the atlas."""
    paths = list(dict.fromkeys(paths))
    lines = [f"    {path}" for path in paths if os.path.exists(path)]
    atlas = out("atlas.h5ad")
    return lines + [
        f"    {out(path)} is older than the atlas; to renew it: the target export_{name}"
        for name, path in EXPORTS.items()
        if atlas in paths
        and os.path.exists(out(path))
        and os.path.getmtime(out(path)) < os.path.getmtime(atlas)
    ]


def say_results():
    """Where the pages are that this run made, and how long it took."""
    made = [
        str(path)
        for job in workflow.dag.needrun_jobs(exclude_finished=False)
        for path in job.output
        if str(path).endswith(PAGES)
    ]
    pair = [out("atlas.h5ad"), out("report.html")]
    lines = results_there([*made, *(pair if set(pair) & set(made) else ())])
    seconds = time.time() - STARTED
    minutes, rest = divmod(round(seconds), 60)
    took = f"{minutes} min {rest} s" if minutes else f"{rest} s"
    said("\n".join([f"Done in {took}." + (" Look at:" if lines else ""), *lines]))


# A module's main Snakefile is the user's own: their lines stay as they are.
if CLONE and Path(workflow.main_snakefile).resolve() in (
    CLONE.resolve() / "Snakefile",
    CLONE.resolve() / "workflow/Snakefile",
):
    say_plan()
