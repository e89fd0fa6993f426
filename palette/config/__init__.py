"""Every option of the workflow, once: name, type, range, default, meaning. A module for each part of the config.

The JSON schema for editors (`workflow/schemas/config.schema.json`) and the reference in `docs/config.md` are generated from
these classes. Reading a config file, with all its mistakes reported at once, is in `palette/planning/config_file.py`.
"""

from pathlib import Path

from pydantic import Field

from palette.config.cluster import Budget, Cluster, Hooks
from palette.config.datasets import Dataset, KnownDataset
from palette.config.models import Model, Outputs
from palette.config.options import Name, Options
from palette.config.sampling import Experiment, Sample, Sampler
from palette.config.scores import Report, Score, Table
from palette.config.tasks import Task


class Config(Options):
    """The whole workflow: what exists (datasets, tasks, models, samplers), what is run (experiments), what comes out (tables)."""

    results: Path = Path("results")
    """Folder of everything that is made."""
    datasets: dict[Name, Dataset] = Field(min_length=1)
    """Images, by name."""
    tasks: dict[Name, Task] = Field(min_length=1)
    """Degradations and how they are evaluated, by name."""
    external_outputs: dict[Name, Outputs] = {}
    """Images made by other methods, by name: rows that are scored as models are."""
    models: dict[Name, Model] = {}
    """Networks with their objective and training, by name."""
    samplers: dict[Name, Sampler] = {}
    """Ways to sample, by name."""
    sample: Sample = Sample()
    """Options of every sampling job."""
    score: Score = Score()
    """Feature networks and statistics."""
    experiments: tuple[Experiment, ...] = Field(min_length=1)
    """The rows: dataset × task × model × sampler × seed."""
    tables: dict[Name, Table] = {"scores": Table()}
    """The tables made from them, by name: `snakemake NAME` makes one of them, `snakemake tables` all."""
    report: Report = Report()
    """The pages made from it all."""
    registry: dict[Name, KnownDataset] = {}
    """Further published datasets, or other facts of known ones, by name."""
    cluster: Cluster = Cluster()
    """Requests of jobs to a cluster. Changes no result."""
    hooks: Hooks = Hooks()
    """Commands at the end of a run."""
    budget: Budget | None = None
    """Limit on the GPU-hours of a run. Changes no result."""
