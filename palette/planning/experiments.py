"""Rows that the experiments of a config stand for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from palette.config import Config
from palette.config.models import Model
from palette.config.sampling import Experiment, Sampler


@dataclass(frozen=True)
class Single:
    """Experiment with one value in every field."""

    dataset: str
    task: str | None
    model: str
    sampler: str | None
    seed: int
    steps: int | None = None
    """Steps of the training, if they are not the model's own."""
    trained: bool = True
    """Whether the model is defined under `models`; baselines and external outputs have no training and no seed."""

    @property
    def name(self) -> str:
        """Name in tables, folders and messages: `photos-jpeg-palette-sde20-s0`, `…-s0-at100`."""
        parts = [self.dataset, self.task, self.model, self.sampler]
        if self.trained:
            parts += [f"s{self.seed}", f"at{self.steps}" if self.steps else None]
        return "-".join(filter(None, parts))


def choices(experiment: Experiment) -> list[tuple[object, ...]]:
    """Return the values of each field of an experiment, in the order of the fields of `Single`."""
    values = [getattr(experiment, field) for field in ("dataset", "task", "model", "sampler", "seed", "steps")]
    return [value if isinstance(value, tuple) else (value,) for value in values]


def expand(experiment: Experiment, models: Mapping[str, Model]) -> Iterator[Single]:
    """Yield the rows that one entry of `experiments` stands for."""
    for dataset, task, model, sampler, seed, steps in product(*choices(experiment)):
        # Baselines and external outputs have no randomness and no training: one row, whatever the seeds and steps.
        trained = model in models
        own = not trained or models[model].train.steps == steps  # type: ignore[index]
        yield Single(dataset, task, model, sampler, seed if trained else 0, None if own else steps, trained)  # type: ignore[arg-type]


def singles(config: Config) -> list[Single]:
    """Return all experiments, once each, in the order of the config."""
    return list(dict.fromkeys(single for entry in config.experiments for single in expand(entry, config.models)))


def evaluations(model: Model, sampler: Sampler | None) -> int:
    """Return the NFE: how often the network runs for one image."""
    return 1 if model.objective.kind == "regression" or sampler is None else sampler.evaluations
