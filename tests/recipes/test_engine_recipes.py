"""The recipes of CONTRIBUTING.md for the engine: each new thing goes into one file of a copy of the package, and comes out in a table."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

NETWORK = {"channels": 8, "multipliers": [1, 2], "blocks": 1, "attention": [8], "head_channels": 8}
TRAIN = {"steps": 2, "batch_size": 2, "warmup": 1}
ALL_STAGES = """
from pathlib import Path

from palette.running.start import plan_of
from palette.stages.stage import Stage

plan = plan_of([Path("config.yaml")])
for spec in plan.stages.values():
    for shard in spec.shards or [None]:
        Stage.read(spec.write(plan.results)).run(*([] if shard is None else [int(shard)]))
"""


@dataclass(frozen=True)
class Project:
    """A folder with a copy of the package, which runs in processes of its own."""

    folder: Path

    def insert(self, file: str, before: str, text: str) -> None:
        """Insert a text before the only place of another one in a file of the package."""
        content = (self.folder / file).read_text()
        assert content.count(before) == 1, (file, before)
        (self.folder / file).write_text(content.replace(before, text + before))

    def python(self, *arguments: str) -> str:
        """Run Python here, and return what it prints."""
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [sys.executable, *arguments]
        run = subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
        return run.stdout

    def table(self, columns: list[str], row: dict[str, Any], **sections: Any) -> str:
        """Run all stages of a tiny config with one row, colorized by `models.tiny`; return its table."""
        config = {
            "results": "results",
            "datasets": {"photos": {"prepare": {"image_size": 16, "train_images": 8, "test_images": 4}}},
            "tasks": {"gray": {"degradation": "colorization"}},
            "models": {"tiny": {"network": NETWORK, "train": TRAIN}},
            "samplers": {"fast": {"steps": 2}},
            "sample": {"draws": 1},
            "score": {"extractors": ["pixels"], "bootstrap": 0},
            "experiments": [{"dataset": "photos", "task": "gray", "model": "tiny", "sampler": "fast", **row}],
            "tables": {"scores": {"columns": columns}},
            "report": {"inputs": 1},
            **sections,
        }
        (self.folder / "config.yaml").write_text(json.dumps(config))
        self.python("-c", ALL_STAGES)
        (table,) = (self.folder / "results").glob("tabulate/*/scores.md")
        return table.read_text()

    def choices(self) -> str:
        """The JSON schema of the config."""
        return self.python("-m", "palette", "config", "--schema")


@pytest.fixture
def project(checkout: Path, tmp_path: Path) -> Project:
    shutil.copytree(checkout / "palette", tmp_path / "palette", ignore=shutil.ignore_patterns("__pycache__"))
    return Project(tmp_path)


def test_a_sampler(project: Project) -> None:
    file = "palette/diffusion/samplers.py"
    function = "def one_step(denoise, y, log_snrs, noise):\n    return denoise(y, log_snrs[0].item())\n\n\n"
    project.insert(file, "SAMPLERS: dict", function)
    project.insert(file, '    "heun": heun,\n', '    "one-step": one_step,\n')
    assert '"one-step"' in project.choices()
    assert "tiny" in project.table(["psnr"], {}, samplers={"fast": {"kind": "one-step", "steps": 2}})


def test_an_objective_and_a_loss(project: Project) -> None:
    file = "palette/diffusion/objective.py"
    project.insert(file, '    "x0": Objective(', '    "x0-edm": Objective(draw_lognormal, x0_scales, (2e-3, 32.0)),\n')
    project.insert(file, '"l1": torch.abs', '"log-cosh": lambda error: torch.log(torch.cosh(error)), ')
    objective = {"kind": "x0-edm", "loss": "log-cosh"}
    assert "tiny" in project.table(
        ["psnr"], {}, models={"tiny": {"network": NETWORK, "objective": objective, "train": TRAIN}}
    )


def test_a_metric_on_features(project: Project) -> None:
    file = "palette/scoring/metrics.py"
    function = '''def spread(measured: Measured, settings: Settings) -> Score:
    """Compute the mean standard deviation of the features."""
    return _mean(measured.own["features"].std(0), settings)


'''
    project.insert(file, "METRICS: dict", function)
    project.insert(
        file,
        '    "lpips": Metric(',
        '    "spread": Metric(spread, "features", "spread", "reference", 3, "how varied the features are"),\n',
    )
    photos = {"extractors": ["photos"], "photos": {"steps": 2, "batch_size": 4, "channels": 8}, "bootstrap": 0}
    assert "spread-photos" in project.table(["spread", "psnr"], {"model": "input", "sampler": None}, score=photos)


def test_a_metric_on_pixels(project: Project) -> None:
    file = "palette/scoring/pixels.py"
    function = "def darkest(output: Image, original: Image) -> float:\n    return float(output.min())\n\n\n"
    project.insert(file, "PIXEL_METRICS: dict", function)
    project.insert(
        file,
        '    "psnr": PixelMetric(',
        '    "darkest": PixelMetric(darkest, "darkest pixel", "reference", 0, "its value"),\n',
    )
    assert "darkest pixel" in project.table(["darkest"], {"model": "input", "sampler": None})


MOMENTS = '''"""Mean and deviation of the colors."""

import numpy as np

from palette.scoring.extractors import Extractor


def _load(source):
    def measure(outputs, originals, labels):
        return {"features": np.hstack([outputs.mean((1, 2)), outputs.std((1, 2))]).astype(np.float32)}

    return lambda image: image.astype(np.float32), measure


EXTRACTORS: dict[str, Extractor] = {"moments": Extractor(_load, label="moments")}
'''


def test_an_extractor(project: Project) -> None:
    (project.folder / "palette/scoring/extractors/moments.py").write_text(MOMENTS)
    assert '"moments"' in project.choices()
    score = {"extractors": ["moments"], "bootstrap": 0}
    assert "PD-moments" in project.table(["pd"], {"model": "input", "sampler": None}, score=score)
    (facts,) = (project.folder / "results/extractor").glob("moments-*/extractor.json")
    assert json.loads(facts.read_text()) == {"kind": "moments", "resize": "none"}


PLAIN = '''"""ADM's network without residual blocks that change the resolution."""

from palette.model.networks import adm, sr3


class Backbone(adm.Backbone):
    def down(self, channels):
        return sr3.Resample(channels, stride=2)

    def up(self, channels):
        return sr3.Resample(channels, stride=1)
'''


def test_a_backbone(project: Project) -> None:
    (project.folder / "palette/model/networks/plain.py").write_text(PLAIN)
    network = {**NETWORK, "backbone": "plain"}
    assert "tiny" in project.table(["psnr"], {}, models={"tiny": {"network": network, "train": TRAIN}})
    (weights,) = (project.folder / "results/train").glob("*/model.safetensors")
    assert "encoder.1.conv.weight" in load_file(weights)


def test_a_training_option(project: Project) -> None:
    field = '    weight_decay: float = Field(0.0, ge=0)\n    """Adam\'s weight decay."""\n'
    project.insert("palette/config/models.py", "    clip: Weight = 1.0", field)
    project.insert("palette/training/trainer.py", "fused=True)", "weight_decay=spec.weight_decay, ")
    assert '"weight_decay"' in project.choices()
    models = {
        "tiny": {"network": NETWORK, "train": TRAIN},
        "decayed": {"network": NETWORK, "train": {**TRAIN, "weight_decay": 9}},
    }
    project.table(["psnr"], {"model": ["tiny", "decayed"]}, models=models)
    one, other = map(load_file, (project.folder / "results/train").glob("*/model.safetensors"))
    assert any((one[name] != other[name]).any() for name in one)
