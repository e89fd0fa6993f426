"""Functions for the Snakefile: the plan of its config, specs written before jobs start, and one run at a time."""

import getpass
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from palette.config import Config
from palette.config.scores import Score
from palette.costs import truth
from palette.data import external_outputs
from palette.data.masks import supplied
from palette.data.sources.files import Missing
from palette.data.sources.planned import downloads, incomplete, missing, survey
from palette.data.sources.registry import known, missing_list
from palette.data.sources.source import Survey
from palette.errors import ConfigError, UserError
from palette.planning.checks import read_config
from palette.planning.config_file import Places, read_yaml, refuse
from palette.planning.dataset_checks import too_few, unsplit
from palette.planning.experiments import choices
from palette.planning.plan import Plan
from palette.planning.remaining import Job, Made, done, remaining
from palette.running.frozen import freeze
from palette.running.limits import full_disk, keep_within_budget
from palette.scoring.extractors import WEIGHTS, require_packages, unable
from palette.scoring.weights import locate
from palette.stages.fetch import FetchSpec
from palette.system.files import sha256
from palette.system.locks import open_lock, take
from palette.system.progress import say


def _weights(config: Config, classes: Mapping[str, Sequence[str]]) -> dict[str, tuple[Path | None, str]]:
    """Return the pretrained weights that the config needs: extractor → (file or None, sha256)."""
    score, measured = config.score, {str(dataset) for e in config.experiments for dataset in choices(e)[0]}
    sizes = {dataset: config.datasets[dataset].prepare.image_size for dataset in measured}
    used = [kind for kind in score.extractors if any(unable(kind, sizes[d], classes.get(d)) is None for d in measured)]
    require_packages(used)
    return {kind: (_located(score, kind), WEIGHTS[kind].sha256) for kind in used if kind in WEIGHTS}


def _located(score: Score, kind: str) -> Path | None:
    try:
        return locate(WEIGHTS[kind], score.weights, score.download)
    except ConfigError:
        return None


def _digests(config: Config) -> dict[str, str]:
    """Return path → digest of the user's masks, lists of test images and weights to start from, if they exist."""
    masks = {task.masks: supplied.digest for task in config.tasks.values()}
    files = [dataset.prepare.test_list for dataset in config.datasets.values()]
    files += [model.train.start_from for model in config.models.values()]
    digests = {**masks, **dict.fromkeys(files, sha256)}
    return {str(path): digest(path) for path, digest in digests.items() if path and path.exists()}


def _to_fetch(plan: Plan) -> list[FetchSpec]:
    """Return the published datasets and listed files that a run will fetch. The graph is walked only if some are absent."""
    made = Made(plan.results)
    fetches = [spec for spec in plan.of_kind("fetch") if isinstance(spec, FetchSpec)]
    absent = [f for f in fetches if (f.known or f.fetch.files) and not done(plan, made, Job(f.folder))]
    to_run = remaining(plan, made) if absent else {}
    return [spec for spec in absent if spec.folder in to_run]


def missing_data(plan: Plan) -> list[Missing]:
    """Return the files of published datasets that a run will fetch and that the user must get by hand."""
    return [
        file
        for spec in _to_fetch(plan)
        for file in [*missing(spec, plan.results), *incomplete(spec, plan.short.get(spec.name, {}))]
    ]


def to_download(plan: Plan) -> list[str]:
    """Return a line for each file that a run will download: what it is, where it goes, and its size or address."""
    score = plan.config.score
    data = [line for spec in _to_fetch(plan) for line in downloads(spec, plan.results)]
    files = {kind: file for kind, (file, _) in plan.weights.items() if score.download and file and not file.is_file()}
    return [*data, *(f"weights of {kind}: {file} ({WEIGHTS[kind].url})" for kind, file in files.items())]


def to_supply(plan: Plan) -> list[str]:
    """Return what the user must supply before a run: data and lists, each with its datasets, weights, disk space."""
    files: dict[Path, list[Missing]] = {}
    for file in missing_data(plan):
        files.setdefault(file.path, []).append(file)
    data = [str(replace(same[0], dataset=", ".join(file.dataset for file in same))) for same in files.values()]
    lists: dict[Path, list[str]] = {}
    for spec in plan.of_kind("prepare"):
        test_list = plan.config.datasets[spec.name].prepare.test_list
        if test_list is not None and not test_list.exists():
            lists.setdefault(test_list, []).append(spec.name)
    names = [missing_list(", ".join(datasets), test_list) for test_list, datasets in lists.items()]
    return [*data, *names, *_missing_weights(plan), *full_disk(plan)]


def _missing_weights(plan: Plan) -> Iterator[str]:
    score = plan.config.score
    for kind in (kind for kind, (file, _) in plan.weights.items() if file is None):
        try:
            locate(WEIGHTS[kind], score.weights, score.download)
        except ConfigError as error:
            yield str(error)


def plan_of(files: Sequence[Path], raw: Mapping[str, Any] | None = None) -> Plan:
    """Return the plan of a config: of `raw`, which was merged from `files`, or of the last of `files` if `raw` is None.

    What must be supplied by hand is only reported, so that planning works without it; `start` then refuses to run.
    Raises ConfigError for every mistake in the config, and DataError for unpaired images in a dataset of pairs.
    """
    read = [read_yaml(file) for file in files]  # always: Snakemake's reader silently accepts duplicate keys
    config = read_config(raw if raw is not None else read[-1], files, on_this_machine=True)
    surveys = {name: _survey(config, name) for name in config.datasets}
    classes = {name: found.classes for name, found in surveys.items() if found.classes}
    refuse(list(too_few(config, surveys)), Places(files))
    plan = Plan(
        config,
        weights=_weights(config, classes),
        listings={name: found.digest for name, found in surveys.items() if found.digest},
        classes=classes,
        outputs_of={name: external_outputs.listing(found.path) for name, found in config.external_outputs.items()},
        pictures={name: found.pictures for name, found in surveys.items() if found.pictures is not None},
        digests=_digests(config),
        short={name: found.short for name, found in surveys.items() if found.short},
    )
    for note in (*unsplit(config, classes), *plan.notes):
        say(note)
    if lines := to_download(plan):
        say("To be downloaded:\n  " + "\n  ".join(lines))
    if lines := to_supply(plan):
        say("To be supplied by hand before a run can begin:\n  " + "\n  ".join(lines))
    return plan


def _survey(config: Config, name: str) -> Survey:
    """Return what is known of a dataset. Missing files of the user are errors already now, and unpaired images too."""
    fetch = config.datasets[name].fetch
    return survey(FetchSpec(name=name, fetch=fetch, known=known(config, fetch)), config.results)


def jobs_use(checkout: str) -> None:
    """Let jobs use the palette of `checkout` and this Python, whatever folder and shell the run was started from."""
    for name, place in (("PYTHONPATH", checkout), ("PATH", str(Path(sys.executable).parent))):
        os.environ[name] = os.pathsep.join(filter(None, [place, os.environ.get(name)]))
    os.environ["PYTHONSAFEPATH"] = "1"  # ignore a folder `palette` where the run was started
    try:
        getpass.getuser()
    except (KeyError, OSError):  # no entry in passwd, as in some containers; Snakemake and torch ask for a name
        os.environ["USER"] = str(os.getuid())


ELSEWHERE = "Let this user write there, or name another folder: `snakemake --config results=/path/to/folder`."


def start(plan: Plan) -> int:
    """Lock the results folder for this run, and write the specs of all stages and the plan; return the lock's descriptor.

    Raises ConfigError if files must be supplied by hand (a dry run only reports them), or if the folder cannot be
    written or another run holds it. Above the config's budget, the user is asked: ConfigError if the answer is no, or
    if no user can be asked. The kernel frees the lock however the run ends, so nothing is left after `kill -9`.
    """
    if lines := to_supply(plan):
        raise ConfigError("these must be supplied by hand:\n  " + "\n  ".join(lines))
    try:
        plan.results.mkdir(parents=True, exist_ok=True)
        descriptor = open_lock(plan.results / ".lock")
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written ({error.strerror}). {ELSEWHERE}") from None
    if take(descriptor, plan.results / ".lock") is False:
        raise ConfigError(f"{plan.results}: another snakemake is running in this folder. Wait for it, or stop it.")
    keep_within_budget(plan)
    write_specs(plan)
    freeze(plan)
    return descriptor


def refuse_arrays(executor: Any) -> None:
    """Raise ConfigError if Slurm jobs would be submitted as arrays. executor: the settings of the executor's plugin.

    The plugin drops a batch that is smaller than the number of ready jobs of its rule, and Snakemake waits for it forever.
    """
    if getattr(executor, "array_jobs", None):
        raise ConfigError(
            f"slurm-array-jobs: {executor.array_jobs}: the run would hang as soon as more shards are ready than `jobs` allows. "
            "Remove it from the profile or the command line. For fewer and longer jobs, raise `shard_size` in the config."
        )


def refuse_read_only(plan: Plan) -> None:
    """Raise ConfigError if pages are out of date in results that cannot be written: Snakemake would list their files."""
    made = Made(plan.results)
    old = [s for s in (*plan.tables, plan.report) if made.names(s.folder) and not done(plan, made, Job(s.folder))]
    if old and not os.access(plan.results, os.W_OK):
        raise ConfigError(f"{plan.results}: cannot be written, and {old[0].name} is out of date. {ELSEWHERE}")


def write_specs(plan: Plan) -> None:
    """Write the spec of each stage into its folder, for the jobs to read."""
    for spec in plan.stages.values():
        spec.write(plan.results)


def page(plan: Plan) -> Path:
    """Return the path of the report's first page."""
    return plan.results / plan.report.folder / "index.html"


@cache
def say_once(message: str) -> None:
    """Print a message only once: Snakemake reads a module again for each `use rule`."""
    say(message)


def end(plan: Plan, hook: str | None, logs: Sequence[str]) -> None:
    """Finish a run, however it went: write the page of its cost, run the hook. logs: Snakemake's files, its own first."""
    try:
        truth.write_page(plan)
    except (OSError, UserError) as error:
        say(f"{page(plan).with_name(truth.PAGE)}: not written ({error})")
    run_hook(hook, plan, logs[0] if logs else "")


def run_hook(command: str | None, plan: Plan, log: str) -> None:
    """Run a command of the config's `hooks`, if there is one. A failure is only reported. log: Snakemake's, of this run."""
    if command is None:
        return
    places = {"PALETTE_RESULTS": plan.results.absolute(), "PALETTE_PAGE": page(plan).absolute(), "PALETTE_LOG": log}
    environment = {**os.environ, **{name: str(place) for name, place in places.items()}}
    ended = subprocess.run(command, shell=True, env=environment, check=False)
    if ended.returncode:
        say(f"hooks: `{command}` ended with code {ended.returncode}")
