"""JSON configs of the unofficial code: reading them, and the network options in them."""

import json
import re
from pathlib import Path
from typing import Any, TypeVar

from palette.config.tasks import DEGRADATIONS
from palette.errors import ConfigError

T = TypeVar("T")

SR3_CODE = "SR3 (Image-Super-Resolution-via-Iterative-Refinement)"
SR3_ADVICE = "It cannot be imported. Train one here: task `super-resolution`, `backbone: sr3`."
STRING = r'"(?:\\.|[^"\\\n])*"'
NETWORK = "model.which_networks.0.args"
UNET = f"{NETWORK}.unet"
IMAGE_SIZE = "datasets.train.which_dataset.args.image_size"
TASKS = {"InpaintDataset": "inpainting", "UncroppingDataset": "uncropping", "ColorizationDataset": "colorization"}
"""Class of the training images' dataset → task."""


def plain_json(text: str) -> str:
    """Return `text` with blanks for comments, `// …` and `/* … */`, and trailing commas; strings are left alone."""

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
    """Read a JSON config. Raises ConfigError, with the line of a syntax error, if it is not of the unofficial code."""
    try:
        raw = json.loads(plain_json(file.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not readable ({error}).") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{file}:{error.lineno}: not valid JSON: {error.msg} (column {error.colno}).") from None
    if isinstance(raw, dict) and isinstance(raw.get("model"), dict) and "which_model_G" in raw["model"]:
        raise ConfigError(f"{file}: a config of {SR3_CODE}. {SR3_ADVICE}")
    missing = [repr(key) for key in ("datasets", "model") if not isinstance(raw, dict) or key not in raw]
    if missing:
        raise ConfigError(f"{file}: not a config of the unofficial code: no {' and no '.join(missing)} in it.")
    return Upstream(file, raw)


class Upstream:
    """JSON config whose options are named by path: `train.n_iter`, `model.which_networks.0.args.unet`.

    It records which options are read, so that unused ones can be listed. null is the same as missing.
    """

    def __init__(self, file: Path, raw: dict[str, Any]) -> None:
        self.file, self.raw = file, raw
        self.not_honored: list[str] = []
        self.notes: list[str] = []
        self._read: set[str] = set()

    def error(self, path: str, text: str) -> ConfigError:
        return ConfigError(f"{self.file}: {path}: {text}")

    def differs(self, line: str) -> None:
        """Record a setting that is not honored: its path, and what is different here."""
        self.not_honored.append(line)

    def get(self, path: str, kind: type[T], default: T) -> T:
        """Return the option at `path`. Raises ConfigError for another type; a whole number is an int in any notation."""
        value = self._value(path)
        if value is None:
            return default
        if kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(path, f"expected {kind.__name__}, found {json.dumps(value)}.")
        return value

    def count(self, path: str, default: int) -> int:
        """Return the whole number at `path`, 1 or more."""
        number = self.get(path, int, default)
        if number < 1:
            raise self.error(path, f"should be 1 or more, found {number}.")
        return number

    def numbers(self, path: str, default: list[float]) -> list[float]:
        """Return the list of numbers at `path`. Raises ConfigError if it is empty and `default` is not."""
        values = self.get(path, list, default)
        valid = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if not valid or (default and not values):
            raise self.error(path, f"expected a list of numbers, found {json.dumps(values)}.")
        return values

    def skip(self, *paths: str) -> None:
        """Mark options as read."""
        self._read.update(paths)

    def _value(self, path: str) -> Any:
        self._read.add(path)
        value: Any = self.raw
        for part in path.split("."):
            if isinstance(value, list):
                value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
            else:
                value = value.get(part) if isinstance(value, dict) else None
        return value

    def unread(self) -> list[str]:
        """Return the options that were not read, in file order; a section without any read option as a whole."""

        def walk(value: Any, path: str) -> list[str]:
            if path in self._read or value is None:
                return []
            if path and not any(read.startswith(f"{path}.") for read in self._read):
                return [path]
            entries = dict(enumerate(value)) if isinstance(value, list) else value
            return [line for key, entry in entries.items() for line in walk(entry, f"{path}.{key}".removeprefix("."))]

        return walk(self.raw, "")

    def class_of(self, path: str) -> str:
        """Return a class with its module, if that is given: `data.dataset.InpaintDataset`; empty if missing."""
        name = self._value(path)
        if isinstance(name, dict):  # with its arguments
            name = self._value(f"{path}.name")
        return ".".join(map(str, name)) if isinstance(name, list) else str(name or "")

    @property
    def backbone(self) -> str:
        """`guided_diffusion` or `sr3`, which is their default."""
        name = self.get(f"{NETWORK}.module_name", str, "sr3")
        if name not in ("sr3", "guided_diffusion"):
            raise self.error(f"{NETWORK}.module_name", f"{name!r}; `sr3` and `guided_diffusion` are known.")
        return name

    @property
    def dataset(self) -> str:
        """Class name of the training images' dataset, without its module: `InpaintDataset`."""
        return self.class_of("datasets.train.which_dataset.name").rpartition(".")[2]

    @property
    def image_size(self) -> int:
        """Side of the training images. guided_diffusion ignores the `image_size` of its own options; sr3 uses it."""
        if self.backbone == "sr3" and (side := self.get(f"{UNET}.image_size", int, 0)):
            return side
        return int(min(self.numbers(IMAGE_SIZE, [224] if self.dataset == "ColorizationDataset" else [256])))

    @property
    def task(self) -> str | None:
        """Task by our name, from the training images' dataset class or the model's `task`; None if unknown."""
        task = self.get("model.which_model.args.task", str, "")
        return TASKS.get(self.dataset) or (task if task in DEGRADATIONS else None)


def network_options(source: Upstream, side: int, noise_embedding: str, exact: bool) -> dict[str, Any]:
    """Return the options of our `Network` for that of a JSON config and images of `side` pixels.

    exact: raise ConfigError for heads that are not of one size, instead of listing them among the settings not honored.
    """

    def option(name: str, kind: type[T], default: T) -> T:
        return source.get(f"{UNET}.{name}", kind, default)

    if (option("in_channel", int, 6), option("out_channel", int, 3)) != (6, 3):
        raise source.error(UNET, "networks here take 6 channels, the condition and the image, and give 3.")
    is_sr3 = source.backbone == "sr3"
    multipliers = source.numbers(f"{UNET}.channel_mults", [1, 2, 4, 8, 8] if is_sr3 else [1, 2, 4, 8])
    if any(not float(multiplier).is_integer() or multiplier < 1 for multiplier in multipliers):
        raise source.error(f"{UNET}.channel_mults", f"{multipliers}; whole numbers from 1 are possible here.")
    widths = [option("inner_channel", int, 32) * int(multiplier) for multiplier in multipliers]
    # `attn_res` lists side lengths of feature maps for sr3, and downsampling factors for guided_diffusion.
    attn_res, largest = source.numbers(f"{UNET}.attn_res", []), option("image_size", int, 128)
    scales = [largest >> level if is_sr3 else 1 << level for level in range(len(widths))]
    attending = [level for level, scale in enumerate(scales) if scale in attn_res]
    head_channels = -1 if is_sr3 else option("num_head_channels", int, -1)
    if head_channels == -1:
        head_channels = _channels_of_heads(source, widths, {*attending, len(widths) - 1}, exact)
    return {
        "backbone": "sr3" if is_sr3 else "adm",
        "channels": option("inner_channel", int, 32),
        "multipliers": [int(multiplier) for multiplier in multipliers],
        "blocks": option("res_blocks", int, 3 if is_sr3 else 2),
        "attention": [side >> level for level in attending],
        "head_channels": head_channels,
        "noise_embedding": noise_embedding,
        "groups": option("norm_groups", int, 32) if is_sr3 else 32,
        "dropout": option("dropout", float, 0.0),
    }


def _channels_of_heads(source: Upstream, widths: list[int], attending: set[int], exact: bool) -> int:
    """Return the channels per head of a network whose options give a number of heads, the same at every level."""
    path = f"{UNET}.num_heads"
    heads = 1 if source.backbone == "sr3" else source.count(path, 1)
    if heads == 1:
        return max(widths)
    attended = {widths[level] for level in attending}
    channels = max(max(attended) // heads, 1)
    if not exact:
        source.differs(f"{path}: {heads}; heads have the same channels at every level here, {channels}.")
    elif len(attended) > 1 or max(attended) % heads:
        everywhere = "Here the channels of a head are the same everywhere. Not supported."
        raise source.error(path, f"{heads} heads at {sorted(attended)} channels. {everywhere}")
    return channels
