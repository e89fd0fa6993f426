# The config becomes the plan (palette/planning/plan.py): one spec per stage. Each rule looks up its files there.
#
# A stage's folder carries the hash of everything that its result depends on, so an output that exists is up to date.
# Timestamps do not matter, hence `ancient` on every input.
import atexit
import os
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

from palette.errors import UserError
from palette.planning.config_file import read_yaml
from palette.planning.remaining import Made, Waits
from palette.running import forecast, resources
from palette.running.frozen import thaw
from palette.running.start import (
    end,
    jobs_use,
    page,
    plan_of,
    refuse_arrays,
    refuse_read_only,
    say_once,
    start,
    write_specs,
)
from palette.stages.listing import verbs
from palette.system.jobs import SUBMITTED, scheduler_job
from palette.system.progress import print_any_text

print_any_text()
jobs_use(str(checkout))
imported = not workflow.modifier.is_main_snakefile()


def or_stop(function, *arguments):
    """Call `function`; a UserError ends the run with its message, without a traceback."""
    try:
        return function(*arguments)
    except UserError as error:
        raise WorkflowError(str(error)) from None


if not workflow.configfiles and not imported:
    default = checkout / "config.yaml"
    # Unlike `configfile`, this reports file and line of a syntax error.
    or_stop(read_yaml, default)

    configfile: default


files = [] if imported else [Path(file) for file in workflow.configfiles]
# The `module` of another workflow may have a prefix, which Snakemake adds to the paths of rules, but not to parameters.
results = Path(config.get("results", "results"))
if imported:
    config = {**config, "results": str(workflow.modifier.modify_path(str(results)))}
if workflow.remote_exec and not imported:  # a job on a cluster
    plan = or_stop(thaw, results)
else:
    plan = or_stop(plan_of, files, config)
if imported and workflow.is_main_process:
    or_stop(write_specs, plan)  # a module's `onstart` is not run
if workflow.is_main_process:
    or_stop(refuse_read_only, plan)
waits = Waits(plan, Made(plan.results))
# With a hundred thousand inputs, joining strings is many times faster than joining paths.
start_of_paths = f"{results}/" if results.parts else ""


def spec_of(kind):
    return f"{plan.results}/{kind}/{{stage}}/spec.yaml"


def made(folder, shard=None):
    """Return all files that a stage writes."""
    return [results / file for file in plan.outputs(folder, shard)]


def awaited(folder, shard=None, again=False):
    """Return all files that a job of a stage waits for."""
    return [
        ancient(start_of_paths + file) for file in waits.inputs(folder, shard, again)
    ]


def needed(kind):
    """Return an input function: the files that a job of the stage in the wildcards waits for."""
    return lambda wildcards: awaited(
        f"{kind}/{wildcards.stage}", wildcards.get("shard"), forced(kind)
    )


def forced(kind):
    """Return True if finished jobs of a kind run again, by `--forceall` or by `--forcerun` with the name of their rule."""
    return workflow.dag_settings.forceall or kind in workflow.dag_settings.forcerun


def threads_of(kind):
    """Return the cores of a job: a number if all jobs of a kind agree, since Snakemake calls a function for each of them."""
    counts = {spec.runtime.threads for spec in plan.of_kind(kind)}
    if len(counts) == 1:
        return counts.pop()
    return lambda wildcards: plan.stages[f"{kind}/{wildcards.stage}"].runtime.threads


def gpus_of(kind):
    """Return a function for the GPUs per node; fewer than planned if `--resources gpu=N` allows no more."""
    return lambda wildcards, resources: resources.get(
        "gpu", plan.stages[f"{kind}/{wildcards.stage}"].runtime.gpus
    )


def launcher_of(kind):
    return lambda wildcards: resources.launcher(
        plan.stages[f"{kind}/{wildcards.stage}"], "SLURM_JOB_ID" in os.environ
    )


def asked(kind):
    """Return the resources of a kind's jobs. The executor is known only when they start."""
    return resources.asked(plan, kind, on_slurm=lambda: "slurm" in executor_name())


def executor_name():
    return workflow.executor_plugin.name if workflow.executor_plugin else ""


# A training may requeue the job that the workflow submitted for it, but not a job of the user's in which it runs. The
# plugin starts each job with a process of this executor, whose environment the other processes inherit.
if "slurm-jobstep" in sys.argv:
    os.environ[SUBMITTED] = scheduler_job()


# `… | into LOG` shows a job's output and logs it. Run by `sh`, because some ways of copying a checkout lose the
# executable bit.
into = quote(str(checkout / "workflow/bin/into"))
# A preempted job receives SIGTERM and is killed later. Until then its processes continue, and a training saves its state.
# A job that exited by itself would count as failed instead of being requeued.
trap = "trap '' TERM; " if "SLURM_JOB_ID" in os.environ else ""
shell.prefix('{trap}into() {{ sh {into} "$1"; }}; set -euo pipefail; ')


def to_make():
    """The files of the jobs of this run; none if it only prints the plan."""
    jobs = workflow.dag.needrun_jobs(exclude_finished=False)
    return {file for job in jobs for file in map(str, job.output)}


def tell_cost():
    """In a dry run, print what its jobs would cost."""
    if workflow.dryrun and workflow.scheduler:
        gpus = workflow.global_resources.get("gpu")
        if text := forecast.brief(plan, to_make(), gpus and gpus.value):
            say_once(f"\n{text}")


def begin(files):
    """Say what a change of code throws away, and begin; return the lock."""
    if text := forecast.lost(plan, files):
        say_once(f"\n{text}")
    return or_stop(start, plan)


# Snakemake calls none of its hooks in a dry run.
atexit.register(tell_cost)


wildcard_constraints:
    stage=r"[a-z0-9._+-]+",
    shard=r"\d+",
