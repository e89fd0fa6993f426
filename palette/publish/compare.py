"""Comparison of two score files or two results folders: which differences exceed the uncertainty of both.

Imports no torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, isinf, isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from palette.errors import ConfigError
from palette.publish.tables.scores import each
from palette.stages.reading import read_spec
from palette.stages.report import ReportSpec
from palette.system.files import read_json

INTERVALS_ONLY = "bootstrap"
"""Entry of a protocol that affects intervals but no score."""
ALONE = "(named)"
"""Placeholder for the experiment's name when a score file was given directly."""
REPORTED = "report/spec.yaml"
"""The file in a results folder that lists its rows and their scores."""
VALUE = ["value", "low", "high"]
WORDS = {
    "better": "better",
    "worse": "WORSE",
    "other": "differs",
    "same": "within the uncertainty",
    "unknown": "no interval",
}
"""Verdict → text. `other`: beyond the uncertainty, for a score without a better direction. `unknown`: no intervals."""
HEAD = ("experiment", "score", "old", "new", "difference", "±", "")


@dataclass(frozen=True)
class Comparison:
    """All scores that both sides have in common."""

    scores: pd.DataFrame
    """One row per score: experiment, key, label, digits, better; value, low and high on both sides (`_old`, `_new`),
    infinite for the PSNR of equal images; difference (new - old; 0 if both are infinite); uncertainty, the half-width
    of the difference's 95 % interval (NaN if one of the two has no interval); verdict, a key of WORDS.
    """
    unlike: tuple[str, ...]
    """Differences between their protocols."""
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    """Experiments, or `experiment: score`, found on one side only."""

    @property
    def worse(self) -> pd.DataFrame:
        return self.scores[self.scores.verdict == "worse"]


def compare(old: Path, new: Path, unlike: bool = False) -> Comparison:
    """Compare the scores of two sides.

    old, new: both a results folder, whose experiments are matched by name, or both a score folder or `scores.json`.
    Raises ConfigError if nothing matches, or if the protocols differ, unless `unlike`.
    """
    first, second = _experiments(old), _experiments(new)
    common = [name for name in first if name in second]
    if not common:
        raise ConfigError(
            f"{old} and {new} have no experiment in common. The one has {', '.join(first)}; the other {', '.join(second)}. "
            "To compare two different experiments, name their folders in results/score."
        )
    protocols = [text for name in common for text in _unlike(first[name]["protocol"], second[name]["protocol"])]
    differing = list(dict.fromkeys(protocols))
    if differing and not unlike:
        raise ConfigError(
            f"{old} and {new} were scored under different protocols, so their numbers cannot be compared:\n  "
            + "\n  ".join(differing)
            + "\nTo see them side by side all the same: --allow-different-protocols"
        )
    scores = _frame(first)[["experiment", "key", *VALUE]].merge(
        _frame(second), on=["experiment", "key"], suffixes=("_old", "_new")
    )
    return Comparison(_judged(scores), tuple(differing), (*_only(first, second),), (*_only(second, first),))


def _experiments(path: Path) -> dict[str, dict[str, Any]]:
    """Return experiment → content of its `scores.json`. A score file given directly is ALONE."""
    if path.is_file():
        return {ALONE: _scores(path)}
    if (path / "scores.json").is_file():
        return {ALONE: _scores(path / "scores.json")}
    if (path / REPORTED).is_file():
        spec = read_spec(path / REPORTED)
        assert isinstance(spec, ReportSpec)
        files = {row.experiment: path / row.score / "scores.json" for row in spec.rows}
        contents = {experiment: _scores(file) for experiment, file in files.items() if file.is_file()}
        if contents:
            return contents
        raise ConfigError(f"{path}: no experiment of this results folder has been scored yet. `snakemake` scores them.")
    raise ConfigError(
        f"{path}: {'no scores in it' if path.exists() else 'does not exist'}. Name a results folder, a folder of it "
        "such as results/score/photos-jpeg-input-1a2b3c4d5e, or a scores.json."
    )


def _scores(file: Path) -> dict[str, Any]:
    content = read_json(file)
    if not isinstance(content, dict) or not {"protocol", "scores"} <= content.keys():
        raise ConfigError(f"{file}: not a file of scores.")
    return content


def _unlike(old: Mapping[str, Any], new: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Yield each entry that differs between two protocols: `extractors.inception.sha256: f58c… and 1234…`."""
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name, "absent"), new.get(name, "absent")
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _unlike(a, b, f"{at}{name}.")
        elif a != b and name != INTERVALS_ONLY:
            yield f"{at}{name}: {a} and {b}"


def _only(these: Mapping[str, Any], those: Mapping[str, Any]) -> Iterator[str]:
    """Yield the experiments of one side that the other lacks, then the scores."""
    yield from (name for name in these if name not in those)
    for name in (name for name in these if name in those):
        yield from (f"{name}: {key}" for key in these[name]["scores"] if key not in those[name]["scores"])


def _frame(contents: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row per experiment and score."""
    records = [
        {"experiment": name, "key": key, **score}
        for name, content in contents.items()
        for key, score in content["scores"].items()
    ]
    frame = pd.DataFrame(records, columns=["experiment", "key", "label", "digits", "better", *VALUE])
    return frame.astype(dict.fromkeys(VALUE, float)).fillna({"value": inf})


def _judged(scores: pd.DataFrame) -> pd.DataFrame:
    """Add difference, uncertainty and verdict.

    The uncertainty combines the two facing sides of the intervals, as for independent samples. Two rows of one test set
    share its images, so this is conservative.
    """
    difference = (scores.value_new - scores.value_old).where(scores.value_new != scores.value_old, 0.0)
    rise = np.hypot(scores.high_old - scores.value_old, scores.value_new - scores.low_new)
    fall = np.hypot(scores.high_new - scores.value_new, scores.value_old - scores.low_old)
    judged = scores.assign(difference=difference, uncertainty=np.where(difference >= 0, rise, fall))
    return judged.assign(verdict=[_verdict(s.difference, s.uncertainty, s.better) for s in each(judged)])


def _verdict(difference: float, uncertainty: float, better: str) -> str:
    if difference == 0 or abs(difference) <= uncertainty:
        return "same"
    if isnan(uncertainty) and not isinf(difference):
        return "unknown"
    if better not in ("lower", "higher"):
        return "other"
    return "better" if (difference > 0) == (better == "higher") else "worse"


def as_json(found: Comparison) -> dict[str, Any]:
    """Return everything, with all digits."""

    def number(value: float) -> float | None:
        return value if np.isfinite(value) else None

    differences = [
        {
            **{name: score[name] for name in ("experiment", "key", "label", "digits")},
            **{side: {name: number(score[f"{name}_{side}"]) for name in VALUE} for side in ("old", "new")},
            **{name: number(score[name]) for name in ("difference", "uncertainty")},
            "verdict": score["verdict"],
        }
        for score in found.scores.to_dict("records")
    ]
    sides = {"unlike": found.unlike, "only_old": found.only_old, "only_new": found.only_new}
    return {"differences": differences, **sides, "worse": len(found.worse)}


def as_text(found: Comparison) -> str:
    """Format as a table in columns, with what could not be compared below."""
    rows = _rows(found)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = zip(row, widths, strict=True)
        aligned = [cell.rjust(width) if 2 <= i <= 5 else cell.ljust(width) for i, (cell, width) in enumerate(cells)]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join([*lines, *_notes(found)])


def as_markdown(found: Comparison) -> str:
    """Format as a pipe table."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in _rows(found)]
    rule = "| --- | --- | ---: | ---: | ---: | ---: | --- |"
    return "\n".join([lines[0], rule, *lines[1:], "", *_notes(found)])


def _rows(found: Comparison) -> list[tuple[str, ...]]:
    """Return the heading and each difference as texts."""
    rows: list[tuple[str, ...]] = [HEAD]
    for s in each(found.scores):
        sides = ["∞" if isinf(value) else f"{value:.{s.digits}f}" for value in (s.value_old, s.value_new)]
        difference = "∞" if isinf(s.difference) else f"{s.difference:+.{s.digits}f}"
        uncertainty = "—" if isnan(s.uncertainty) else f"{s.uncertainty:.{s.digits}f}"
        rows.append((s.experiment, s.label, *sides, difference, uncertainty, WORDS[s.verdict]))
    return rows


def _notes(found: Comparison) -> Iterator[str]:
    yield from (f"Unlike protocols: {text}" for text in found.unlike)
    for side, names in (("old", found.only_old), ("new", found.only_new)):
        if names:
            yield f"Only in {side}: {', '.join(names)}"
