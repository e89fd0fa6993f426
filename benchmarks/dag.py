"""`python -m benchmarks.dag`: time and memory that Snakemake needs to find out what to do, against a plain Snakefile.

For each number of jobs: a dry run before anything is made, and a run after everything is made. Measures CPU time (user
and system) and peak memory of the whole process, including imports. The plain Snakefile has as many jobs, each with one
input, one output and a log, which is the minimum for a workflow.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import parser, write
from palette.planning.plan import Plan
from palette.running.start import plan_of

CHECKOUT = Path(__file__).parents[1]
SHARDS = 20
EXPERIMENTS = (44, 435, 870, 1000)
"""Numbers of experiments. With 20 shards: about 1,000, 10,000 and 20,000 jobs, and the size that the project promises.
"""

TINY: dict[str, Any] = {
    "datasets": {"photos": {"prepare": {"image_size": 16, "train_images": 64}}},
    "tasks": {"colorization": {"degradation": "colorization"}, "inpainting": {"degradation": "inpainting"}},
    "models": {"palette": {"network": {"channels": 8, "multipliers": [1, 2], "attention": [8], "head_channels": 8}}},
    "samplers": {"dpm4": {"steps": 4}},
    "report": {"gallery_images": 0},
}

PLAIN = """
rule all:
    input: [f"made/group-{g}" for g in range(%(groups)d)]
rule start:
    output: "made/start"
    log: "logs/start"
    shell: "echo {output} 2> {log}"
rule work:
    input: "made/start"
    output: "made/{group}/{shard}"
    log: "logs/{group}-{shard}"
    shell: "echo {output} 2> {log}"
rule gather:
    input: lambda w: [f"made/{w.group}/{s}" for s in range(%(size)d)]
    output: "made/group-{group}"
    log: "logs/{group}"
    wildcard_constraints: group=r"\\d+"
    shell: "echo {output} 2> {log}"
"""

LAUNCH = """
import json, resource, subprocess, sys
run = subprocess.run(sys.argv[1:], stdout=sys.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
sys.exit(run.returncode)
"""
"""A small process that runs a command: right after the fork, a process still has the peak memory of its parent."""


def config(experiments: int, shards: int, results: Path) -> dict[str, Any]:
    """Return a config of so many experiments, each with its own training and `shards` shards of samples."""
    rows = {"dataset": "photos", "task": list(TINY["tasks"]), "model": "palette", "sampler": "dpm4"}
    prepare = TINY["datasets"]["photos"]["prepare"] | {"test_images": 4 * shards}
    return {
        **TINY,
        "results": str(results),
        "datasets": {"photos": {"prepare": prepare}},
        "sample": {"shard_size": 4, "batch_size": 4},
        "experiments": [{**rows, "seed": list(range(-(-experiments // 2)))}],
    }


@dataclass(frozen=True)
class Case:
    """A Snakefile in a folder, and all files that it makes."""

    folder: Path
    snakefile: Path
    options: tuple[str, ...]
    files: list[Path]

    def snakemake(self, *arguments: str) -> dict[str, float]:
        """Return CPU seconds and peak MiB of one run."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(self.snakefile), *self.options, *arguments]
        run = subprocess.run([sys.executable, "-c", LAUNCH, *command], cwd=self.folder, capture_output=True, text=True)
        if run.returncode:
            sys.exit(run.stderr[-2000:])
        seconds, peak = json.loads(run.stdout)
        return {"seconds": seconds, "peak_mib": peak}

    def measure(self) -> dict[str, Any]:
        """Measure a dry run before anything is made, then a run after everything is made."""
        fresh = self.snakemake("-n", "--quiet", "all")
        for folder in {file.parent for file in self.files}:
            folder.mkdir(parents=True, exist_ok=True)
        for file in self.files:
            file.touch()
        return {"fresh": fresh, "nothing to do": self.snakemake("--cores", "2")}


def ours(folder: Path, experiments: int, shards: int) -> tuple[Case, int]:
    """Return our workflow and the number of its jobs."""
    file = folder / "config.yaml"
    file.write_text(json.dumps(config(experiments, shards, folder / "results")))
    plan = plan_of([file])
    files = [plan.results / output for stage in plan.stages for output in plan.outputs(stage)]
    return Case(folder, CHECKOUT / "Snakefile", ("--configfile", str(file)), files), jobs(plan)


def jobs(plan: Plan) -> int:
    """Return the number of jobs of a plan, including the target `all`."""
    scattered = sum(len(spec.shards) for kind in ("sample", "features") for spec in plan.of_kind(kind))
    return 1 + scattered + sum(spec.kind not in ("sample", "features") for spec in plan.stages.values())


def plain(folder: Path, count: int) -> Case:
    """Return a Snakefile of `count` jobs: groups of shards that are gathered."""
    groups = max(1, (count - 2) // (SHARDS + 1))
    snakefile = folder / "Snakefile"
    snakefile.write_text(PLAIN % {"groups": groups, "size": SHARDS})
    made = folder / "made"
    files = [made / "start", *(made / f"{g}/{s}" for g in range(groups) for s in range(SHARDS))]
    # In the order in which a run would make them, because the plain Snakefile compares times.
    return Case(folder, snakefile, ("--scheduler", "greedy"), [*files, *(made / f"group-{g}" for g in range(groups))])


def compare(experiments: int, shards: int) -> dict[str, Any]:
    """Measure both at one size."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        case, count = ours(Path(first), experiments, shards)
        found = {"experiments": experiments, "jobs": count, "ours": case.measure()}
        found["plain"] = plain(Path(second), count).measure()
    for run, facts in found["ours"].items():
        floor = found["plain"][run]
        print(
            f"{count:6,} jobs, {run}: {facts['seconds']:.1f} s and {facts['peak_mib']:.0f} MiB; "
            f"plain Snakefile {floor['seconds']:.1f} s and {floor['peak_mib']:.0f} MiB",
            flush=True,
        )
    return found


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument(
        "--experiments", type=int, nargs="+", help=f"numbers of experiments to measure (default: {EXPERIMENTS})"
    )
    arguments = options.parse_args(argv)
    sizes = arguments.experiments or ([2] if arguments.quick else EXPERIMENTS)
    found = {f"{size} experiments": compare(size, 2 if arguments.quick else SHARDS) for size in sizes}
    settings = {"shards": SHARDS, "snakemake": version("snakemake"), "measured": "user + system CPU time"}
    write(arguments.results, "dag", torch.device("cpu"), settings, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
