"""JSON configs of the unofficial code: reading them, and the network options in them."""

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
    """Return `text` without comments and trailing commas, with every other character at the same position.

    Comments are `// …` and `/* … */`; strings are left alone, even those that seem to contain a comment.
    """

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0].startswith('"') else re.sub(r"[^\n]", " ", found[0])

    text = re.sub(rf"{STRING}|//[^\n]*|/\*.*?\*/", blank, text, flags=re.DOTALL)
    return re.sub(rf"{STRING}|,(?=\s*[}}\]])", blank, text)


def is_upstream_config(file: Path) -> bool:
    """Return whether the file is meant to be JSON, judging by its extension or its first character."""
    if file.suffix.lower() in (".json", ".jsonc", ".json5"):
        return True
    try:
        return plain_json(file.read_text(encoding="utf-8")).lstrip().startswith("{")
    except (OSError, UnicodeDecodeError):
        return False


def read_config(file: Path) -> "Upstream":
    """Read a JSON config.

    Raises ConfigError, with the line of a syntax error, if it is not one of the unofficial code.
    """
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
    """JSON config whose options are named by path: `train.n_iter`, `model.which_networks.0.args.unet`.

    It records which options are read, so that unused ones can be listed. null is the same as missing.
    """

    def __init__(self, file: Path, raw: dict[str, Any]) -> None:
        self.file, self.raw = file, raw
        self._asked: set[str] = set()

    def get(self, path: str, kind: type[T], default: T) -> T:
        """Return the option at `path`, or `default` if it is missing.

        A whole number counts as int in any notation (1e8). Raises ConfigError for another type.
        """
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
        """Mark options as read."""
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
        """Return the options that were not read, in file order.

        A section without any read option is listed as a whole.
        """

        def walk(value: Any, path: str) -> list[str]:
            below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            if path in self._asked or value is None:
                return []
            if not any(asked.startswith(f"{path}.") for asked in self._asked):
                return [path]
            return [left for key, entry in below for left in walk(entry, f"{path}.{key}")]

        return [left for key, value in self.raw.items() for left in walk(value, key)]

    # -- network options

    @property
    def backbone(self) -> str:
        """`guided_diffusion` or `sr3`, which is their default."""
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
        """Attention at each level, finest first: True for levels that have it.

        `attn_res` lists side lengths of feature maps for sr3, and downsampling factors for guided_diffusion.
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
        """True if neither the channels per head nor a number of heads above 1 is given."""
        return self.unet("num_head_channels", int, -1) == -1 and self.unet("num_heads", int, 1) == 1

    def head_channels(self, layout: Layout) -> int | None:
        """Return the channels per attention head, None for a single head.

        Raises ConfigError if they would differ between levels.
        """
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
        """Class name of the training images' dataset: `InpaintDataset`."""
        return self.class_name("datasets.train.which_dataset.name")

    def class_name(self, path: str) -> str:
        """Return the name of a class, given as its name or as [module, name]; empty if missing."""
        return self.class_of(path).rpartition(".")[2]

    def class_of(self, path: str) -> str:
        """Return a class with its module, if that is given: `data.dataset.InpaintDataset`."""
        name = self._found(path)
        if isinstance(name, dict):  # with its arguments
            name = self._found(f"{path}.name")
        return ".".join(map(str, name)) if isinstance(name, list) else str(name or "")

    @property
    def image_size(self) -> int:
        """Side of the training images. guided_diffusion ignores the `image_size` of its own options; sr3 uses it."""
        if self.is_sr3 and self.has(f"{UNET}.image_size"):
            return self.unet("image_size", int, 128)
        sides = self._numbers(IMAGE_SIZE, [224, 224] if self.dataset == "ColorizationDataset" else [256, 256])
        return int(min(sides))

    @property
    def task(self) -> str | None:
        """Task by our name, from the training images' dataset class or the model's `task`; None if unknown."""
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
