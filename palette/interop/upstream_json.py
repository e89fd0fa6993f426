"""The JSON configs of the unofficial code: reading them, and what they say of the network."""

import json
import re
from pathlib import Path
from typing import Any, TypeVar

from palette.config.tasks import DEGRADATIONS
from palette.errors import ConfigError, DataError
from palette.interop.foreign import OUR_OWN, SR3_CODE
from palette.interop.layouts import Layout

T = TypeVar("T")

STRING = r'"(?:\\.|[^"\\\n])*"'
NETWORK = "model.which_networks.0.args"
UNET = f"{NETWORK}.unet"


def plain_json(text: str) -> str:
    """`text` without comments and trailing commas, every other character in its place.

    Comments are `// …` and `/* … */`; strings, and what looks like a comment in them, stay as they are.
    """

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0].startswith('"') else re.sub(r"[^\n]", " ", found[0])

    text = re.sub(rf"{STRING}|//[^\n]*|/\*.*?\*/", blank, text, flags=re.DOTALL)
    return re.sub(rf"{STRING}|,(?=\s*[}}\]])", blank, text)


def is_upstream_config(file: Path) -> bool:
    """Whether the file is meant as JSON, by its ending or by how it begins."""
    if file.suffix.lower() in (".json", ".jsonc", ".json5"):
        return True
    try:
        return plain_json(file.read_text(encoding="utf-8")).lstrip().startswith("{")
    except (OSError, UnicodeDecodeError):
        return False


def read_config(file: Path) -> "Upstream":
    """Raises ConfigError, with the line, for what is not such a config."""
    try:
        raw = json.loads(plain_json(file.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not readable ({error}).") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{file}:{error.lineno}: not valid JSON: {error.msg} (column {error.colno}).") from None
    if isinstance(raw, dict) and isinstance(raw.get("model"), dict) and "which_model_G" in raw["model"]:
        raise ConfigError(f"{file}: a config of {SR3_CODE}. It cannot be imported. {OUR_OWN}.")
    missing = [key for key in ("datasets", "model") if not isinstance(raw, dict) or key not in raw]
    if missing:
        raise ConfigError(
            f"{file}: not a config of the unofficial code: no {' and no '.join(map(repr, missing))} in it."
        )
    return Upstream(file, raw)


class Upstream:
    """A JSON config. Options are named by their path: `train.n_iter`, `model.which_networks.0.args.unet`.

    It remembers which options were asked for, so that what nobody asked for can be listed. null is the same as missing.
    """

    def __init__(self, file: Path, raw: dict[str, Any]) -> None:
        self.file, self.raw = file, raw
        self._asked: set[str] = set()

    def get(self, path: str, kind: type[T], default: T) -> T:
        """The option at `path`, which must be of this type; a whole number passes for int however it is written (1e8)."""
        value = self._found(path)
        if value is None:
            return default
        if kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ConfigError(f"{self.file}: {path}: expected {kind.__name__}, found {json.dumps(value)}.")
        return value

    def count(self, path: str, default: int) -> int:
        """Return the whole number at `path`. Raises ConfigError if it is less than 1."""
        if (number := self.get(path, int, default)) < 1:
            raise ConfigError(f"{self.file}: {path}: should be 1 or more, found {number}.")
        return number

    def has(self, path: str) -> bool:
        return self._found(path) is not None

    def pass_over(self, *paths: str) -> None:
        """Count these options as asked for."""
        self._asked.update(paths)

    def _found(self, path: str) -> Any:
        self._asked.add(path)
        value: Any = self.raw
        for part in path.split("."):
            if isinstance(value, list):
                value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
            else:
                value = value.get(part) if isinstance(value, dict) else None
        return value

    def left(self) -> list[str]:
        """The options that nobody asked for, in their order; of a section of which no option was asked for, the section."""

        def walk(value: Any, path: str) -> list[str]:
            below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            if path in self._asked or value is None:
                return []
            if not any(asked.startswith(f"{path}.") for asked in self._asked):
                return [path]
            return [left for key, entry in below for left in walk(entry, f"{path}.{key}")]

        return [left for key, value in self.raw.items() for left in walk(value, key)]

    # -- what it says of the network

    @property
    def backbone(self) -> str:
        """`sr3`, which is their default, or `guided_diffusion`."""
        name = self.get(f"{NETWORK}.module_name", str, "sr3")
        if name not in ("sr3", "guided_diffusion"):
            raise ConfigError(f"{self.file}: {NETWORK}.module_name: {name!r}; `sr3` and `guided_diffusion` are known.")
        return name

    def unet(self, option: str, kind: type[T], default: T) -> T:
        return self.get(f"{UNET}.{option}", kind, default)

    @property
    def is_sr3(self) -> bool:
        return self.backbone == "sr3"

    @property
    def channels(self) -> int:
        return self.unet("inner_channel", int, 32)

    @property
    def multipliers(self) -> tuple[float, ...]:
        return tuple(self._numbers(f"{UNET}.channel_mults", [1, 2, 4, 8, 8] if self.is_sr3 else [1, 2, 4, 8]))

    @property
    def blocks(self) -> int:
        return self.unet("res_blocks", int, 3 if self.is_sr3 else 2)

    @property
    def attending(self) -> tuple[bool, ...]:
        """For each level, finest first: whether it has attention.

        `attn_res` are sides of feature maps for sr3, and factors by which the side is reduced for guided_diffusion.
        """
        wanted = set(self._numbers(f"{UNET}.attn_res", []))
        side = self.unet("image_size", int, 128)
        factors = [1 << level for level in range(len(self.multipliers))]
        return tuple((side // factor if self.is_sr3 else factor) in wanted for factor in factors)

    def _numbers(self, path: str, default: list[float]) -> list[float]:
        values = self.get(path, list, default)
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if not numbers or (default and not values):
            raise ConfigError(f"{self.file}: {path}: expected a list of numbers, found {json.dumps(values)}.")
        return values

    @property
    def one_head(self) -> bool:
        """Neither the channels of a head nor a number of heads is said."""
        return self.unet("num_head_channels", int, -1) == -1 and self.unet("num_heads", int, 1) == 1

    def head_channels(self, layout: Layout) -> int | None:
        """Channels of an attention head, None if it is to be one head. Raises ConfigError where levels would differ."""
        said, heads = self.unet("num_head_channels", int, -1), self.unet("num_heads", int, 1)
        if said != -1 or heads == 1:
            return None if said == -1 else said
        levels = zip(layout.multipliers, layout.attending, strict=True)
        widths = {layout.channels * multiplier for multiplier, attends in levels if attends}
        widths.add(layout.channels * layout.multipliers[-1])
        if len(widths) > 1 or widths.copy().pop() % heads:
            raise ConfigError(
                f"{self.file}: {UNET}.num_heads: {heads} heads at {sorted(widths)} channels. Here the channels of a head are the same "
                "everywhere. Not supported."
            )
        return widths.pop() // heads

    @property
    def new_attention_order(self) -> bool:
        return self.unet("use_new_attention_order", bool, False)

    @property
    def norm_groups(self) -> int:
        return self.unet("norm_groups", int, 32) if self.is_sr3 else 32

    @property
    def dropout(self) -> float:
        return self.unet("dropout", float, 0.0)

    @property
    def dataset(self) -> str:
        """The class of the training images: `InpaintDataset`."""
        return self.class_name("datasets.train.which_dataset.name")

    def class_name(self, path: str) -> str:
        """A class, which is written by its name or as [module, name]; empty if it is not said."""
        return self.class_of(path).rpartition(".")[2]

    def class_of(self, path: str) -> str:
        """Return a class with its module, if that is given: `data.dataset.InpaintDataset`."""
        name = self._found(path)
        if isinstance(name, dict):  # with its arguments
            name = self._found(f"{path}.name")
        return ".".join(map(str, name)) if isinstance(name, list) else str(name or "")

    @property
    def image_size(self) -> int:
        """Side of the training images. guided_diffusion does not look at the `image_size` of its own options; sr3 does."""
        if self.is_sr3 and self.has(f"{UNET}.image_size"):
            return self.unet("image_size", int, 128)
        sides = self._numbers(IMAGE_SIZE, [224, 224] if self.dataset == "ColorizationDataset" else [256, 256])
        return int(min(sides))

    @property
    def task(self) -> str | None:
        """The task by our name, by the class of the training images or by the model's `task`; None if neither tells."""
        said = self.get("model.which_model.args.task", str, "")
        return TASKS.get(self.dataset) or (said if said in DEGRADATIONS else None)

    def refuse_other_network(self, layout: Layout, file: Path) -> None:
        """Raise ConfigError or DataError unless the weights in `file` are of the network that this config describes."""
        if layout.family != self.backbone:
            raise DataError(
                f"{file}: weights of {layout.family}, but {self.file} says {NETWORK}.module_name: {self.backbone}. "
                "They do not belong together."
            )
        said = {
            "in_channels": ("in_channel", self.unet("in_channel", int, 6)),
            "out_channels": ("out_channel", self.unet("out_channel", int, 3)),
            "channels": ("inner_channel", self.channels),
            "multipliers": ("channel_mults", self.multipliers),
            "blocks": ("res_blocks", self.blocks),
            "attending": ("attn_res", self.attending),
        }
        faults = [
            f"\n  {UNET}.{option}: {_shown(value)} in the config, {_shown(getattr(layout, field))} in the file: {layout.seen[field]}"
            for field, (option, value) in said.items()
            if value != getattr(layout, field)
        ]
        if faults:
            raise DataError(f"{file}: not the network that {self.file} describes.{''.join(faults)}")


IMAGE_SIZE = "datasets.train.which_dataset.args.image_size"
TASKS = {"InpaintDataset": "inpainting", "UncroppingDataset": "uncropping", "ColorizationDataset": "colorization"}


def _shown(value: object) -> str:
    if isinstance(value, tuple) and value and all(isinstance(entry, bool) for entry in value):
        return f"attention at levels {[level for level, attends in enumerate(value) if attends]}"
    return str(list(value)) if isinstance(value, tuple) else str(value)
