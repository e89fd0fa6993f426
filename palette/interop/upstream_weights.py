"""Import of checkpoints of the unofficial code (Janspiry/Palette-Image-to-Image-Diffusion-Models).

A checkpoint is up to three files: `200_Network.pth`, the weights; `200_Network_ema.pth`, their average; `200.state`,
Adam's state. Its networks are conditioned on γ itself and predict ε. They take the condition first, as ours do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from palette.config.models import Network, Objective
from palette.errors import ConfigError, DataError, listed
from palette.interop.foreign import kind_of_path
from palette.interop.layouts import Layout, read_layout
from palette.interop.model_folder import Imported, Start, facts_of
from palette.interop.pickles import read_pickle, state_dict
from palette.interop.tensors import IMAGE_CHANNELS, INPUT_CHANNELS, converted, names, targets
from palette.interop.upstream_json import Upstream

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

Which = Literal["raw", "ema"]


@dataclass(frozen=True)
class Wishes:
    """User's settings for what shapes do not determine. None: as in the JSON config, or as in the released configs."""

    task: str | None = None
    head_channels: int | None = None
    image_size: int | None = None
    which: Which | None = None
    """Weights to sample from. Default: the average, if it exists."""


@dataclass(frozen=True)
class Parts:
    """Existing files of a checkpoint."""

    raw: Path | None = None
    ema: Path | None = None
    state: Path | None = None

    @property
    def files(self) -> list[Path]:
        return [file for file in (self.raw, self.ema, self.state) if file]


def parts_of(file: Path) -> Parts:
    """Return a `.pth` file alone, or the existing ones of all three files of a prefix (`…/200`) or a `.state` file.

    Raises DataError if there are no weights.
    """
    if file.is_file() and file.suffix != ".state":
        return Parts(ema=file) if file.stem.endswith("_ema") else Parts(raw=file)
    if kind := kind_of_path(file):
        raise DataError(f"{file}: {kind}")
    if file.is_dir():
        found = sorted({path.name.partition("_Network")[0] for path in file.glob("*_Network*.pth")})
        raise DataError(f"{file}: a folder. Name a checkpoint in it: {listed(found) or 'there is none'}.")
    prefix = file.with_suffix("") if file.suffix == ".state" else file
    candidates = [
        prefix.with_name(f"{prefix.name}{ending}") for ending in ("_Network.pth", "_Network_ema.pth", ".state")
    ]
    raw, ema, state = (candidate if candidate.is_file() else None for candidate in candidates)
    if raw is None and ema is None:
        raise DataError(f"{file}: no such checkpoint: neither {candidates[0]} nor {candidates[1].name} is there.")
    return Parts(raw, ema, state)


# ----------------------------------------------------------------------------------------------- networks


@dataclass(frozen=True)
class Unet:
    """Tensors of `denoise_fn` in one file, in file order, and the names of the others."""

    file: Path
    tensors: dict[str, Tensor]
    buffers: list[str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}


def read_unet(file: Path) -> Unet:
    """Read a checkpoint of `Network`. Raises DataError if it is not one."""
    content = state_dict(file)
    tensors = {key.removeprefix(PREFIX): tensor for key, tensor in content.items() if key.startswith(PREFIX)}
    others = [key for key in content if not key.startswith(PREFIX)]
    unknown = [key for key in others if key not in BUFFERS]
    if not tensors or unknown:
        raise DataError(
            f"{file}: not a checkpoint of the unofficial code, whose tensors are called {PREFIX}… (found: {listed(unknown or others)})."
        )
    return Unet(file, tensors, others)


def network_of(layout: Layout, settings: "Settings") -> Network:
    """Return our options for a network of this layout."""
    sides = [settings.image_size >> level for level in range(len(layout.multipliers))]
    is_sr3 = layout.family == "sr3"
    return Network(
        backbone="sr3" if is_sr3 else "adm",
        channels=layout.channels,
        multipliers=layout.multipliers,
        blocks=layout.blocks,
        attention=tuple(side for side, attends in zip(sides, layout.attending, strict=True) if attends),
        head_channels=settings.head_channels or layout.channels * max(layout.multipliers),
        noise_embedding="gamma",
        groups=settings.groups,
        dropout=settings.dropout,
    )


@dataclass(frozen=True)
class Settings:
    """Final settings for what shapes do not determine."""

    head_channels: int | None
    """None: one head."""
    image_size: int
    dropout: float
    groups: int
    heads_first: bool
    assumed: list[str]


DEFAULTS = {"head_channels": 32, "image_size": 256, "dropout": 0.2, "norm_groups": 32}
"""Defaults of the released configs."""


def settings_of(layout: Layout, wishes: Wishes, config: Upstream | None) -> Settings:
    """Decide the settings that shapes do not determine: from flags, else the JSON config, else the released configs.

    Raises ConfigError for flags that do not fit the network.
    """
    assumed: list[str] = []

    def decide(name: str, wished: int | None, said: float | None, flag: str) -> Any:
        if wished is not None:
            return wished
        if said is not None:
            return said
        assumed.append(f"{name} {DEFAULTS[name]}, as in the released configs; a checkpoint does not tell it ({flag}).")
        return DEFAULTS[name]

    is_sr3 = layout.family == "sr3"
    if is_sr3 and wishes.head_channels is not None:
        raise ConfigError("--head-channels: the sr3 network has one head; leave the option out.")
    heads: int | None = None
    if not is_sr3 and (wishes.head_channels or config is None or not config.one_head):
        said = config.head_channels(layout) if config else None
        heads = decide("head_channels", wishes.head_channels, said, "--config or --head-channels")
    return Settings(
        head_channels=heads,
        image_size=decide(
            "image_size", wishes.image_size, config.image_size if config else None, "--config or --image-size"
        ),
        dropout=decide("dropout", None, config.dropout if config else None, "--config"),
        groups=decide("norm_groups", None, config.norm_groups if config else None, "--config") if is_sr3 else 32,
        heads_first=not is_sr3 and not (config and config.new_attention_order),
        assumed=assumed,
    )


# ---------------------------------------------------------------------------------------------- optimizer


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
        raise DataError(
            f"{file}: not a training state of the unofficial code ({type(error).__name__}: {error})."
        ) from None


def moments_of(state: State, tensors: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], int]:
    """Return `exp_avg` and `exp_avg_sq` by their parameter names, and the number of optimizer steps.

    tensors: the weights, in the order of the network's parameters, which is Adam's. Raises DataError for a mismatch.
    """
    if len(state.parameters) != len(tensors):
        raise DataError(
            f"{state.file}: the optimizer's state is of {len(state.parameters)} parameters, the network has {len(tensors)}. "
            "Import the weights alone: name the `.pth` file."
        )
    moments: dict[str, dict[str, Tensor]] = {"exp_avg": {}, "exp_avg_sq": {}}
    steps = set()
    for kept, (name, weight) in zip(state.parameters, tensors.items(), strict=True):
        for kind, found in moments.items():
            tensor = kept.get(kind)
            if not isinstance(tensor, Tensor) or tensor.shape != weight.shape:
                raise DataError(
                    f"{state.file}: there is no {kind} of {PREFIX}{name} in the shape {list(weight.shape)}."
                )
            found[name] = tensor
        steps.add(int(kept.get("step", -1)))
    if len(steps) != 1 or min(steps) < 0:
        raise DataError(f"{state.file}: Adam's step counts are {sorted(steps)}; all parameters should have the same.")
    return moments, steps.pop()


def _adam_notes(state: State) -> list[str]:
    """Return a note on Adam options that differ from ours, if there are any."""
    usual = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
    other = [f"{key} {state.options[key]}" for key, value in usual.items() if state.options.get(key, value) != value]
    return [f"Not taken over of Adam: {', '.join(other)}."] if other else []


# ------------------------------------------------------------------------------------------------- import


def _start(
    state: State,
    unets: Mapping[str, Unet],
    weights: Mapping[str, dict[str, Tensor]],
    ours: Callable[[Mapping[str, Tensor], Path], dict[str, Tensor]],
) -> tuple[Start | None, list[str]]:
    """Return the state from which a training resumes, and notes on it; None without the raw weights `state` belongs to.

    weights: our weights for each of `unets`. ours: function that converts the tensors of one of their files.
    """
    if "raw" not in unets:
        return None, [
            f"{state.file.name} is left out: it belongs to {state.file.stem}_Network.pth, which is not there."
        ]
    moments, adam_step = moments_of(state, unets["raw"].tensors)
    both = {kind: ours(tensors, state.file) for kind, tensors in moments.items()}
    averages = weights.get("ema", weights["raw"])
    notes = _adam_notes(state)
    if "ema" not in weights:
        notes.append("There is no average (_Network_ema.pth): a training from here averages from these weights on.")
    return Start(weights["raw"], averages, both["exp_avg"], both["exp_avg_sq"], adam_step), notes


def import_upstream(file: Path, wishes: Wishes, config: Upstream | None = None) -> Imported:
    """Convert a checkpoint to our model. config: the JSON config that it was trained with.

    Raises DataError for an invalid or incomplete checkpoint, and ConfigError if flags or the JSON config contradict it.
    """
    parts = parts_of(file)
    task = task_of(wishes, config, file)
    which = _which(file, parts, wishes.which)
    unets = {kind: read_unet(path) for kind, path in (("raw", parts.raw), ("ema", parts.ema)) if path}
    chosen = unets[which]
    layout = read_layout(str(chosen.file), chosen.shapes)
    _require_images(chosen.file, layout)
    if config is not None:
        config.refuse_other_network(layout, chosen.file)
    settings = settings_of(layout, wishes, config)
    network = network_of(layout, settings)
    shapes, attention_at = targets(network, settings.image_size)
    mapping = names(layout, shapes, chosen.tensors, str(chosen.file))
    heads = network.head_channels if settings.heads_first else None

    def ours(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
        names(layout, shapes, tensors, str(path))
        return converted(mapping, tensors, shapes, heads, str(path))

    weights = {kind: ours(unet.tensors, unet.file) for kind, unet in unets.items()}
    state = read_state(parts.state) if parts.state else None
    start, notes = _start(state, unets, weights, ours) if state else (None, [])
    counters = state.counters if state else {}
    return Imported(
        network=network,
        objective=Objective(kind="epsilon", loss="l2"),
        mix={task: 1.0},
        image_size=settings.image_size,
        attention_at=attention_at,
        weights=weights[which],
        mapped={f"{PREFIX}{theirs}": name for name, theirs in mapping.items()},
        dropped={
            name: "noise schedule; not a part of the network here" for unet in unets.values() for name in unet.buffers
        },
        origin={
            "format": f"unofficial Palette, {layout.family}",
            "weights": which,
            "files": [facts_of(path) for path in parts.files],
            **counters,
        },
        assumed=settings.assumed,
        start=start,
        step=start.adam_step if start else None,
        images=counters.get("iter"),
        notes=notes,
    )


def _which(file: Path, parts: Parts, wished: Which | None) -> Which:
    which: Which = wished or ("ema" if parts.ema else "raw")
    if getattr(parts, which) is None:
        raise ConfigError(
            f"--{which}: there are no such weights for {file}, only {', '.join(path.name for path in parts.files)}."
        )
    return which


def _require_images(file: Path, layout: Layout) -> None:
    if (layout.in_channels, layout.out_channels) != (INPUT_CHANNELS, IMAGE_CHANNELS):
        raise DataError(
            f"{file}: the network takes {layout.in_channels} channels and gives {layout.out_channels} "
            f"({layout.seen['in_channels']}, {layout.seen['out_channels']}); here it is a condition and an image of "
            f"{IMAGE_CHANNELS} channels each, {INPUT_CHANNELS}, and {IMAGE_CHANNELS}. Not supported."
        )


def task_of(wishes: Wishes, config: Upstream | None, file: Path) -> str:
    """Return the task that a network was trained for. Raises ConfigError if it is unknown."""
    task = wishes.task or (config.task if config else None)
    if task is None:
        raise ConfigError(
            f"{file}: a checkpoint does not tell its task. Say `--task inpainting` (or another), or name its JSON config with `--config`."
        )
    return task
