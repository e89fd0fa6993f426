"""Conversion of the unofficial code's JSON configs to ours, listing every setting that is not supported here.

The network keeps its shape and still predicts ε. A training from random weights uses our noise-level embedding; one
that resumes from a checkpoint keeps γ, on which the weights were trained.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from palette.config import Config
from palette.config.options import MOST
from palette.errors import ConfigError
from palette.interop.converted import Converted
from palette.interop.upstream_images import TEST, TRAIN, Images, images_of
from palette.interop.upstream_json import NETWORK, TASKS, UNET, Upstream

MODEL = "model.which_model.args"
MODEL_NAME = "palette"
NO_CLIP = 1e9
"""Norm that no gradient reaches: the unofficial code does not clip."""

CLASSES = {
    f"{TRAIN}.which_dataset.name": ("data.dataset", tuple(TASKS)),
    f"{TEST}.which_dataset.name": ("data.dataset", tuple(TASKS)),
    "model.which_model.name": ("models.model", ("Palette",)),
    "model.which_networks.0.name": ("models.network", ("Network",)),
}
"""Path of a class name → module of the unofficial code, and its classes that are supported here."""
LOSSES = {"mse_loss": "l2", "MSELoss": "l2", "l1_loss": "l1", "L1Loss": "l1"}
LOSS_MODULES = ("", "models.loss", "palette.models.loss", "torch.nn", "torch.nn.functional")
WITHOUT_EFFECT = {
    "finetune_norm": "nothing there reads it",
    "model.which_optimizers": "nothing there reads it",
    "model.which_lr_schedulers": "nothing there reads it",
    "debug": "read there only with -d",
}
OWN_WAY = {
    "path": "everything goes into the folder `results`",
    "train.log_iter": "the log has intervals of its own",
    "train.tensorboard": "needs the package tensorboard, which is not installed",
    "datasets.train.dataloader.args": "the order of the images follows from the seed, and every batch is full",
    "datasets.train.dataloader.val_args": "validation measures the loss of the averaged weights",
    "datasets.test.dataloader": "changes no image; see `sample`",
    f"{MODEL}.sample_num": "the states in between are not kept; `sample.draws` are samples of the same input",
    f"{NETWORK}.init_type": "weights start as ADM's do, residual branches at zero",
    f"{UNET}.image_size": "the images' size counts",
    f"{UNET}.use_checkpoint": "see `train.recompute`",
    f"{UNET}.use_fp16": "has no effect there; see `train.precision`",
}


def resume_state(source: Upstream) -> Path | None:
    """Return the prefix of the checkpoint from which training resumes: `…/checkpoint/200`; None if there is none."""
    prefix = source.get("path.resume_state", str, "")
    return Path(prefix) if prefix else None


def convert(source: Upstream, start: Path | None = None) -> Converted:
    """Convert a JSON config to an equivalent config here. start: the weights imported from its `resume_state`.

    Raises ConfigError for values of a wrong type, and for an unknown task or network.
    """
    result = Converted({})
    for path, (module, classes) in CLASSES.items():
        found = source.class_of(path)
        if found not in ("", *classes, *(f"{place}{module}.{name}" for name in classes for place in ("", "palette."))):
            raise ConfigError(_own_class(source, path, found, classes))
    images = images_of(source, result)
    task = _task(source)
    name = _name(source)
    sampler, options = _sampler(source, result)
    seed = _seed(source, result)
    result.config = {
        "results": "results",
        "datasets": {name: {"fetch": images.fetch, "prepare": images.prepare()}},
        "tasks": {task: _evaluation(source, task, result)},
        "models": {
            MODEL_NAME: {
                "network": _network(source, images.side, start, result),
                "objective": {"kind": "epsilon", "loss": _loss(source, result)},
                "train": _train(source, images, start, result),
            }
        },
        "samplers": {sampler: options},
        "experiments": [
            {"dataset": name, "task": task, "model": MODEL_NAME, "sampler": sampler, "seed": seed},
        ],
        "score": {"extractors": ["photos", "pixels"]},
        "tables": {name: {"title": source.get("name", str, name), "columns": ["psnr", "ssim"]}},
    }
    resume_state(source)  # mark as read; the caller handles it
    if metrics := source.get("model.which_metrics", list, []):
        named = ", ".join(source.class_of(f"model.which_metrics.{index}") for index in range(len(metrics)))
        result.not_honored.append(f"model.which_metrics: {named}: not measured here; scores are columns of `tables`.")
    result.not_honored += _leftovers(source)
    result.notes.append(
        "After training, `snakemake` samples and scores. The feature network `photos` needs sub-folders of images as classes; without "
        "them, PSNR and SSIM alone are measured. FID needs `score: {extractors: [inception], weights: FOLDER}`."
    )
    _require_valid(source, result)
    return result


def _own_class(source: Upstream, path: str, found: str, known: Iterable[str]) -> str:
    return (
        f"{source.file}: {path}: {found} is none of {', '.join(known)}, so it cannot be converted. If it does the same, name that one "
        "instead. Otherwise write a config of ours: docs/config.md has every option, and `source: pairs` with the task `paired` "
        "takes any two folders of images."
    )


def _require_valid(source: Upstream, result: Converted) -> None:
    """Raise ConfigError if the converted config is not valid."""
    try:
        Config.model_validate(result.config)
    except ValidationError as error:
        faults = [f"\n  {'.'.join(map(str, e['loc']))}: {e['msg']} (given: {e['input']!r})." for e in error.errors()]
        raise ConfigError(f"{source.file}: values that are not possible here, by our names:{''.join(faults)}") from None


def _name(source: Upstream) -> str:
    """Return the JSON's `name` as a valid name here."""
    name = re.sub(r"[^a-z0-9._-]+", "-", source.get("name", str, "").lower())[:40].strip("._-")
    return name or "images"


def _seed(source: Upstream, result: Converted) -> int:
    seed = source.get("seed", int, -1)
    if seed < 0:
        result.not_honored.append(
            f"seed: {seed} means another one in every run; here it is 0, and every run gives the same."
        )
    return max(seed, 0)


def _leftovers(source: Upstream) -> list[str]:
    """Return a line for each group of options that the conversion did not use, with the reason if known."""
    ways, paths = WITHOUT_EFFECT | OWN_WAY, defaultdict(list)
    for path in source.left():
        known = next((known for known in ways if path == known or path.startswith(f"{known}.")), "")
        paths[known].append(path)
    lines = [f"{path}: unknown here." for path in paths.pop("", [])]
    for known, found in paths.items():
        inner = ", ".join(path.removeprefix(f"{known}.") for path in found if path != known)
        lines.append(f"{known}{f' ({inner})' if inner else ''}: {ways[known]}.")
    return lines


def _task(source: Upstream) -> str:
    if source.task is None or not source.dataset:
        raise ConfigError(f"{source.file}: {TRAIN}.which_dataset.name: missing. It is one of {', '.join(TASKS)}.")
    source.pass_over(f"{MODEL}.task")
    return source.task


def _evaluation(source: Upstream, task: str, result: Converted) -> dict[str, str]:
    """Return the task's config entry. Masks are drawn as in the paper, whatever the JSON says."""
    if task not in ("inpainting", "uncropping"):
        return {"degradation": task}
    trained, tested = (f"{phase}.which_dataset.args.mask_config" for phase in (TRAIN, TEST))
    source.pass_over(f"{trained}.shape", f"{tested}.shape")
    mode = source.get(f"{tested}.mask_mode", str, "center" if task == "inpainting" else "manual")
    mask = "right" if task == "uncropping" else "center" if mode == "center" else "free-form-20-30"
    result.not_honored.append(
        f"{trained}: {source.get(f'{trained}.mask_mode', str, 'none')!r} masks are not those of here, which are drawn as in the paper."
    )
    if mode != "center":
        result.not_honored.append(f"{tested}: evaluated with mask `{mask}`, the same for every model, not {mode!r}.")
    return {"degradation": task, "mask": mask}


# -------------------------------------------------------------------------------------------------- model


def _network(source: Upstream, side: int, start: Path | None, result: Converted) -> dict[str, Any]:
    """Return the options of the same network. Attention resolutions follow the image size, as the weights of sr3 do."""
    if (source.unet("in_channel", int, 6), source.unet("out_channel", int, 3)) != (6, 3):
        raise ConfigError(
            f"{source.file}: {UNET}: networks here take 6 channels, the condition and the image, and give 3."
        )
    multipliers = source.multipliers
    if any(not float(multiplier).is_integer() or multiplier < 1 for multiplier in multipliers):
        raise ConfigError(
            f"{source.file}: {UNET}.channel_mults: {list(multipliers)}; whole numbers from 1 are possible here."
        )
    if not source.is_sr3 and multipliers[0] != 1:
        result.not_honored.append(f"{UNET}.channel_mults: the first convolution has {source.channels} channels here.")
    for option, value in (("use_scale_shift_norm", True), ("resblock_updown", True), ("with_noise_level_emb", True)):
        if source.unet(option, bool, value) is not value:
            result.not_honored.append(f"{UNET}.{option}: always {str(value).lower()} here.")
    source.pass_over(f"{UNET}.use_new_attention_order", f"{UNET}.conv_resample")  # meaningless for random weights
    attention = [side >> level for level, attends in enumerate(source.attending) if attends]
    if not attention:
        reach = f"1 to {1 << (len(multipliers) - 1)}" if not source.is_sr3 else "the sides of its levels"
        result.notes.append(
            f"{UNET}.attn_res: {source.get(f'{UNET}.attn_res', list, [])} meets no level of this network ({reach}), so only its "
            "middle attends, there as here. Resolutions with attention are `attention` here, in pixels."
        )
    widest = source.channels * int(max(multipliers))
    network = {
        "backbone": "sr3" if source.is_sr3 else "adm",
        "channels": source.channels,
        "multipliers": [int(multiplier) for multiplier in multipliers],
        "blocks": source.blocks,
        "attention": attention,
        "head_channels": widest if source.is_sr3 or source.one_head else _head_channels(source, result, widest),
        "noise_embedding": "gamma" if start else "log-snr",
        "groups": source.norm_groups,
        "dropout": source.dropout,
    }
    if start is None:
        result.notes.append(
            "model: the network is told the noise level as log-SNR, not as γ, which leaves all high levels alike. To train on "
            "from a checkpoint, set path.resume_state, or import it and name it in `train.start_from`."
        )
    return network


def _head_channels(source: Upstream, result: Converted, widest: int) -> int:
    said, heads = source.unet("num_head_channels", int, -1), source.count(f"{UNET}.num_heads", 1)
    if said != -1:
        return said
    result.not_honored.append(
        f"{UNET}.num_heads: {heads}; heads have the same channels at every level here, {widest // heads}."
    )
    return max(widest // heads, 1)


def _loss(source: Upstream, result: Converted) -> str:
    path = "model.which_losses"
    source.get(path, list, [])
    found = source.class_of(f"{path}.0") or "mse_loss"
    module, _, name = found.rpartition(".")
    if name not in LOSSES or module not in LOSS_MODULES:
        raise ConfigError(_own_class(source, path, found, LOSSES))
    if source.task in ("inpainting", "uncropping"):
        result.not_honored.append(
            f"{path}: the mean over the hole; there, over the image, so that a large hole weighs more."
        )
    return LOSSES[name]


def _train(source: Upstream, images: Images, start: Path | None, result: Converted) -> dict[str, Any]:
    """Return the training options, converting counts of images per GPU to optimizer steps."""
    loader = f"{TRAIN}.dataloader"
    gpus = max(len(source.get("gpu_ids", list, [0])), 1)
    per_gpu = source.count(f"{loader}.args.batch_size", 1)
    validation = _validation(source, images)
    epoch = max((images.train - validation) // (per_gpu * gpus), 1) if images.train else None
    train: dict[str, Any] = {
        "steps": _steps(source, per_gpu, epoch, result),
        "batch_size": per_gpu * gpus,
        "learning_rate": _learning_rate(source, result),
        "warmup": 0,
        "ema": _ema(source, result),
        "clip": NO_CLIP,
        "flip": False,
        "gpus": gpus,
        "threads": max(source.get(f"{loader}.args.num_workers", int, 1), 1),
    }
    if validation:
        train["validation_images"] = validation
    saving, validating = source.get("train.save_checkpoint_epoch", int, 1), source.get("train.val_epoch", int, 1)
    if epoch:
        train |= {"checkpoint_every": _within(saving * epoch), "validate_every": _within(validating * epoch)}
    else:
        result.not_honored.append(
            "train.save_checkpoint_epoch, train.val_epoch: without the number of images epochs are no steps; `checkpoint_every` and "
            "`validate_every` have their defaults."
        )
    if find_spec("tensorboard"):
        train["tensorboard"] = source.get("train.tensorboard", bool, False)
    if start:
        train["start_from"] = str(start)
        result.notes.append(f"path.resume_state: training starts from {start}; its steps are counted from there.")
    return train


def _validation(source: Upstream, images: Images) -> int:
    """Return the number of images held out of training, given in the JSON as a number or a share."""
    split = source.get(f"{TRAIN}.dataloader.validation_split", float, 0.0)
    if split < 1:
        return int(split * (images.train or 0))
    return int(split) if split < (images.train or math.inf) else 0


def _steps(source: Upstream, per_gpu: int, epoch: int | None, result: Converted) -> int:
    """Return the optimizer steps in `n_iter` images of one GPU, or in `n_epoch` epochs if that is less."""
    iterations, epochs = source.count("train.n_iter", 10**8), source.count("train.n_epoch", 10**8)
    by_images = -(-iterations // per_gpu)
    if epoch is None and epochs < 10**6:
        result.not_honored.append(
            f"train.n_epoch: without the number of images, {epochs} epochs are no steps; only n_iter counts."
        )
    steps = by_images if epoch is None else min(by_images, epochs * epoch)
    result.notes.append(
        f"train: {steps:,} optimizer steps (n_iter {iterations:,} images of one GPU, n_epoch {epochs:,})."
    )
    return _within(steps)


def _within(steps: int) -> int:
    """Return the nearest number of steps that our configs allow; the unofficial code says 1e8 epochs for "never"."""
    return min(max(steps, 1), MOST)


def _learning_rate(source: Upstream, result: Converted) -> float:
    path = f"{MODEL}.optimizers.0"
    if source.get(f"{path}.weight_decay", float, 0.0):
        result.not_honored.append(f"{path}.weight_decay: Adam has none here.")
    return source.get(f"{path}.lr", float, 1e-3)


def _ema(source: Upstream, result: Converted) -> float:
    path = f"{MODEL}.ema_scheduler"
    if not source.has(path):
        return 0.0
    if source.get(f"{path}.ema_start", int, 1) > 1 or source.get(f"{path}.ema_iter", int, 1) > 1:
        result.not_honored.append(
            f"{path}: averaged at every step from the first, with a decay that rises at the start."
        )
    result.notes.append("Samples come from the averaged weights; there, from the others.")
    return source.get(f"{path}.ema_decay", float, 0.9999)


# ---------------------------------------------------------------------------------------------- sampling


def _schedule(source: Upstream, phase: str) -> tuple[str, int, float, float]:
    path = f"{NETWORK}.beta_schedule.{phase}"
    source.pass_over(f"{path}.cosine_s")
    return (
        source.get(f"{path}.schedule", str, "linear"),
        source.get(f"{path}.n_timestep", int, 1000),
        source.get(f"{path}.linear_start", float, 1e-6),
        source.get(f"{path}.linear_end", float, 1e-2),
    )


def _sampler(source: Upstream, result: Converted) -> tuple[str, dict[str, Any]]:
    """Return the paper's sampler with as many steps. The released configs all use the paper's schedules, as we do."""
    trained, tested = _schedule(source, "train"), _schedule(source, "test")
    if trained != ("linear", 2000, 1e-6, 0.01):
        result.not_honored.append(
            f"{NETWORK}.beta_schedule.train: {_said(trained)}; trained here with the paper's, linear from 1e-6 to 0.01 in 2000 steps."
        )
    steps = tested[1]
    if tested != ("linear", 1000, 1e-4, 0.09):
        how = "the paper's schedule" if steps == 1000 else "noise levels even in σ^(1/7)"
        result.not_honored.append(
            f"{NETWORK}.beta_schedule.test: {_said(tested)}; sampled here in {steps} steps on {how}."
        )
    return f"ancestral{steps}", {"kind": "ancestral", "steps": steps}


def _said(schedule: tuple[str, int, float, float]) -> str:
    kind, steps, first, last = schedule
    return f"{kind} from {first:g} to {last:g} in {steps} steps"
