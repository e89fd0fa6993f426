"""Reading of a `spec.yaml`. Every job starts with it, so it imports only the kind that the file names."""

from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from palette.errors import ConfigError
from palette.stages.base import Loader, Spec

MODULES = sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))


def class_of(kind: str) -> type[Spec]:
    """Return the spec class of a kind, from the module of its name. Raises KeyError if there is none."""
    if kind not in MODULES:
        raise KeyError(kind)
    module = import_module(f"{__package__}.{kind}")
    classes = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Spec)]
    return {c.kind: c for c in classes if hasattr(c, "kind")}[kind]


def read_spec(path: Path) -> Spec:
    """Read a stage's `spec.yaml`. Raises ConfigError if it is not one, or was edited by hand."""
    try:
        content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader)
        kind, written = content.pop("kind"), content.pop("hash")
        spec = class_of(kind).model_validate(content)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. `snakemake` writes the specs of a config when it runs.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except (AttributeError, KeyError, TypeError):
        raise ConfigError(
            f"{path}: not the spec of a stage. It is the spec.yaml in a stage's folder in results; `snakemake` writes it, and so "
            "does `python -m palette plan --write`."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise ConfigError(f"{path}: a damaged spec ({error}). Run `snakemake`: it writes it again.") from None
    if spec.hash != written:
        raise ConfigError(
            f"{path}: edited by hand (hash {spec.hash}, says {written}). Change the config instead and run `snakemake`."
        )
    return spec
