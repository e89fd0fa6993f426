"""Kinds of stages, found by listing the modules next to this one."""

from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from palette.errors import ConfigError
from palette.stages.base import Loader, Sharded, Spec


def _find() -> dict[str, type[Spec]]:
    """Return kind → its class, each after the kinds that it reads."""
    for file in sorted(Path(__file__).parent.glob("[!_]*.py")):
        import_module(f"{__package__}.{file.stem}")
    found = {spec.kind: spec for spec in (*Spec.__subclasses__(), *Sharded.__subclasses__()) if spec is not Sharded}
    return {kind: found[kind] for kind in TopologicalSorter({k: s.reads for k, s in found.items()}).static_order()}


KINDS: dict[str, type[Spec]] = _find()


def read_spec(path: Path) -> Spec:
    """Read a stage's `spec.yaml`. Raises ConfigError if it is not one, or was edited by hand."""
    try:
        content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader)
        kind, written = content.pop("kind"), content.pop("hash")
        spec = KINDS[kind].model_validate(content)
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
