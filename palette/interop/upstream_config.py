"""Conversion of the unofficial code's JSON configs to ours, listing every setting that is not supported here.

The network keeps its shape and still predicts ε. A training from random weights uses our noise-level embedding; one
that resumes from a checkpoint keeps γ, on which the weights were trained.
"""

import hashlib
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from palette.config import Config
from palette.config.options import MOST
from palette.errors import ConfigError, DataError
from palette.interop.model_folder import FILES, Flags, report, write_model
from palette.interop.upstream_images import TEST, TRAIN, dataset_of
from palette.interop.upstream_json import NETWORK, TASKS, UNET, Upstream, network_options, read_config
from palette.interop.upstream_weights import checkpoint_files, import_upstream
from palette.system.files import sha256
from palette.system.progress import say

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
UNSUPPORTED = {
    "finetune_norm": "nothing there reads it",
    "model.which_optimizers": "nothing there reads it",
    "model.which_lr_schedulers": "nothing there reads it",
    "debug": "read there only with -d",
    "path": "everything goes into the folder `results`",
    "train.log_iter": "the log has intervals of its own",
    "train.tensorboard": "needs the package tensorboard, which is not installed",
    "datasets.train.dataloader.args": "the order of the images follows from the seed, and every batch is full",
    "datasets.train.dataloader.val_args": "validation measures the loss of the averaged weights",
    "datasets.test.dataloader": "changes no image; see `sample`",
    f"{MODEL}.sample_num": "the states in between are not kept; `sample.draws` are samples of the same input",
    f"{NETWORK}.init_type": "weights start as ADM's do, residual branches at zero",
    f"{UNET}.use_checkpoint": "see `train.recompute`",
    f"{UNET}.use_fp16": "has no effect there; see `train.precision`",
}
"""Option, or section of options, that the conversion does not read → why."""


@dataclass(frozen=True)
class Converted:
    """Converted JSON config, with the remarks of the conversion (see `Upstream`)."""

    config: dict[str, Any]
    """Config in the form of our config files."""
    not_honored: list[str]
    notes: list[str]

    def text(self, file: Path) -> str:
        """Return the config as YAML, with the remarks as comments at the top."""
        lines = [f"Made from {file.name}, a config of the unofficial code.", *self.notes]
        if self.not_honored:
            lines += ["Not as it says there:", *(f"  {line}" for line in self.not_honored)]
        head = "".join(f"# {line}\n" for line in lines)
        dumped = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
        return f"{head}\n{dumped}"

    def report(self) -> str:
        """Return the remarks as text for the user."""
        lines = [f"not honored: {line}" for line in self.not_honored] + [f"note: {line}" for line in self.notes]
        return "\n".join(lines)


def convert_file(file: Path, folder: Path, must_resume: bool) -> Converted:
    """Convert the JSON config `file`, importing its `resume_state` into a subfolder of `folder` unless already there.

    must_resume: raise DataError for a missing checkpoint, instead of listing it among the settings not honored.
    """
    source = read_config(file)
    prefix = source.get("path.resume_state", str, "")
    if not prefix:
        return convert(source)
    try:
        files = checkpoint_files(Path(prefix))
    except DataError as error:
        if must_resume:
            hint = f"{file} names it as path.resume_state; set that to null to train from random weights."
            raise DataError(f"{error} {hint}") from None
        result = convert(source)
        result.not_honored.append(f"path.resume_state: {error} Training starts from random weights.")
        return result
    digest = hashlib.sha256("".join(map(sha256, files.values())).encode()).hexdigest()[:10]
    target = folder / f"{Path(prefix).name}-{digest}"
    if not (target / "model.json").exists():
        shutil.rmtree(target, ignore_errors=True)  # left by a killed import
        model = import_upstream(Path(prefix), Flags(), source)
        say(report(model, write_model(model, target), verbose=False))
    return convert(source, next(target / name for name in (FILES[1], FILES[0]) if (target / name).exists()))


def convert(source: Upstream, start: Path | None = None) -> Converted:
    """Convert a JSON config to an equivalent config here. start: the weights imported from its `resume_state`.

    Raises ConfigError for values of a wrong type, and for an unknown task or network.
    """
    for path, (module, classes) in CLASSES.items():
        name = source.class_of(path)
        if name not in ("", *classes, *(f"{top}{module}.{known}" for known in classes for top in ("", "palette."))):
            raise _unknown_class(source, path, name, classes)
    task = source.task
    if task is None or not source.dataset:
        raise source.error(f"{TRAIN}.which_dataset.name", f"missing. It is one of {', '.join(TASKS)}.")
    dataset = dataset_of(source)
    name = re.sub(r"[^a-z0-9._-]+", "-", source.get("name", str, "").lower())[:40].strip("._-") or "images"
    steps = _sampler_steps(source)
    seed = source.get("seed", int, -1)
    if seed < 0:
        source.differs(f"seed: {seed} means another one in every run; here it is 0, and every run gives the same.")
    config = {
        "results": "results",
        "datasets": {name: dataset},
        "tasks": {task: _evaluation(source, task)},
        "models": {
            MODEL_NAME: {
                "network": _network(source, dataset["prepare"]["image_size"], start),
                "objective": {"kind": "epsilon", "loss": _loss(source)},
                "train": _train(source, dataset["prepare"].get("train_images"), start),
            }
        },
        "samplers": {f"ancestral{steps}": {"kind": "ancestral", "steps": steps}},
        "experiments": [
            {"dataset": name, "task": task, "model": MODEL_NAME, "sampler": f"ancestral{steps}", "seed": max(seed, 0)},
        ],
        "score": {"extractors": ["photos", "pixels"]},
        "tables": {name: {"title": source.get("name", str, name), "columns": ["psnr", "ssim"]}},
    }
    source.skip("path.resume_state")
    _list_unsupported(source)
    source.notes.append(
        "After training, `snakemake` samples and scores. The feature network `photos` needs sub-folders of images as classes; without "
        "them, PSNR and SSIM alone are measured. FID needs `score: {extractors: [inception], weights: FOLDER}`."
    )
    try:
        Config.model_validate(config)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']} (given: {e['input']!r})." for e in error.errors()]
        fault = "values that are not possible here, by our names:"
        raise ConfigError("\n  ".join([f"{source.file}: {fault}", *faults])) from None
    return Converted(config, source.not_honored, source.notes)


def _unknown_class(source: Upstream, path: str, name: str, known: Iterable[str]) -> ConfigError:
    return source.error(
        path,
        f"{name} is none of {', '.join(known)}, so it cannot be converted. If it does the same, name that one instead. Otherwise "
        "write a config of ours: docs/config.md has every option, and `source: pairs` with the task `paired` takes any two "
        "folders of images.",
    )


def _list_unsupported(source: Upstream) -> None:
    """Record the metrics, and each group of options that the conversion did not read, with the reason if known."""
    if metrics := source.get("model.which_metrics", list, []):
        names = ", ".join(source.class_of(f"model.which_metrics.{index}") for index in range(len(metrics)))
        source.differs(f"model.which_metrics: {names}: not measured here; scores are columns of `tables`.")
    groups = defaultdict(list)
    for path in source.unread():
        group = next((group for group in UNSUPPORTED if path == group or path.startswith(f"{group}.")), "")
        groups[group].append(path)
    for path in groups.pop("", []):
        source.differs(f"{path}: unknown here.")
    for group, paths in groups.items():
        options = ", ".join(path.removeprefix(f"{group}.") for path in paths if path != group)
        source.differs(f"{group}{f' ({options})' if options else ''}: {UNSUPPORTED[group]}.")


def _evaluation(source: Upstream, task: str) -> dict[str, str]:
    """Return the task's config entry. Masks are drawn as in the paper, whatever the JSON says."""
    if task not in ("inpainting", "uncropping"):
        return {"degradation": task}
    trained, tested = (f"{phase}.which_dataset.args.mask_config" for phase in (TRAIN, TEST))
    source.skip(f"{trained}.shape", f"{tested}.shape")
    mode = source.get(f"{tested}.mask_mode", str, "center" if task == "inpainting" else "manual")
    inpainting_mask = "center" if mode == "center" else "free-form-20-30"
    mask = "right" if task == "uncropping" else inpainting_mask
    trained_mode = source.get(f"{trained}.mask_mode", str, "none")
    source.differs(f"{trained}: {trained_mode!r} masks are not those of here, which are drawn as in the paper.")
    if mode != "center":
        source.differs(f"{tested}: evaluated with mask `{mask}`, the same for every model, not {mode!r}.")
    return {"degradation": task, "mask": mask}


def _network(source: Upstream, side: int, start: Path | None) -> dict[str, Any]:
    """Return the options of the same network. Attention resolutions follow the image size, as the weights of sr3 do."""
    network = network_options(source, side, "gamma" if start else "log-snr", exact=False)
    levels, is_sr3 = len(network["multipliers"]), source.backbone == "sr3"
    if not is_sr3 and network["multipliers"][0] != 1:
        source.differs(f"{UNET}.channel_mults: the first convolution has {network['channels']} channels here.")
    for option in ("use_scale_shift_norm", "resblock_updown", "with_noise_level_emb"):
        if not source.get(f"{UNET}.{option}", bool, True):
            source.differs(f"{UNET}.{option}: always true here.")
    source.skip(f"{UNET}.use_new_attention_order", f"{UNET}.conv_resample")  # meaningless for random weights
    if not network["attention"]:
        scales = "the sides of its levels" if is_sr3 else f"1 to {1 << (levels - 1)}"
        source.notes.append(
            f"{UNET}.attn_res: {source.get(f'{UNET}.attn_res', list, [])} meets no level of this network ({scales}), so only its "
            "middle attends, there as here. Resolutions with attention are `attention` here, in pixels."
        )
    if start is None:
        source.notes.append(
            "model: the network is told the noise level as log-SNR, not as γ, which leaves all high levels alike. To train on "
            "from a checkpoint, set path.resume_state, or import it and name it in `train.start_from`."
        )
    return network


def _loss(source: Upstream) -> str:
    path = "model.which_losses"
    source.get(path, list, [])
    loss = source.class_of(f"{path}.0") or "mse_loss"
    module, _, name = loss.rpartition(".")
    if name not in LOSSES or module not in LOSS_MODULES:
        raise _unknown_class(source, path, loss, LOSSES)
    if source.task in ("inpainting", "uncropping"):
        source.differs(f"{path}: the mean over the hole; there, over the image, so that a large hole weighs more.")
    return LOSSES[name]


# --------------------------------------------------------------------------------------------- training


def _train(source: Upstream, images: int | None, start: Path | None) -> dict[str, Any]:
    """Return the training options, with optimizer steps for counts of images per GPU. images: None if unknown."""
    loader = f"{TRAIN}.dataloader"
    gpus = max(len(source.get("gpu_ids", list, [0])), 1)
    per_gpu = source.count(f"{loader}.args.batch_size", 1)
    validation = _validation_images(source, images)
    epoch = max((images - validation) // (per_gpu * gpus), 1) if images else None
    train: dict[str, Any] = {
        "steps": _steps(source, per_gpu, epoch),
        "batch_size": per_gpu * gpus,
        "learning_rate": _learning_rate(source),
        "warmup": 0,
        "ema": _ema(source),
        "clip": NO_CLIP,
        "flip": False,
        "gpus": gpus,
        "threads": max(source.get(f"{loader}.args.num_workers", int, 1), 1),
    }
    if validation:
        train["validation_images"] = validation
    epochs = {"checkpoint_every": "save_checkpoint_epoch", "validate_every": "val_epoch"}
    intervals = {option: source.get(f"train.{theirs}", int, 1) for option, theirs in epochs.items()}
    if epoch:
        train |= {option: _within(number * epoch) for option, number in intervals.items()}
    else:
        source.differs(
            "train.save_checkpoint_epoch, train.val_epoch: without the number of images epochs are no steps; `checkpoint_every` and "
            "`validate_every` have their defaults."
        )
    if find_spec("tensorboard"):
        train["tensorboard"] = source.get("train.tensorboard", bool, False)
    if start:
        train["start_from"] = str(start)
        source.notes.append(f"path.resume_state: training starts from {start}; its steps are counted from there.")
    return train


def _validation_images(source: Upstream, images: int | None) -> int:
    split = source.get(f"{TRAIN}.dataloader.validation_split", float, 0.0)  # a number or a share
    if split < 1:
        return int(split * (images or 0))
    return 0 if images and split >= images else int(split)


def _steps(source: Upstream, per_gpu: int, epoch: int | None) -> int:
    """Return the optimizer steps in `n_iter` images of one GPU, or in `n_epoch` epochs if that is less."""
    images, epochs = source.count("train.n_iter", 10**8), source.count("train.n_epoch", 10**8)
    steps = -(-images // per_gpu)
    if epoch:
        steps = min(steps, epochs * epoch)
    elif epochs < 10**6:
        source.differs(f"train.n_epoch: without the number of images, {epochs} epochs are no steps: n_iter counts.")
    source.notes.append(f"train: {steps:,} optimizer steps (n_iter {images:,} images of one GPU, n_epoch {epochs:,}).")
    return _within(steps)


def _within(steps: int) -> int:
    """Return the nearest number of steps that our configs allow; the unofficial code says 1e8 epochs for "never"."""
    return min(max(steps, 1), MOST)


def _learning_rate(source: Upstream) -> float:
    path = f"{MODEL}.optimizers.0"
    if source.get(f"{path}.weight_decay", float, 0.0):
        source.differs(f"{path}.weight_decay: Adam has none here.")
    return source.get(f"{path}.lr", float, 1e-3)


def _ema(source: Upstream) -> float:
    path = f"{MODEL}.ema_scheduler"
    if not source.get(path, dict, {}):
        return 0.0
    if source.get(f"{path}.ema_start", int, 1) > 1 or source.get(f"{path}.ema_iter", int, 1) > 1:
        source.differs(f"{path}: averaged at every step from the first, with a decay that rises at the start.")
    source.notes.append("Samples come from the averaged weights; there, from the others.")
    return source.get(f"{path}.ema_decay", float, 0.9999)


def _sampler_steps(source: Upstream) -> int:
    """Return the steps of the sampler. The released configs all use the paper's schedules, as we do."""
    released = {"train": ("linear", 2000, 1e-6, 0.01), "test": ("linear", 1000, 1e-4, 0.09)}
    for phase, usual in released.items():
        path = f"{NETWORK}.beta_schedule.{phase}"
        source.skip(f"{path}.cosine_s")
        kind, steps = source.get(f"{path}.schedule", str, "linear"), source.get(f"{path}.n_timestep", int, 1000)
        first = source.get(f"{path}.linear_start", float, 1e-6)
        last = source.get(f"{path}.linear_end", float, 1e-2)
        if (kind, steps, first, last) == usual:
            continue
        ours = "trained here with the paper's, linear from 1e-6 to 0.01 in 2000 steps"
        if phase == "test":
            how = "the paper's schedule" if steps == 1000 else "noise levels even in σ^(1/7)"
            ours = f"sampled here in {steps} steps on {how}"
        source.differs(f"{path}: {kind} from {first:g} to {last:g} in {steps} steps; {ours}.")
    return steps
