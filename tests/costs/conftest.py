"""A small plan, and a results folder in which its stages look finished."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from palette.config import Config
from palette.planning.plan import Plan
from palette.planning.remaining import jobs_of
from palette.stages.fingerprint import digests
from palette.stages.train import TrainSpec

RAW: dict[str, Any] = {
    "datasets": {"photos": {"prepare": {"image_size": 16, "train_images": 64, "test_images": 10}}},
    "tasks": {"jpeg": {"degradation": "jpeg"}, "hole": {"degradation": "inpainting"}},
    "models": {"palette": {"network": {"channels": 8, "multipliers": [1, 2]}, "train": {"steps": 1000}}},
    "samplers": {"dpm": {"steps": 4}},
    "sample": {"shard_size": 4},
    "score": {"shard_size": 8},
    "experiments": [{"dataset": "photos", "task": ["jpeg", "hole"], "model": "palette", "sampler": "dpm"}],
    "report": {"gallery_images": 0},
}
FLOPS = 10**9
PARAMETERS, IMAGE_BYTES = 10**6, 10**8
NOW = datetime(2026, 1, 1, tzinfo=UTC)

Make = Callable[..., Plan]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A plan of `RAW` with other sections; its networks take `FLOPS`, `PARAMETERS` and `IMAGE_BYTES`, without being counted."""
    monkeypatch.setattr("palette.model.flops.flops", lambda *_: FLOPS)
    monkeypatch.setattr("palette.model.flops.training_flops", lambda *_: 3 * FLOPS)
    monkeypatch.setattr("palette.costs.estimate.parameters", lambda *_: PARAMETERS)
    monkeypatch.setattr("palette.costs.estimate.image_bytes", lambda *_: IMAGE_BYTES)

    def made(**changes: Any) -> Plan:
        return Plan(Config.model_validate({**RAW, "results": tmp_path / "results", **changes}))

    return made


def finish(
    plan: Plan,
    seconds: float = 10,
    device: str = "cpu",
    modules: dict[str, str] | None = None,
    began: datetime = NOW,
    training_seconds: Callable[[TrainSpec], float] | None = None,
) -> None:
    """Let every stage look made: empty files, and cards that tell of `seconds`, one job after the other from `began` on."""
    end = began
    for spec in plan.stages.values():
        spec.write(plan.results)
        for job in jobs_of(plan, spec.folder):
            end += timedelta(seconds=seconds)
            *artifacts, card = plan.outputs(job.folder, job.shard)
            facts = {
                "spec": spec.hash,
                "modules": digests(f"palette.stages.{spec.kind}") | (modules or {}),
                "artifacts": {file.rpartition("/")[2]: {} for file in artifacts},
                "seconds": seconds,
                "finished": end.isoformat(),
                "device": device,
                **(
                    {"training_seconds": training_seconds(spec)}
                    if isinstance(spec, TrainSpec) and training_seconds
                    else {}
                ),
            }
            for file in artifacts:
                (plan.results / file).parent.mkdir(parents=True, exist_ok=True)
                (plan.results / file).write_bytes(b"made")
            (plan.results / card).write_text(json.dumps(facts))
