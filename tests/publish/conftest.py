"""A results folder as the workflow leaves it, with small random images, for tables, figures and the page."""

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from palette.config.datasets import Fetch, Prepare
from palette.config.models import Network, Objective
from palette.config.sampling import Sampler
from palette.config.scores import Table
from palette.data.sources.manifest import write_manifest
from palette.data.store.store import StoredImage, write_store
from palette.stages.base import Spec
from palette.stages.fetch import FetchSpec
from palette.stages.prepare import PrepareSpec
from palette.stages.report import ReportSpec
from palette.stages.rows import Evaluated, Row
from palette.stages.sample import SampleSpec
from palette.stages.tabulate import TabulateSpec
from palette.stages.train import TrainSpec
from palette.system.files import write_json, write_text

SIZE, TESTS, DRAWS = 16, 6, 3
CLASSES = ("cat", "cup", "rocket")
ABOUT = {
    "fd-photos": ("fd", "FD-photos", "lower", 2),
    "ca-photos": ("ca", "CA-photos %", "higher", 1),
    "psnr": ("psnr", "PSNR", "higher", 2),
    "chroma": ("chroma", "chroma", "reference", 1),
}
"""Score → metric, label, better, digits."""
WORST = {"score": "pd-photos", "label": "PD-photos", "digits": 3, "images": [5, 2, 0, 1], "values": [3.25, 2.5, 1, 0.5]}
"""As the scores tell the worst images."""

NOTICED = {
    "files": {
        "listed": 29,
        "bad": 2,
        "examples": [{"file": "dogs/<7>.png", "reason": "damaged"}, {"file": "later.png", "reason": "changed since"}],
    },
    "same_names": {"count": 2, "names": [["a/Cat.png", "a/cat.png"]]},
    "duplicates": {
        "option": "drop",
        "copies": 4,
        "equal": 1,
        "near": 3,
        "examples": [
            {"train": "twin.png", "test": 5, "bits": 0, "equal": True},
            {"train": "small.png", "test": 2, "bits": 3, "equal": False},
        ],
    },
}
"""Bad files and duplicates, as `prepare.json` tells of them."""


def picture(*key: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(key).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def entry(key: str, value: float | None, **more: Any) -> dict[str, Any]:
    """A score as it stands in `scores.json`."""
    metric, label, better, digits = ABOUT[key]
    low, high = (None, None) if value is None else (value - 1, value + 1)
    head = {"value": value, "low": low, "high": high, **more}
    return {**head, "metric": metric, "label": label, "better": better, "digits": digits, "about": f"what {key} is"}


class Results:
    """Writes stages and collects rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self.prepare = self._dataset()

    def _write(self, spec: Spec) -> Path:
        spec.write(self.folder)
        return self.folder / spec.folder

    def _dataset(self) -> str:
        fetch, prepare = FetchSpec(name="photos", fetch=Fetch()), PrepareSpec(name="photos", prepare=Prepare())
        prepare = prepare.model_copy(update={"parents": {"fetch": fetch.folder}})
        image = {
            "file": "chelsea.png",
            "class": "cat",
            "title": "Chelsea <the cat>",
            "author": "A. Photographer",
            "license": "CC0",
        }
        header = {
            "source": "photos",
            "containers": ["images"],
            "title": "Cats & cups",
            "license": "by agreement",
            "citation": "@misc{cats}",
            "homepage": "https://example.org/cats",
        }
        bad = {"file": "dogs/<7>.png", "reason": "damaged or not supported (image file is truncated)"}
        entries = [
            {**image, "url": "https://example.org/cat"},
            bad,
            {"file": "README", "reason": "unsupported file extension"},
        ]
        write_manifest(self._write(fetch) / "manifest.jsonl", header, entries)
        folder = self._write(prepare)
        counts = {"train": {"images": 20}, "test": {"images": TESTS}}
        write_json(folder / "prepare.json", {"image_size": SIZE, "classes": CLASSES, **counts, **NOTICED})
        items = (StoredImage(f"{i:08}.png", picture(i), i % 3) for i in range(TESTS))
        write_store(folder / "test.zip", items, CLASSES)
        return prepare.folder

    def train(self, model: str, seed: int, steps: int = 30) -> str:
        kind = "regression" if model == "regression" else "edm"
        spec = TrainSpec.model_validate(
            {
                **{
                    "name": f"photos-{model}-s{seed}",
                    "mix": {"colorization": 1},
                    "image_size": SIZE,
                    "network": Network(),
                },
                **{"objective": Objective(kind=kind), "seed": seed, "steps": steps, "batch_size": 4, "accumulate": 1},
                **{"learning_rate": 1e-3, "warmup": 1, "ema": 0.9, "clip": 1.0, "flip": True, "precision": "fp32"},
                **{"ema_widths": (), "validation_images": 0, "start_sha256": None},
            }
        )
        folder = self._write(spec)
        write_json(folder / "model.json", {"parameters": 3_100_000, "objective": {"kind": kind, "loss": "l2"}})
        write_json(
            folder / "card.json",
            {"seconds": 75.0, "training_seconds": 2.0 * steps, "devices": 2, "machine": "Linux, 2 cores"},
        )
        lines = [json.dumps({"step": step, "loss": 1 / step}) for step in range(10, steps + 1, 10)]
        write_text(folder / "log.jsonl", "\n".join(lines) + "\n")
        return spec.folder

    def samples(self, name: str, sampler: Sampler | None, seed: int) -> str:
        spec = SampleSpec.model_validate(
            {
                **{
                    "name": name,
                    "baseline": None,
                    "degradation": "colorization",
                    "quality": None,
                    "sampler": sampler,
                    "seed": seed,
                },
                **{
                    "image_size": SIZE,
                    "count": TESTS,
                    "batch_size": 4,
                    "shard_size": 4,
                    "draws": DRAWS,
                    "draw_inputs": TESTS,
                },
            }
        )
        folder = self._write(spec)
        for shard, items in enumerate((range(4), range(4, TESTS))):
            write_store(
                folder / f"shard-{shard:03}.zip",
                [StoredImage(f"{i:08}.png", picture(i, 0, seed)) for i in items],
                ["x"],
            )
            write_json(
                folder / f"shard-{shard:03}.json", {"seconds": 3.0 * len(items) * (sampler.steps if sampler else 1)}
            )
            draws = [(i, d) for i in items for d in range(1, DRAWS)] if sampler else []
            write_store(
                folder / f"draws-{shard:03}.zip",
                [StoredImage(f"{i:08}-{d}.png", picture(i, d)) for i, d in draws],
                ["x"],
            )
        return spec.folder

    def add(
        self,
        model: str,
        scores: dict[str, float | dict[str, Any] | None],
        seed: int = 0,
        sampled: Sampler | None = None,
        **changes: Any,
    ) -> Row:
        """An experiment on colorization (or as `changes` say) with these scores. sampled: how, if not by the usual sampler."""
        trained = model not in ("input", "originals")
        sampler = "dpm20" if trained and model != "regression" else None
        number = len(self.rows)
        name = f"photos-colorization-{model}-s{seed}"
        if sampled:
            name += f"-{sampled.kind}{sampled.steps}"
            changes = {"sampler": f"{sampled.kind}{sampled.steps}", "evaluations": sampled.evaluations, **changes}
        if changes.get("steps"):
            name += f"-at{changes['steps']}"
        values: dict[str, Any] = {
            "experiment": name,
            "dataset": "photos",
            "task": "colorization",
            "degradation": "colorization",
        }
        values |= {
            "condition": None,
            "model": model,
            "sampler": sampler,
            "evaluations": 20 if sampler else 1 if trained else None,
        }
        if model == "originals":
            values |= {"task": None, "degradation": None}
        row = Row(**(values | {"seed": seed, "score": f"score/{number}", "prepare": self.prepare} | changes))
        protocol = {"reference": {"photos": "features/photos-originals"}, "images": TESTS}
        entries = {k: v if isinstance(v, dict) else entry(k, v) for k, v in scores.items()}
        write_json(
            self.folder / row.score / "scores.json",
            {"images": TESTS, "protocol": protocol, "scores": entries, "worst": WORST},
        )
        if trained and row.degradation == "colorization":
            made = {
                "train": self.train(model, seed, row.steps or 30),
                "sample": self.samples(name, sampled or (Sampler() if sampler else None), seed),
            }
            row = row.model_copy(update=made)
        self.rows.append(row)
        return row

    def tabulate_spec(self, name: str, table: Table, tested: Evaluated | None = None) -> TabulateSpec:
        """A table of those rows that it names; `tested` says what their datasets are, by default no images of the paper's."""
        rows = tuple(row for row in self.rows if any(fnmatchcase(row.experiment, p) for p in table.experiments))
        facts = tested or Evaluated(published=None, image_size=SIZE, images=TESTS, reference_images=None)
        spec = TabulateSpec(name=name, table=table, rows=rows, datasets=dict.fromkeys((r.dataset for r in rows), facts))
        self._write(spec)
        return spec

    def report_spec(self, tables: Sequence[str], inputs: int = 4) -> ReportSpec:
        spec = ReportSpec.model_validate(
            {
                "name": "report",
                "title": "A & B",
                "inputs": inputs,
                "draws": DRAWS,
                "draw_inputs": 8,
                "tables": dict.fromkeys(tables, "0"),
                "rows": self.rows,
            }
        )
        self._write(spec)
        return spec


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """A folder with a dataset and no experiments."""
    return Results(tmp_path)


@pytest.fixture
def colorization(results: Results) -> Results:
    """The four usual rows of colorization."""
    results.add("palette", {"fd-photos": 12.341, "ca-photos": 70.0, "psnr": 20.0, "chroma": 29.0})
    results.add("regression", {"fd-photos": 20.0, "ca-photos": 75.0, "psnr": 22.0, "chroma": 10.0})
    results.add("input", {"fd-photos": 1.0, "ca-photos": 99.0, "psnr": 30.0, "chroma": 0.0})
    results.add("originals", {"fd-photos": 0.0, "ca-photos": 100.0, "psnr": None, "chroma": 30.0})
    return results
