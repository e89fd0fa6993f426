"""`palette train -c FILE` for a config, of the workflow or of the unofficial code, instead of a stage's spec.

What training needs is made in this process, in the results folder that `snakemake` would use, which then finds it done.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from palette.errors import ConfigError
from palette.system.progress import say

if TYPE_CHECKING:
    from palette.planning.plan import Plan
    from palette.stages.base import Spec


def run(file: Path, experiment: str | None, gpus: int | None) -> None:
    """Train the model of one experiment, which may be left out if the config trains only one model.

    gpus: use at most this many of the GPUs that the config requests. Raises ConfigError for a file that is not a
    config, and for an experiment that does not exist or needs no training.
    """
    from palette.costs import text
    from palette.costs.gpus import here
    from palette.costs.losses import losses
    from palette.interop.upstream_json import is_upstream_config
    from palette.running.start import plan_of

    config = _translated(file) if file.is_file() and is_upstream_config(file) else file
    plan = plan_of([config])
    folder = _train_folder(plan, config, experiment)
    if lost := text.lost(losses(plan, [folder], here())):
        print("\n".join(lost))
    _make(plan, plan.stages[folder], gpus)
    print(f"{plan.results / folder / 'model.safetensors'}\nTo sample and score: snakemake --configfile {config}")


def _translated(file: Path) -> Path:
    """Convert a JSON config to a YAML config, next to the weights that it starts from; return its path."""
    from palette.system.files import write_text

    folder = Path("results/imported")
    # Imported by name, so that the command line as a whole does not depend on torch.
    result = import_module("palette.interop.upstream_config").convert_file(file, folder / file.stem, must_resume=True)
    config = folder / f"{file.stem}.yaml"
    write_text(config, result.text(file))
    say(f"{result.report()}\n{file} as a config of the workflow: {config}")
    return config


def _train_folder(plan: "Plan", config: Path, experiment: str | None) -> str:
    """Return the folder of the requested train stage. Raises ConfigError if it does not exist or is ambiguous."""
    from palette.planning.config_file import closest

    trained = {row.experiment: row.training for row in plan.rows if row.training}
    names = "".join(f"\n  {name}" for name in trained)
    if experiment in trained:
        return trained[experiment]
    if experiment is not None:
        known = any(row.experiment == experiment for row in plan.rows)
        fault = "needs no training." if known else f"no such experiment.{closest(experiment, trained)}"
        raise ConfigError(f"--experiment {experiment}: {fault} In {config}, these are trained:{names}")
    if not trained:
        raise ConfigError(f"{config}: no model is trained.")
    folders = set(trained.values())
    if len(folders) > 1:
        raise ConfigError(f"{config}: {len(folders)} models are trained. Say which with --experiment:{names}")
    return folders.pop()


def _make(plan: "Plan", spec: "Spec", gpus: int | None) -> None:
    """Run the stage `spec` after its parents, unless all of its outputs exist."""
    from palette.stages.stage import Stage
    from palette.system.gpu_lease import lease

    if all((plan.results / output).exists() for output in plan.outputs(spec.folder)):
        say(f"{spec.folder}: done")
        return
    for parent in spec.parents.values():
        _make(plan, plan.stages[parent], gpus)
    say(f"{spec.folder}: {spec.verb}")
    os.environ.setdefault("OMP_NUM_THREADS", str(spec.runtime.threads))
    with lease(spec.runtime.gpus if gpus is None else min(gpus, spec.runtime.gpus)):
        Stage.read(spec.write(plan.results)).run()
