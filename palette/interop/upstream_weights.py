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
from palette.interop.layouts import Converter, Layout, read_layout
from palette.interop.model_folder import Flags, Imported, decide, facts_of
from palette.interop.pickles import read_pickle, refuse_other_formats, state_dict
from palette.interop.upstream_json import NETWORK, UNET, Upstream, network_options

PREFIX = "denoise_fn."
POSTERIOR = ("posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2")
BUFFERS = ("gammas", "sqrt_recip_gammas", "sqrt_recipm1_gammas", *POSTERIOR)
"""Buffers of the noise schedule, which is not part of a network here."""
OPTIONS = {"channels": "inner_channel", "multipliers": "channel_mults", "blocks": "res_blocks", "attention": "attn_res"}
"""Options of our network that shapes show → those of the JSON config."""


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
    layout = read_layout(files[which], unets[which])
    assumed: list[str] = []
    network, image_size = _network(layout, flags, config, files[which], assumed)
    heads_first = layout.family != "sr3" and not (config and config.get(f"{UNET}.use_new_attention_order", bool, False))
    converter = Converter(layout, network, image_size, heads_first)
    weights = {part: converter(unet, files[part]) for part, unet in unets.items()}
    start, step, counters = None, None, dict[str, int]()
    notes: list[str] = []
    if "state" in files:
        state = read_state(files["state"])
        counters = state.counters
        start, step = _start(state, unets, weights, converter, notes)
    buffers = [name for content in contents.values() for name in content if name in BUFFERS]
    return Imported(
        network=network,
        mix={task: 1.0},
        image_size=image_size,
        attention_at=converter.attention_at,
        weights=weights[which],
        record={
            "format": f"unofficial Palette, {layout.family}",
            "weights": which,
            "files": [facts_of(path) for path in files.values()],
            **counters,
            "mapped": {f"{PREFIX}{theirs}": name for name, theirs in converter.names.items()},
            "dropped": dict.fromkeys(buffers, "noise schedule; not a part of the network here"),
            "assumed": assumed,
            "notes": notes,
        },
        start=start,
        step=step,
        images=counters.get("iter"),
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
        whose = f"of the unofficial code, whose tensors are called {PREFIX}…"
        raise DataError(f"{file}: not a checkpoint {whose} (found: {names}).")
    return tensors


def _network(
    layout: Layout, flags: Flags, config: Upstream | None, file: Path, assumed: list[str]
) -> tuple[Network, int]:
    """Return our network and its image size: by flags, else by the JSON config, else by the released configs.

    assumed: receives a line for each value from the released configs. Raises ConfigError for flags that do not fit.
    """
    is_sr3 = layout.family == "sr3"
    if is_sr3 and flags.head_channels is not None:
        raise ConfigError("--head-channels: the sr3 network has one head; leave the option out.")
    size, options = flags.image_size, dict[str, Any]()
    if config:
        size = size or config.image_size
        options = _described(layout, config, size, flags.head_channels is None, file)
    heads, groups = layout.channels * max(layout.multipliers), 32
    why = "as in the released configs; a checkpoint does not tell it"
    if not is_sr3:
        given = flags.head_channels or options.get("head_channels") or (heads if config else None)
        heads = decide("head_channels", given, 32, f"{why} (--config or --head-channels)", assumed)
    image_size = decide("image_size", size, 256, f"{why} (--config or --image-size)", assumed)
    dropout = decide("dropout", options.get("dropout"), 0.2, f"{why} (--config)", assumed)
    if is_sr3:
        groups = decide("norm_groups", options.get("groups"), 32, f"{why} (--config)", assumed)
    others = {"head_channels": heads, "noise_embedding": "gamma", "groups": groups, "dropout": dropout}
    return Network.model_validate(layout.options(image_size) | others), image_size


def _described(layout: Layout, config: Upstream, image_size: int, exact: bool, file: Path) -> dict[str, Any]:
    """Return the options of our network by the config. Raises DataError unless they describe the weights in `file`."""
    if layout.family != config.backbone:
        option = f"{NETWORK}.module_name: {config.backbone}"
        raise DataError(
            f"{file}: weights of {layout.family}, but {config.file} says {option}. They do not belong together."
        )
    described, actual = network_options(config, image_size, "gamma", exact), layout.options(image_size)
    faults = [
        f"\n  {UNET}.{theirs}: {described[ours]} in the config, {actual[ours]} in the file: {layout.seen[ours]}"
        for ours, theirs in OPTIONS.items()
        if described[ours] != actual[ours]
    ]
    if faults:
        raise DataError(f"{file}: not the network that {config.file} describes.{''.join(faults)}")
    return described


# ---------------------------------------------------------------------------------------- training state


@dataclass(frozen=True)
class State:
    """Content of a `.state` file: `epoch` and `iter`, images seen by one GPU; of Adam each parameter's state, options."""

    file: Path
    counters: dict[str, int]
    parameters: list[dict[str, Any]]
    options: dict[str, Any]


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
    notes: list[str],
) -> tuple[dict[str, dict[str, Tensor]] | None, int | None]:
    """Return the tensors from which a training resumes, and Adam's steps; None without the raw weights of `state`.

    unets: tensors of the files by their names there. weights: the same as ours. notes: receives remarks.
    """
    if "raw" not in unets:
        notes.append(f"{state.file.name} is left out: it belongs to {state.file.stem}_Network.pth, which is not there.")
        return None, None
    moments, steps = _moments(state, unets["raw"])
    usual = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
    unusual = [f"{key} {state.options[key]}" for key, value in usual.items() if state.options.get(key, value) != value]
    if unusual:
        notes.append(f"Not taken over of Adam: {', '.join(unusual)}.")
    if "ema" not in weights:
        notes.append("There is no average (_Network_ema.pth): a training from here averages from these weights on.")
    start = {"network": weights["raw"], "averages": weights.get("ema", weights["raw"])}
    return start | {kind: converter(tensors, state.file) for kind, tensors in moments.items()}, steps


def _moments(state: State, tensors: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], int]:
    """Return `exp_avg` and `exp_avg_sq` by their parameter names, and the number of optimizer steps.

    tensors: the weights, in the order of the network's parameters, which is Adam's. Raises DataError for a mismatch.
    """
    if len(state.parameters) != len(tensors):
        counts = f"of {len(state.parameters)} parameters, the network has {len(tensors)}"
        advice = "Import the weights alone: name the `.pth` file."
        raise DataError(f"{state.file}: the optimizer's state is {counts}. {advice}")
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
