"""Import of checkpoints of the unofficial code (Janspiry/Palette-Image-to-Image-Diffusion-Models).

A checkpoint is up to three files: `200_Network.pth`, the weights; `200_Network_ema.pth`, their average; `200.state`,
Adam's state. Its networks are conditioned on γ itself and predict ε. They take the condition first, as ours do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from palette.config.models import Network
from palette.errors import ConfigError, DataError, listed
from palette.interop.layouts import IMAGE_CHANNELS, INPUT_CHANNELS, Converter, Layout, network_of, read_layout
from palette.interop.model_folder import Flags, Imported, decide, facts_of
from palette.interop.pickles import read_pickle, refuse_other_formats, state_dict
from palette.interop.upstream_json import NETWORK, UNET, Upstream

PREFIX = "denoise_fn."
BUFFERS = (
    "gammas",
    "sqrt_recip_gammas",
    "sqrt_recipm1_gammas",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
)
"""Buffers of the noise schedule, which is not part of a network here."""
OPTIONS = {
    "in_channels": "in_channel",
    "out_channels": "out_channel",
    "channels": "inner_channel",
    "multipliers": "channel_mults",
    "blocks": "res_blocks",
    "attending": "attn_res",
}
"""Field of a layout → option of the JSON config that determines it."""


def checkpoint_files(file: Path) -> dict[str, Path]:
    """Return the existing files of a checkpoint, by `raw`, `ema` and `state`.

    file: a `.pth` file, which is taken alone, or for all three the prefix (`…/200`) or the `.state` file. Raises
    DataError if there are no weights.
    """
    if file.is_file() and file.suffix != ".state":
        return {"ema" if file.stem.endswith("_ema") else "raw": file}
    refuse_other_formats(file)
    if file.is_dir():
        names = sorted({path.name.partition("_Network")[0] for path in file.glob("*_Network*.pth")})
        raise DataError(f"{file}: a folder. Name a checkpoint in it: {listed(names) or 'there is none'}.")
    prefix = file.with_suffix("") if file.suffix == ".state" else file
    endings = {"raw": "_Network.pth", "ema": "_Network_ema.pth", "state": ".state"}
    paths = {part: prefix.with_name(f"{prefix.name}{ending}") for part, ending in endings.items()}
    existing = {part: path for part, path in paths.items() if path.is_file()}
    if existing.keys() <= {"state"}:
        raise DataError(f"{file}: no such checkpoint: neither {paths['raw']} nor {paths['ema'].name} is there.")
    return existing


def import_upstream(file: Path, flags: Flags, config: Upstream | None = None) -> Imported:
    """Convert a checkpoint to our model. config: the JSON config that it was trained with.

    Raises DataError for an invalid or incomplete checkpoint, and ConfigError if flags or the JSON config contradict it.
    """
    files = checkpoint_files(file)
    task = _task(file, flags, config)
    which = _which(file, files, flags)
    contents = {part: state_dict(path) for part, path in files.items() if part != "state"}
    unets = {part: _unet(content, files[part]) for part, content in contents.items()}
    layout = _layout(unets[which], files[which])
    if config:
        _require_described(layout, config, files[which])
    assumed: list[str] = []
    network, image_size = _network(layout, flags, config, assumed)
    heads_first = config.unet.heads_first if config else layout.family != "sr3"
    converter = Converter(layout, network, image_size, heads_first)
    weights = {part: converter(unet, str(files[part])) for part, unet in unets.items()}
    state = read_state(files["state"]) if "state" in files else None
    start, step, notes = _start(state, unets, weights, converter) if state else (None, None, [])
    counters = state.counters if state else {}
    buffers = [name for content in contents.values() for name in content if name in BUFFERS]
    return Imported(
        network=network,
        mix={task: 1.0},
        image_size=image_size,
        attention_at=converter.attention_at,
        weights=weights[which],
        mapped={f"{PREFIX}{theirs}": name for name, theirs in converter.names.items()},
        dropped=dict.fromkeys(buffers, "noise schedule; not a part of the network here"),
        origin={
            "format": f"unofficial Palette, {layout.family}",
            "weights": which,
            "files": [facts_of(path) for path in files.values()],
            **counters,
        },
        assumed=assumed,
        start=start,
        step=step,
        images=counters.get("iter"),
        notes=notes,
    )


def _task(file: Path, flags: Flags, config: Upstream | None) -> str:
    task = flags.task or (config.task if config else None)
    if task is None:
        hint = "Say `--task inpainting` (or another), or name its JSON config with `--config`."
        raise ConfigError(f"{file}: a checkpoint does not tell its task. {hint}")
    return task


def _which(file: Path, files: Mapping[str, Path], flags: Flags) -> str:
    """Return which weights to sample from, `raw` or `ema`."""
    which = flags.which or ("ema" if "ema" in files else "raw")
    if which not in files:
        names = ", ".join(path.name for path in files.values())
        raise ConfigError(f"--{which}: there are no such weights for {file}, only {names}.")
    return which


# ----------------------------------------------------------------------------------------------- network


def _unet(content: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Return the tensors of `denoise_fn`, in file order. Raises DataError for any others but the buffers."""
    unknown = [name for name in content if not name.startswith(PREFIX) and name not in BUFFERS]
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in content.items() if name.startswith(PREFIX)}
    if not tensors or unknown:
        names = listed(unknown or list(content))
        raise DataError(
            f"{file}: not a checkpoint of the unofficial code, whose tensors are called {PREFIX}… (found: {names})."
        )
    return tensors


def _layout(tensors: Mapping[str, Tensor], file: Path) -> Layout:
    """Return the layout of a network. Raises DataError unless it takes a condition and an image, and gives an image."""
    layout = read_layout(str(file), {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    if (layout.in_channels, layout.out_channels) != (INPUT_CHANNELS, IMAGE_CHANNELS):
        raise DataError(
            f"{file}: the network takes {layout.in_channels} channels and gives {layout.out_channels} "
            f"({layout.seen['in_channels']}, {layout.seen['out_channels']}); here it is a condition and an image of "
            f"{IMAGE_CHANNELS} channels each, {INPUT_CHANNELS}, and {IMAGE_CHANNELS}. Not supported."
        )
    return layout


def _require_described(layout: Layout, config: Upstream, file: Path) -> None:
    """Raise DataError unless the weights in `file` are of the network that the config describes."""
    if layout.family != config.backbone:
        raise DataError(
            f"{file}: weights of {layout.family}, but {config.file} says {NETWORK}.module_name: {config.backbone}. "
            "They do not belong together."
        )
    faults = []
    for name, option in OPTIONS.items():
        expected, actual = getattr(config.unet, name), getattr(layout, name)
        if expected != actual:
            texts = f"{_in_words(expected)} in the config, {_in_words(actual)} in the file: {layout.seen[name]}"
            faults.append(f"\n  {UNET}.{option}: {texts}")
    if faults:
        raise DataError(f"{file}: not the network that {config.file} describes.{''.join(faults)}")


def _in_words(value: object) -> str:
    if isinstance(value, tuple) and value and all(isinstance(entry, bool) for entry in value):
        return f"attention at levels {[level for level, attends in enumerate(value) if attends]}"
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _network(layout: Layout, flags: Flags, config: Upstream | None, assumed: list[str]) -> tuple[Network, int]:
    """Return our network and its image size: from flags, else the JSON config, else the released configs.

    assumed: receives a line for each value from the released configs. Raises ConfigError for flags that do not fit.
    """
    released, is_sr3 = "as in the released configs; a checkpoint does not tell it", layout.family == "sr3"
    if is_sr3 and flags.head_channels is not None:
        raise ConfigError("--head-channels: the sr3 network has one head; leave the option out.")
    head_channels, groups = layout.channels * max(layout.multipliers), 32
    if not is_sr3:
        given = flags.head_channels or (_head_channels(layout, config) if config else None)
        head_channels = decide("head_channels", given, 32, f"{released} (--config or --head-channels)", assumed)
    given = flags.image_size or (config.image_size if config else None)
    image_size = decide("image_size", given, 256, f"{released} (--config or --image-size)", assumed)
    dropout = decide("dropout", config.unet.dropout if config else None, 0.2, f"{released} (--config)", assumed)
    if is_sr3:
        groups = decide("norm_groups", config.unet.groups if config else None, 32, f"{released} (--config)", assumed)
    options = {"head_channels": head_channels, "noise_embedding": "gamma", "groups": groups, "dropout": dropout}
    return network_of(layout, image_size, **options), image_size


def _head_channels(layout: Layout, config: Upstream) -> int:
    """Return the channels per attention head. Raises ConfigError if they would differ between levels."""
    if config.unet.head_channels:
        return config.unet.head_channels
    heads = config.unet.heads
    if heads == 1:
        return layout.channels * max(layout.multipliers)
    levels = zip(layout.multipliers, layout.attending, strict=True)
    widths = {layout.channels * multiplier for multiplier, attends in levels if attends}
    widths.add(layout.channels * layout.multipliers[-1])
    if len(widths) > 1 or max(widths) % heads:
        raise config.error(
            f"{UNET}.num_heads",
            f"{heads} heads at {sorted(widths)} channels. Here the channels of a head are the same everywhere. Not supported.",
        )
    return max(widths) // heads


# ---------------------------------------------------------------------------------------- training state


@dataclass(frozen=True)
class State:
    """Content of a `.state` file: training progress, and Adam's state."""

    file: Path
    counters: dict[str, int]
    """`epoch`, and `iter`: images seen by one GPU."""
    parameters: list[dict[str, Any]]
    """Adam's state of each parameter, in order."""
    options: dict[str, Any]
    """Adam's options."""


def read_state(file: Path) -> State:
    """Read a `.state` file. Raises DataError unless it is a training state with one optimizer."""
    content = read_pickle(file)
    try:
        (adam,) = content["optimizers"]
        order = [index for group in adam["param_groups"] for index in group["params"]]
        parameters = [adam["state"][index] for index in order if index in adam["state"]]
        counters = {key: int(content[key]) for key in ("epoch", "iter") if key in content}
        return State(file, counters, parameters, dict(adam["param_groups"][0]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{file}: not a training state of the unofficial code ({reason}).") from None


def _start(
    state: State,
    unets: Mapping[str, Mapping[str, Tensor]],
    weights: Mapping[str, dict[str, Tensor]],
    converter: Converter,
) -> tuple[dict[str, dict[str, Tensor]] | None, int | None, list[str]]:
    """Return the tensors from which a training resumes, Adam's steps, and notes.

    unets: tensors of the files by their names there. weights: the same as ours. Without the raw weights, to which
    `state` belongs, there is no start.
    """
    if "raw" not in unets:
        name = f"{state.file.stem}_Network.pth"
        return None, None, [f"{state.file.name} is left out: it belongs to {name}, which is not there."]
    moments, steps = _moments(state, unets["raw"])
    notes = []
    usual = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
    unusual = [f"{key} {state.options[key]}" for key, value in usual.items() if state.options.get(key, value) != value]
    if unusual:
        notes.append(f"Not taken over of Adam: {', '.join(unusual)}.")
    if "ema" not in weights:
        notes.append("There is no average (_Network_ema.pth): a training from here averages from these weights on.")
    start = {"network": weights["raw"], "averages": weights.get("ema", weights["raw"])}
    start |= {kind: converter(tensors, str(state.file)) for kind, tensors in moments.items()}
    return start, steps, notes


def _moments(state: State, tensors: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], int]:
    """Return `exp_avg` and `exp_avg_sq` by their parameter names, and the number of optimizer steps.

    tensors: the weights, in the order of the network's parameters, which is Adam's. Raises DataError for a mismatch.
    """
    if len(state.parameters) != len(tensors):
        raise DataError(
            f"{state.file}: the optimizer's state is of {len(state.parameters)} parameters, the network has {len(tensors)}. "
            "Import the weights alone: name the `.pth` file."
        )
    moments: dict[str, dict[str, Tensor]] = {"exp_avg": {}, "exp_avg_sq": {}}
    for parameter, (name, weight) in zip(state.parameters, tensors.items(), strict=True):
        for kind, found in moments.items():
            tensor = parameter.get(kind)
            if not isinstance(tensor, Tensor) or tensor.shape != weight.shape:
                shape = list(weight.shape)
                raise DataError(f"{state.file}: there is no {kind} of {PREFIX}{name} in the shape {shape}.")
            found[name] = tensor
    steps = sorted({int(parameter.get("step", -1)) for parameter in state.parameters})
    if len(steps) != 1 or steps[0] < 0:
        raise DataError(f"{state.file}: Adam's step counts are {steps}; all parameters should have the same.")
    return moments, steps[0]
