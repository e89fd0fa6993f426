"""The scores of rows as one tidy frame, which tables and plots start from."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from palette.errors import DataError
from palette.stages.rows import Row
from palette.system.files import read_json

TEST = ["dataset", "task", "degradation", "condition"]
"""What the rows of one test have in common."""
EXPERIMENT = [*TEST, "model", "sampler", "steps"]
"""What experiments that differ only in their seed have in common: they are one line of a table."""
LINE = ["line", *EXPERIMENT, "experiment", "title", "label", "baseline", "nfe", "images", "seeds", "scores", "rows"]
SCORE = ["score", "metric", "name", "better", "digits", "about"]
VALUE = ["value", "low", "high", "deviation"]


def read_scores(rows: Iterable[Row], results: Path) -> pd.DataFrame:
    """Return one row per line and score.

    LINE: number of the line, what its experiments have in common, the name of the first, its texts, and the `Row` of
    each seed. SCORE: key (`fd-photos`), column of a table (`fd`), and display of the score; None for a line without any.
    VALUE: value with the 95 % interval of one seed, or mean and standard deviation of several; infinite for the PSNR of
    equal images. small: True if there are too few images for a reliable score.
    Raises DataError if scores of a dataset were made under different protocols.
    """
    lines: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        lines.setdefault(tuple(getattr(row, name) for name in EXPERIMENT), []).append(row)
    protocols: dict[str, Any] = {}
    records = [r for number, seeds in enumerate(lines.values()) for r in _records(number, seeds, results, protocols)]
    frame = pd.DataFrame(records, columns=[*LINE, *SCORE, *VALUE, "small"], dtype=object)
    return frame.astype(dict.fromkeys(VALUE, float))


def _records(line: int, rows: Sequence[Row], results: Path, protocols: dict[str, Any]) -> Iterator[dict[str, Any]]:
    files = [results / row.score / "scores.json" for row in rows]
    contents = [read_json(file) for file in files]
    for file, content in zip(files, contents, strict=True):
        _check_protocol(file, content["protocol"], protocols.setdefault(rows[0].dataset, content["protocol"]))
    head = {name: getattr(rows[0], name) for name in (*EXPERIMENT, "experiment", "title", "label", "baseline")}
    head |= {"line": line, "rows": tuple(rows), "nfe": rows[0].evaluations, "images": contents[0]["images"]}
    head |= {"seeds": " ".join(str(row.seed) for row in rows), "scores": " ".join(row.score for row in rows)}
    scores = [content["scores"] for content in contents]
    keys = [key for key in scores[0] if all(key in others for others in scores)]
    for key in keys:
        yield {**head, "score": key, **_score([others[key] for others in scores])}
    if not keys:
        yield head


def _check_protocol(file: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise DataError if the protocols differ: numbers of different protocols do not belong in one table."""
    different = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if different:
        parts = "; ".join(f"{name} {found.get(name)} here, {expected.get(name)} elsewhere" for name in different)
        raise DataError(
            f"{file}: scored by another protocol than other rows of its dataset ({parts}), so that they must not be compared. "
            f"Delete {file.parent} and run `snakemake` again."
        )


def _score(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a score of all seeds, from the entry in each `scores.json`, where a value of None is infinite."""
    score = {name: seeds[0]["label" if name == "name" else name] for name in SCORE[1:]}
    score["small"] = any(entry.get("small", False) for entry in seeds)
    values = [float("inf") if entry["value"] is None else entry["value"] for entry in seeds]
    if len(seeds) == 1:
        return {**score, "value": values[0], "low": seeds[0]["low"], "high": seeds[0]["high"]}
    if float("inf") in values:
        return {**score, "value": float("inf")}
    return {**score, "value": fmean(values), "deviation": stdev(values)}


def by_test(scores: pd.DataFrame) -> list[pd.DataFrame]:
    """Split the scores by test (dataset, task and condition), in the order of the rows.

    In each test the input comes first, and the originals, which belong to every test of their dataset, come last.
    """
    originals, tested = scores[scores.model == "originals"], scores[scores.model != "originals"]
    if tested.empty:
        return [test for _, test in originals.groupby("dataset", sort=False)]
    found = []
    for _, test in tested.groupby(TEST, sort=False, dropna=False):
        common = test.iloc[0][[*TEST, "title"]]
        own = test.sort_values("model", key=lambda model: model != "input", kind="stable")
        shared = originals[originals.dataset == common.dataset].assign(**common)
        found.append(pd.concat([own, shared], ignore_index=True))
    return found


def best(values: "pd.Series[float]", better: str) -> list[Any]:
    """Return the index of the best of two or more values; empty if there are fewer, or no better direction is known."""
    values = values.dropna()
    if len(values) < 2 or better not in ("lower", "higher"):
        return []
    return list(values.index[values == (values.min() if better == "lower" else values.max())])


def each(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows of a frame as named tuples. Their values have any type, which type checkers cannot know."""
    yield from frame.itertuples()
