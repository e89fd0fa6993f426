"""`palette train`: a prepared data set → a trained model.

Writes `model.safetensors` (EMA weights), `averages.safetensors` (those of `ema_widths`), `model.json`, `log.jsonl`.
"""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from palette.model.facts import Facts
from palette.model.finite import require_finite
from palette.system import devices
from palette.system.files import read_json, replacing, sha256
from palette.training.checkpoint import States
from palette.training.distributed import World, relaunch, world
from palette.training.loop import train
from palette.training.scratch import local
from palette.training.stream import Joined, open_images, stores_of
from palette.training.trainer import Trainer

if TYPE_CHECKING:
    from palette.stages.stage import Stage
    from palette.stages.train import TrainSpec


def run(stage: "Stage[TrainSpec]") -> None:
    """Train the model of `stage`, or resume its training; with several GPUs, under torchrun."""
    if relaunch(stage.spec.runtime.gpus, stage.path("spec.yaml")):
        return
    devices.use(stage.spec.runtime.threads)
    with world() as processes:
        if processes.leads:
            with States(state_folder(stage)).lock():
                _train_and_publish(stage, processes)
        else:
            _train_and_publish(stage, processes)


def state_folder(stage: "Stage[TrainSpec]") -> Path:
    """Return the folder of the states.
    It is outside the stage's folder, so that a longer training with its own spec finds it."""
    return stage.results / "state" / stage.spec.state_key


def _train_and_publish(stage: "Stage[TrainSpec]", processes: World) -> None:
    spec = stage.spec
    with ExitStack() as stack:
        stores = [stack.enter_context(open_images(_near(stage, role, stack), spec.mix)) for role in spec.sources]
        images = stores[0] if len(stores) == 1 else Joined(stores, list(spec.sources.values()))
        trainer = train(spec, images, state_folder(stage), processes)
    if processes.leads:
        publish(stage, trainer)


def _near(stage: "Stage[TrainSpec]", role: str, stack: ExitStack) -> Path:
    """Return the training store of a parent, or its copy in `scratch`, which exists as long as `stack` is open."""
    stores = [stage.parent(role, name) for name in stores_of(stage.spec.mix)]
    return stack.enter_context(local(stores, stores[0].with_name("card.json"), stage.spec.runtime.scratch))[0]


def publish(stage: "Stage[TrainSpec]", trainer: Trainer) -> None:
    """Write the stage's files, the card last."""
    write_weights(stage, trainer)
    with replacing(stage.path("averages.safetensors")) as temporary:  # empty without `ema_widths`
        save_file(trainer.averages_by_width(), temporary)
    model_facts(stage, trainer).write(stage.path("model.json"))
    with replacing(stage.path("log.jsonl")) as temporary:
        shutil.copyfile(state_folder(stage) / "log.jsonl", temporary)
    world, adopted = trainer.world, state_folder(stage) / "adopted.json"
    on_gpu = world.device.type == "cuda"
    stage.write_card(
        ["model.safetensors", "averages.safetensors", "model.json", "log.jsonl"],
        seed=stage.spec.seed,
        device=torch.cuda.get_device_name(world.device) if on_gpu else world.device.type,
        devices=world.size,
        training_seconds=round(trainer.seconds, 1),
        gpu_hours=round(trainer.seconds * world.size / 3600, 4) if on_gpu else 0.0,
        **({"adopted": read_json(adopted)} if adopted.exists() else {}),
    )


def write_weights(stage: "Stage[TrainSpec]", trainer: Trainer) -> None:
    """Write the EMA weights, float32, with the spec in the metadata, so that the file alone identifies them."""
    weights = trainer.averaged_weights()
    require_finite(weights.items(), stage.path("model.safetensors"))
    metadata = {"spec": stage.spec.model_dump_json(exclude={"runtime"})}  # one entry: the order of several is not fixed
    with replacing(stage.path("model.safetensors")) as temporary:
        save_file(weights, temporary, metadata)


def model_facts(stage: "Stage[TrainSpec]", trainer: Trainer) -> Facts:
    """Return the facts about the trained model, whose weights are written already."""
    spec = stage.spec
    return Facts(
        network=spec.network,
        objective=spec.objective,
        mix=dict(sorted(spec.mix.items())),
        image_size=spec.image_size,
        precision=spec.precision,
        attention_at=trainer.network.attention_at,
        parameters=sum(parameter.numel() for parameter in trainer.network.parameters()),
        step=trainer.step,
        images=trainer.step * spec.batch_size,
        sha256=sha256(stage.path("model.safetensors")),
    )
