"""The spec of a stage: all that its result depends on, and nothing else.

A stage reads its spec and its parents' files and writes its own folder, `results/<kind>/<name>-<hash>/`. The hash covers every
field below except `name` and `runtime`; the parents enter with their own hashes. So a changed option, a changed line of engine code
or a changed parent gives another folder, and what is on disk under a name is always what that name says.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from palette.errors import ConfigError
from palette.spec.base import Loader, Spec
from palette.spec.pages import ReportSpec, TabulateSpec
from palette.spec.stages import (
    ExtractorSpec,
    FeaturesSpec,
    FetchSpec,
    MaskSpec,
    PrepareSpec,
    ReleasedSpec,
    SampleSpec,
    ScoreSpec,
    StatisticsSpec,
    TrainSpec,
)

KINDS: dict[str, type[Spec]] = {
    spec.kind: spec
    for spec in (
        FetchSpec,
        PrepareSpec,
        MaskSpec,
        TrainSpec,
        ReleasedSpec,
        SampleSpec,
        ExtractorSpec,
        FeaturesSpec,
        StatisticsSpec,
        ScoreSpec,
        TabulateSpec,
        ReportSpec,
    )
}


def read_spec(path: Path) -> Spec:
    """Read a stage's `spec.yaml`. Raises ConfigError for what is not one, or was edited by hand."""
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
