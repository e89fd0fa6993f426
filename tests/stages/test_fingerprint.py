"""The fingerprint of a stage changes with what its code does, and with nothing else."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from palette.config import Config
from palette.planning.plan import Plan
from palette.stages import fingerprint
from palette.stages.kinds import KINDS


def digest(source: str, module: str = "palette.model.unet") -> str:
    return repr(fingerprint.essence(module, ast.parse(source)))


OPTIONS = """
from typing import ClassVar, Literal

from pydantic import Field, field_validator

Kind = Literal["a", "b"]
SOURCES = ("x", "y")


class Other(Options):
    size: int = 1


class Network(Options):
    kind: ClassVar[str] = "n"
    channels: int = Field(64, ge=8)

    @field_validator("channels")
    @classmethod
    def channels_divide(cls, channels: int) -> int:
        if channels % 8:
            raise ValueError("a multiple of 8")
        return channels

    @property
    def reduction(self) -> int:
        return self.channels // 8
"""


def test_comments_docstrings_and_layout_do_not_count() -> None:
    plain = "def f(x):\n    return x + 1\n"
    dressed = '"""Module."""\n\n\ndef f(\n    x,\n):\n    """Add."""\n    # why not\n    return x + 1\n'
    assert digest(plain) == digest(dressed)


def test_attribute_docstrings_do_not_count() -> None:
    assert digest("class A:\n    x: int\n") == digest('class A:\n    """A."""\n\n    x: int\n    """An x."""\n')


def test_a_changed_value_counts() -> None:
    assert digest("X = 1\n") != digest("X = 2\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('["a", "b"]', '["a", "b", "c"]'),
        ("Field(64, ge=8)", "Field(32, ge=4)"),
        ("size: int = 1", "width: float = 2"),
        ("% 8", "% 4"),
        ("field_validator\n", "field_validator, model_validator\n"),
    ],
)
def test_declarations_of_options_do_not_count(before: str, after: str) -> None:
    """Their values are in the spec."""
    changed = OPTIONS.replace(before, after)
    assert changed != OPTIONS
    assert digest(changed, "palette.config.models") == digest(OPTIONS, "palette.config.models")
    assert digest(changed) != digest(OPTIONS)


@pytest.mark.parametrize(("before", "after"), [("// 8", "// 4"), ('"y"', '"z"'), ('= "n"', '= "m"')])
def test_values_computed_from_options_count(before: str, after: str) -> None:
    assert digest(OPTIONS.replace(before, after), "palette.config.models") != digest(OPTIONS, "palette.config.models")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_verb_and_its_own_modules(kind: str) -> None:
    assert f"palette.stages.{kind}" in fingerprint.modules(f"palette.stages.{kind}")


def test_modules_follow_the_imports_and_no_others() -> None:
    train, sample, score = (set(fingerprint.modules(f"palette.stages.{kind}")) for kind in ("train", "sample", "score"))
    assert {"palette.model.unet", "palette.training.loop", "palette.data.tasks.jpeg"} <= train
    assert {"palette.model.unet", "palette.diffusion.samplers"} <= sample
    assert "palette.diffusion.samplers" not in train
    assert not any("palette.training" in module for module in sample | score)
    assert {module for module in score if "palette.model" in module} == {"palette.model.finite"}  # of extractors
    assert not any("palette.scoring" in module for module in train | sample)


def test_plumbing_does_not_count() -> None:
    for kind in KINDS:
        counted = set(fingerprint.modules(f"palette.stages.{kind}"))
        assert not {"palette.config", "palette.planning.plan", "palette.cli", "palette.stages.stage"} & counted
        assert ("palette.stages.rows" in counted) == (kind in ("tabulate", "report"))


def test_modules_that_decide_nothing_exist() -> None:
    """A module that was renamed would count again."""
    assert [name for name in fingerprint.DECIDE_NOTHING if not fingerprint._file(name)] == []


@pytest.mark.parametrize(
    ("file", "before", "after", "kinds"),
    [
        ("config/models.py", "self.patch_size * 2 **", "self.patch_size * 3 **", {"train", "tabulate", "report"}),
        ("config/models.py", '"local-attention")', '"dilated")', {"train", "tabulate", "report"}),
        ("stages/rows.py", "min(16, 2048", "min(8, 2048", {"tabulate", "report"}),
        ("stages/rows.py", 'f"inputs/', 'f"in/', {"tabulate", "report"}),
        ("stages/rows.py", "> 1]", "> 2]", {"tabulate", "report"}),
        ("scoring/extractors/dinov2.py", 'resize="', 'resize="another ', {"extractor"}),
        ("config/models.py", "channels: int = Field(64,", "channels: int = Field(32,", set()),
        ("stages/train.py", "memory_gb=16", "memory_gb=32", set()),
        ("stages/train.py", "states * (4 + averages)", "states * (5 + averages)", set()),
        ("model/flops.py", "20 * width**2", "21 * width**2", set()),
        ("system/devices.py", "= not exact", "= exact", {"train", "extractor", "report"}),
        ("training/log.py", "rounded(mean, 6)", "rounded(mean, 5)", set()),
    ],
)
def test_a_change_makes_the_stages_that_run_it_stale(
    file: str, before: str, after: str, kinds: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("train", "extractor", "tabulate", "report")
    old = {kind: fingerprint.fingerprint(f"palette.stages.{kind}") for kind in asked}
    package = shutil.copytree(fingerprint.PACKAGE, tmp_path / "palette")
    text = (package / file).read_text()
    assert before in text
    (package / file).write_text(text.replace(before, after))
    monkeypatch.setattr(fingerprint, "PACKAGE", package)
    cached = (fingerprint._parse, fingerprint.digests, fingerprint.fingerprint)
    for function in cached:
        function.cache_clear()
    try:
        changed = {kind for kind in asked if fingerprint.fingerprint(f"palette.stages.{kind}") != old[kind]}
    finally:
        for function in cached:
            function.cache_clear()
    assert changed == kinds


@pytest.mark.slow
def test_every_function_that_a_stage_calls_counts(checkout: Path, tmp_path: Path) -> None:
    """All stages of a tiny config run, traced; a change of any function is seen, unless its module decides nothing."""
    called = traced_stages(checkout, tmp_path)
    assert called.keys() >= set(KINDS) - {"released"}
    for kind, lines in called.items():
        counted = set(fingerprint.modules(f"palette.stages.{kind}"))
        assert lines.keys() - fingerprint.DECIDE_NOTHING <= counted, kind
        for module in lines.keys() & counted:
            for line in lines[module]:
                assert change_is_seen(module, line), f"{module}, line {line}, called by {kind}"


def traced_stages(checkout: Path, folder: Path) -> dict[str, dict[str, list[int]]]:
    """Kind of stage → module → first lines of the functions that were called."""
    config = yaml.safe_load((checkout / "workflow/presets/smoke.yaml").read_text())
    config["datasets"]["photos"]["prepare"].update(train_images=8, test_images=8)
    config["models"]["palette"]["train"].update(steps=2, batch_size=2)
    config["sample"]["shard_size"] = config["score"]["shard_size"] = 8
    config["experiments"] = [{"dataset": "photos", "task": "inpainting", "model": "palette", "sampler": "dpm4"}]
    plan = Plan(Config.model_validate({**config, "results": folder / "results"}))
    specs = [str(spec.write(plan.results)) for spec in plan.stages.values()]
    run = subprocess.run(
        [sys.executable, "-m", "tests.tracing", *specs], cwd=checkout, stdout=subprocess.PIPE, check=True, text=True
    )
    return dict(json.loads(run.stdout))


def change_is_seen(module: str, line: int) -> bool:
    """Whether a module's digest is another one with a statement more in the function that begins in `line`.

    True for lambdas, comprehensions and bodies of classes, which are parts of something else, and for validators: the spec
    has what they let pass.
    """
    file = fingerprint._file(module)
    assert file is not None
    before, after = (ast.parse(file.read_bytes()) for _ in range(2))
    for node in ast.walk(after):
        if isinstance(node, ast.FunctionDef) and line in (node.lineno, *(d.lineno for d in node.decorator_list)):
            if fingerprint._declares_option(node):
                return True
            node.body.append(ast.Pass())
            return fingerprint.essence(module, before) != fingerprint.essence(module, after)
    return True
