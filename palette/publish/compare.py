"""Comparison of two score files or two results folders: which differences exceed the uncertainty of both.

Imports no torch.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from math import hypot, inf
from pathlib import Path
from typing import Any, Literal

from palette.errors import ConfigError
from palette.stages.reading import read_spec
from palette.stages.report import ReportSpec
from palette.system.files import read_json

Verdict = Literal["better", "worse", "other", "same", "unknown"]

INTERVALS_ONLY = "bootstrap"
"""Entry of a protocol that affects intervals but no score."""
ALONE = "(named)"
"""Placeholder for the experiment's name when a score file was given directly."""
REPORTED = "report/spec.yaml"
"""The file in a results folder that lists its rows and their scores."""


@dataclass(frozen=True)
class Value:
    """A score with its 95 % interval. `value` None is infinite."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference:
    """A score that both sides have."""

    experiment: str
    key: str
    label: str
    digits: int
    old: Value
    new: Value
    difference: float | None
    """new - old; None if one of the two is infinite, 0 if both are."""
    uncertainty: float | None
    """Half-width of the difference's 95 % interval; None if one of the two has no interval."""
    verdict: Verdict
    """`same`: within the uncertainty. `other`: beyond it, for a score without a better direction.

    `unknown`: no intervals.
    """


@dataclass(frozen=True)
class Comparison:
    """All scores that both sides have in common."""

    differences: tuple[Difference, ...]
    unlike: tuple[str, ...]
    """Differences between their protocols."""
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    """Experiments, or `experiment: score`, found on one side only."""

    @property
    def worse(self) -> list[Difference]:
        return [difference for difference in self.differences if difference.verdict == "worse"]


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
    differing = list(
        dict.fromkeys(text for n in common for text in _unlike(first[n]["protocol"], second[n]["protocol"]))
    )
    if differing and not unlike:
        raise ConfigError(
            f"{old} and {new} were scored under different protocols, so their numbers cannot be compared:\n  "
            + "\n  ".join(differing)
            + "\nTo see them side by side all the same: --allow-different-protocols"
        )
    scores = [(n, first[n]["scores"], second[n]["scores"]) for n in common]
    return Comparison(
        tuple(_difference(n, key, a[key], b[key]) for n, a, b in scores for key in a if key in b),
        tuple(differing),
        (*(n for n in first if n not in second), *(f"{n}: {key}" for n, a, b in scores for key in a if key not in b)),
        (*(n for n in second if n not in first), *(f"{n}: {key}" for n, a, b in scores for key in b if key not in a)),
    )


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
        made = {experiment: _scores(file) for experiment, file in files.items() if file.is_file()}
        if made:
            return made
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


def _difference(experiment: str, key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Difference:
    a, b = (Value(entry["value"], entry["low"], entry["high"]) for entry in (old, new))
    change = _infinite(b) - _infinite(a) if a.value is not None or b.value is not None else 0.0
    uncertainty = _uncertainty(a, b, change)
    return Difference(
        experiment,
        key,
        new["label"],
        new["digits"],
        a,
        b,
        change if abs(change) < inf else None,
        uncertainty,
        _verdict(change, uncertainty, new["better"]),
    )


def _infinite(value: Value) -> float:
    return inf if value.value is None else value.value


def _uncertainty(old: Value, new: Value, change: float) -> float | None:
    """Return the half-width of the difference's interval, from the two facing sides, as for independent samples.

    Two rows of one test set share its images, so this is conservative.
    """
    lower, upper = (old, new) if change >= 0 else (new, old)
    if lower.value is None or lower.high is None or upper.value is None or upper.low is None:
        return None
    return hypot(lower.high - lower.value, upper.value - upper.low)


def _verdict(change: float, uncertainty: float | None, better: str) -> Verdict:
    if change == 0:
        return "same"
    if uncertainty is None and abs(change) < inf:
        return "unknown"
    if uncertainty is not None and abs(change) <= uncertainty:
        return "same"
    if better not in ("lower", "higher"):
        return "other"
    return "better" if (change > 0) == (better == "higher") else "worse"


# ------------------------------------------------------------------------------------------------- printing

WORDS: Mapping[Verdict, str] = {
    "better": "better",
    "worse": "WORSE",
    "other": "differs",
    "same": "within the uncertainty",
    "unknown": "no interval",
}
HEAD = ("experiment", "score", "old", "new", "difference", "±", "")


def as_text(found: Comparison) -> str:
    """Format as a table in columns, with what could not be compared below."""
    return _table(
        found,
        lambda rows: [_aligned(row, [max(map(len, column)) for column in zip(*rows, strict=True)]) for row in rows],
    )


def as_markdown(found: Comparison) -> str:
    """Format as a pipe table."""

    def piped(rows: list[tuple[str, ...]]) -> list[str]:
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        return [lines[0], "| --- | --- | ---: | ---: | ---: | ---: | --- |", *lines[1:], ""]

    return _table(found, piped)


def as_json(found: Comparison) -> dict[str, Any]:
    """Return everything, with all digits."""
    return {**asdict(found), "worse": len(found.worse)}


def _table(found: Comparison, lines: Callable[[list[tuple[str, ...]]], list[str]]) -> str:
    rows = [HEAD, *(_row(difference) for difference in found.differences)]
    notes = [f"Unlike protocols: {text}" for text in found.unlike]
    notes += [
        f"Only in {side}: {', '.join(names)}"
        for side, names in (("old", found.only_old), ("new", found.only_new))
        if names
    ]
    return "\n".join([*lines(rows), *notes])


def _row(d: Difference) -> tuple[str, ...]:
    def number(value: float | None, missing: str, sign: str = "") -> str:
        return missing if value is None else f"{value:{sign}.{d.digits}f}"

    values = (
        number(d.old.value, "∞"),
        number(d.new.value, "∞"),
        number(d.difference, "∞", "+"),
        number(d.uncertainty, "—"),
    )
    return (d.experiment, d.label, *values, WORDS[d.verdict])


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [
        cell.rjust(width) if 2 <= i <= 5 else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
