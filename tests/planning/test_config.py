"""Mistakes in a config are reported all at once, with their lines and remedies; impossible values are refused."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from palette.config import Config
from palette.errors import ConfigError
from palette.planning import checks, config_reference
from palette.running.start import jobs_use, plan_of, refuse_read_only, start

SMALL = """\
datasets:
  photos: {}
tasks:
  colorization: {degradation: colorization}
  inpainting: {degradation: inpainting}
models:
  palette:
    network: {multipliers: [1, 2]}
    train: {steps: 10}
samplers:
  dpm: {steps: 4}
experiments:
  - {dataset: photos, task: [colorization, inpainting], model: palette, sampler: dpm}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        file = tmp_path / "config.yaml"
        file.write_text(text)
        return file

    return write


def refusal(file: Path) -> list[str]:
    """The lines of the message that refuses a config, without its heading."""
    with pytest.raises(ConfigError) as error:
        plan_of([file])
    return str(error.value).replace(f"{file}:", "").splitlines()


def test_small_config_is_accepted(write: Callable[[str], Path]) -> None:
    plan = plan_of([write(SMALL)])
    assert [row.experiment for row in plan.rows] == [
        "photos-colorization-palette-dpm-s0",
        "photos-inpainting-palette-dpm-s0",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "it is empty"), ("- 1\n", "this is a list"), ("5\n", "this is a single value")],
    ids=["empty", "a list", "a number"],
)
def test_a_config_that_is_not_a_mapping_is_refused(write: Callable[[str], Path], text: str, says: str) -> None:
    assert says in refusal(write(text))[0]


def test_a_folder_is_not_a_config(tmp_path: Path) -> None:
    assert "cannot be read (Is a directory)" in refusal(tmp_path)[0]


def test_results_that_are_a_file_are_refused(write: Callable[[str], Path], tmp_path: Path) -> None:
    lines = refusal(write(f"results: {tmp_path / 'config.yaml'}\n{SMALL}"))
    assert "is a file, and results need a folder" in lines[1]


def test_every_mistake_at_once_with_line_value_and_nearest_name(write: Callable[[str], Path]) -> None:
    text = (
        SMALL.replace("multipliers", "multipliars")
        .replace("steps: 10", "steps: ten")
        .replace("sampler: dpm", "sampler: dpn")
    )
    heading, *lines = refusal(write(text))
    assert heading.startswith("3 mistakes")
    assert [line.split(":")[0].strip() for line in lines] == ["8", "9", "13"]
    assert "multipliars" in lines[0]
    assert "Did you mean 'multipliers'?" in lines[0]
    assert "steps" in lines[1]
    assert "'ten'" in lines[1]
    assert "Did you mean 'dpm'?" in lines[2]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("photos: {}", "photos: {prepare: {image_size: 65}}", 2, "64 or 66 would be"),
        ("{steps: 10}", "{steps: 10, batch_size: 10, gpus: 4}", 9, "10 cannot be dealt evenly to 4 GPUs"),
        ("{steps: 10}", "{steps: 10, batch_size: 6, accumulate: 4}", 9, "6 cannot be dealt evenly"),
        ("{steps: 10}", "{steps: 0}", 9, "greater than or equal to 1"),
        ("{multipliers: [1, 2]}", "{head_channels: 48}", 8, "48 does not divide"),
        ("{multipliers: [1, 2]}", "{multipliers: [1, 3], groups: 24}", 8, "`groups` 24 does not divide the 64"),
        ("{multipliers: [1, 2]}", "{backbone: sr3, context: dilated}", 8, "goes with `backbone: adm`"),
        ("[1, 2]}", "[1, 1, 1, 1, 1, 1, 1], context: local-attention}", 8, "one of them has 1 pixels"),
        (", sampler: dpm", "", 13, "needs one of dpm"),
        ("model: palette", "model: input", 13, "is not sampled"),
        ("task: [colorization, inpainting], ", "", 13, "needs one of colorization, inpainting"),
        ("degradation: inpainting", "degradation: inpainting, quality: 5", 5, "no meaning for inpainting"),
        ("{steps: 4}", "{steps: 4, kind: dpm, eta: 0.5}", 11, "Did you mean 'dpm++2m'"),
        ("{steps: 4}", "{steps: 4, eta: 0.5}", 11, "goes with `kind: ddim`"),
        ("  palette:\n", "  palette:\n    mix: {jpeg: 1}\n", 14, "it never sees colorization"),
        ("{steps: 10}", "{steps: yes}", 9, "train.steps: is YAML's yes or no here"),
        ("{multipliers: [1, 2]}", "{multipliers: [yes, 2]}", 8, "network.multipliers.0: is YAML's yes or no here"),
        ("  palette:\n", "  palette:\n    train_on: {photos: yes}\n", 8, "train_on.photos: is YAML's yes or no here"),
        ("{steps: 10}", "{steps: 1.5}", 9, "should be a whole number (given: 1.5)"),
        ("{steps: 10}", "{learning_rate: .inf}", 9, "should be a finite number"),
        ("{steps: 10}", "{start_from: /nowhere/x.safetensors}", 9, "no file /nowhere/x.safetensors"),
        ("{steps: 10}", "", 9, "train: should be a mapping of options (given: nothing)"),
        ("samplers:\n  dpm: {steps: 4}", "samplers: [dpm]", 10, "should be a mapping, `name: value`"),
        ("sampler: dpm", "sampler: no", 13, "a word in quotes stays a word"),
        ("dpm: {steps: 4}", "4: {steps: 4}", 11, "quote the name"),
        (
            "{steps: 10}",
            "{steps: 10, milestones: [5, 20]}",
            9,
            "20 comes after the last step of the longest training, 10",
        ),
        ("{steps: 10}", "{steps: 10, preview_every: 11}", 9, "11 comes after the last step"),
        ("{steps: 10}", "{validation_images: 4096}", 9, "4096 would leave none of the 4096 training images"),
        ("photos: {}", "photos: {fetch: {path: /a}}", 2, "no meaning for `source: photos`"),
        ("photos: {}", "photos: {fetch: {source: folder, path: /nowhere}}", 2, "fetch.path: no folder /nowhere"),
    ],
)
def test_impossible_request_is_refused(write: Callable[[str], Path], old: str, new: str, line: int, says: str) -> None:
    assert old in SMALL
    lines = refusal(write(SMALL.replace(old, new)))
    assert any(found.strip().startswith(f"{line}:") and says in found for found in lines), lines


@pytest.mark.parametrize(
    ("train_on", "other", "says"),
    [
        ("photo", "{}", "no dataset is called 'photo'. Did you mean 'photos'? Defined: photos, other."),
        ("{photos: 0}", "{}", "greater than 0"),
        (
            "{photos: 1, other: 1}",
            "{prepare: {image_size: 32}}",
            "'other' has images of 32 pixels, and the test images of 'photos'",
        ),
        ("other", "{fetch: {source: folder, path: /a}}", "are the same files, each parted in its own way"),
    ],
)
def test_training_sets_that_do_not_fit(write: Callable[[str], Path], train_on: str, other: str, says: str) -> None:
    text = SMALL.replace("photos: {}", f"photos: {{}}\n  other: {other}").replace(
        "  palette:", f"  palette:\n    train_on: {train_on}"
    )
    if "folder" in other:
        text = text.replace("photos: {}", "photos: {fetch: {source: folder, path: /a}}")
    lines = refusal(write(text))
    assert any(line.strip().startswith("9: models.palette.train_on") and says in line for line in lines), lines


@pytest.mark.parametrize(
    ("folders", "row", "says"),
    [
        ("theirs: {path: /none}", "", "no folder /none"),
        ("theirs: {path: FOLDER}", "task: inpainting, ", "has 0 images, and dataset 'photos' has 256 test images"),
        ("palette: {path: FOLDER}", "", "'palette' is the name of a model too"),
        ("theirs: {path: FOLDER}", "task: inpainting, sampler: dpm, ", "'theirs' is not sampled; leave it out"),
        ("their: {path: FOLDER}", "task: inpainting, ", "no model is called 'theirs'. Did you mean 'their'?"),
    ],
)
def test_folders_of_outputs_that_do_not_fit(
    write: Callable[[str], Path], tmp_path: Path, folders: str, row: str, says: str
) -> None:
    more = f"  - {{dataset: photos, {row}model: theirs}}\n" if row else ""
    text = f"{SMALL}{more}folders:\n  {folders.replace('FOLDER', str(tmp_path))}\n"
    assert any(says in line for line in refusal(write(text)))


@pytest.mark.parametrize(
    ("kept", "width", "says"),
    [("[]", 0.05, "keeps none"), ("[0.05, 0.1]", 0.2, "keeps 0.05, 0.1"), ("[0, 0.05]", 0.02, "Add 0.02 to")],
)
def test_an_untracked_average_is_refused(write: Callable[[str], Path], kept: str, width: float, says: str) -> None:
    text = SMALL.replace("steps: 10", f"steps: 10, ema_widths: {kept}")
    lines = refusal(write(text.replace("steps: 4", f"steps: 4, ema_width: {width}")))
    assert any("11: samplers.dpm.ema_width" in line and says in line for line in lines), lines


@pytest.mark.parametrize("width", [0, 0.05, 0.07])
def test_averages_that_are_tracked_or_between_tracked_ones(write: Callable[[str], Path], width: float) -> None:
    text = SMALL.replace("steps: 10", "steps: 10, ema_widths: [0, 0.05, 0.1]")
    assert plan_of([write(text.replace("steps: 4", f"steps: 4, ema_width: {width}"))]).rows


def test_table_of_an_unknown_experiment_is_refused(write: Callable[[str], Path]) -> None:
    lines = refusal(write(SMALL + "tables:\n  one: {experiments: [photos-jpeg-palette-dpm-s0]}\n"))
    assert "15: tables.one.experiments.0: no experiment is called 'photos-jpeg-palette-dpm-s0'" in lines[1]
    assert "Did you mean" in lines[1]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("fetch: {}", "'fetch' is the name of a rule"),
        ("one: {experiments: []}", "`experiments` needs at least one entry"),
        ("one: {paper: 12}", "less than or equal to 11"),
        ("one: {paper: 1, columns: [fd]}", "`paper` has its own columns and numbers; leave out columns"),
        ("one: {models: {palette: palette}}", "`models` goes with `paper`"),
        ("one: {paper: 6, models: {palete: palette}}", "no model is called 'palete'. Did you mean 'palette'"),
        ("one: {paper: 6, models: {palette: 'palette L1'}}", "has no row 'palette L1'. Did you mean 'palette, L1'"),
        ("one: {paper: 10}", "dataset 'photos' is imagenet for the paper, and its Table 10 is about places2-top-50"),
    ],
)
def test_wrong_tables_of_the_paper_are_refused(write: Callable[[str], Path], table: str, says: str) -> None:
    lines = refusal(write(SMALL.replace("photos: {}", "photos: {published: imagenet}") + f"tables:\n  {table}\n"))
    assert any(says in line and line.strip().startswith(("14", "15")) for line in lines), lines


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SMALL + "tasks: {}\n", "14: tasks: duplicate key"),
        ("datasets: [\n", "not valid YAML for a config"),
        ("just text", "a config is a mapping of sections"),
        ("results: !!binary aGVsbG8=\n" + SMALL, "1: not valid YAML for a config: the tag tag:yaml.org,2002:binary"),
        ('results: "a\\0b"\n' + SMALL, "1: results: has characters that no file can hold"),
        ("\xff\xfe", "mapping of sections"),
    ],
)
def test_files_that_are_not_configs(write: Callable[[str], Path], text: str, says: str) -> None:
    assert says in "\n".join(refusal(write(text)))


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("0777", "YAML reads 0777 as octal. Write 777, or 511 if that is meant."),
        ("-0_10", "YAML reads -0_10 as octal. Write -10, or -8 if that is meant."),
        ("1:30", "YAML reads 1:30 in base 60. Write 90, or '1:30' in quotes if it is no number."),
        ("1:30.5", "YAML reads 1:30.5 in base 60. Write 90.5, or"),
        ("1e29", "should be a whole number (given: '1e29')"),
        ("2_000_000_000", "should be less than or equal to 1000000000 (given: 2000000000)"),
        ("1.0e+29", "is too large (given: 1e+29)"),
        ("2026-13-45", "not valid YAML for a config"),
        ("1" * 5000, "not valid YAML for a config"),
    ],
)
def test_numbers_that_are_not_what_they_seem(write: Callable[[str], Path], number: str, says: str) -> None:
    assert says in "\n".join(refusal(write(SMALL.replace("steps: 10", f"steps: {number}"))))


def test_numbers_of_base_ten_stay_what_they_are(write: Callable[[str], Path]) -> None:
    text = SMALL.replace("steps: 10", "steps: 1_000, warmup: 0, ema: 0.9").replace("{}", "{prepare: {seed: 0x1F}}")
    config = plan_of([write(text)]).config
    assert (config.models["palette"].train.steps, config.datasets["photos"].prepare.seed) == (1000, 31)


def nested(levels: int) -> str:
    return "x: " + "[" * levels + "]" * levels + "\n"


def powers(link: str, first: str) -> str:
    """Ten lines that stand for a billion values."""
    rest = [f"a{i}: &a{i} " + link.format(", ".join([f"*a{i - 1}"] * 10)) for i in range(1, 10)]
    return "\n".join([f"a0: &a0 {first}", *rest]) + "\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (powers("[{}]", "x"), ":7: not valid YAML for a config: it stands for more than 1,000,000 values"),
        (powers("{{<<: [{}]}}", "{x: 1}"), "it stands for more than 1,000,000 values"),
        ("".join(f"a{i}: &a{i} [{f'*a{i - 1}' if i else ''}]\n" for i in range(1000)), "or 32 levels of them"),
        ("x: &x {y: *x}\n", ":1: not valid YAML for a config: it stands for more than"),
        ("x: &x [*x]\n", "with its aliases written out"),
        (nested(5000), ":1: not valid YAML for a config: nested more than 32 deep."),
        ("? [1, 2]\n: x\n", "a list or a mapping as a key"),
    ],
    ids=["aliases", "merges", "chain", "recursive mapping", "recursive list", "nesting", "list as a key"],
)
def test_unbounded_yaml_is_refused_at_once(write: Callable[[str], Path], text: str, says: str) -> None:
    assert says in f":{refusal(write(text + SMALL))[0]}"


def test_aliases_and_merges_of_a_plain_config(write: Callable[[str], Path]) -> None:
    other = "  other:\n    train: {<<: *short, steps: 20}\n"
    text = SMALL.replace("train: {", "train: &short {").replace("samplers:", f"{other}samplers:")
    assert plan_of([write(text)]).config.models["other"].train.steps == 20


@pytest.mark.parametrize("field", ["dataset", "task", "model", "sampler", "seed", "steps"])
def test_an_empty_list_makes_no_row_vanish(write: Callable[[str], Path], field: str) -> None:
    row = {"dataset": "photos", "task": "colorization", "model": "palette", "sampler": "dpm", field: []}
    lines = refusal(write(f"{SMALL}  - {json.dumps(row)}\n"))
    assert any(f"14: experiments.1.{field}: needs at least one entry (given: [])." in line for line in lines), lines


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("  palette:\n", "  palette:\n    mix: {}\n", "models.palette.mix"),
        ("  palette:\n", "  palette:\n    train_on: {}\n", "models.palette.train_on"),
    ],
)
def test_an_empty_list_is_not_the_default(write: Callable[[str], Path], old: str, new: str, field: str) -> None:
    lines = refusal(write(SMALL.replace(old, new)))
    assert any(f"{field}: needs at least one entry" in line for line in lines), lines


def test_every_number_has_both_bounds() -> None:
    definitions: dict[str, Any] = Config.model_json_schema()["$defs"]
    free = {"gpu_hours", "range"}  # a picture's values may be any finite numbers

    def numbers(schema: object) -> Iterator[dict[str, Any]]:
        if isinstance(schema, dict):
            if schema.get("type") in ("integer", "number") and "enum" not in schema:
                yield schema
            schema = list(schema.values())
        for inner in schema if isinstance(schema, list) else ():
            yield from numbers(inner)

    for section, definition in definitions.items():
        for option, schema in definition.get("properties", {}).items():
            for number in numbers(schema) if option not in free else ():
                assert {"minimum", "exclusiveMinimum"} & number.keys(), f"{section}.{option}"
                assert {"maximum", "exclusiveMaximum"} & number.keys(), f"{section}.{option}"


@pytest.mark.parametrize(
    ("photos", "experiment"),
    [
        ("{}", f"seed: {list(range(800))}, steps: {list(range(1, 800))}"),
        ("{prepare: {test_images: 1000000000}}", "seed: 0"),
    ],
)
def test_more_jobs_than_a_plan_can_hold(write: Callable[[str], Path], photos: str, experiment: str) -> None:
    text = SMALL.replace("photos: {}", f"photos: {photos}").replace("sampler: dpm", f"sampler: dpm, {experiment}")
    (_, line) = refusal(write(text))
    assert "13: experiments.0: with those before it, it makes" in line
    assert "at most 500,000 can be planned. Leave rows out, or raise `sample.shard_size`." in line


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        plan_of([tmp_path / "none.yaml"])


def test_full_disk_is_refused_before_anything_runs(write: Callable[[str], Path]) -> None:
    text = SMALL.replace("photos: {}", "photos: {prepare: {image_size: 256, train_images: 1000000000}}")
    plan = plan_of([write(text)])
    with pytest.raises(ConfigError, match=r"write about .* GB, and .* has .* GB free"):
        start(plan)


def test_missing_weights_are_reported_by_a_plan_and_stop_a_run(
    write: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("PALETTE_WEIGHTS", raising=False)
    found = plan_of([write(SMALL + "score: {extractors: [inception]}\n")])
    assert "inception-2015-12-05.pt" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"(?s)inception-2015-12-05\.pt.*PALETTE_WEIGHTS"):
        start(found)
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "inception-2015-12-05.pt").touch()
    there = plan_of([write(SMALL + f"score: {{extractors: [inception], weights: {weights}}}\n")])
    assert there.stages.keys() == found.stages.keys(), "the plan without the weights is the plan with them"


def test_missing_lists_are_reported_and_stop_a_run(write: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    options = f"train_images: null, test_images: 2, test_list: {tmp_path}/ctest10k.txt"
    prepare = f"photos: {{fetch: {{source: folder, path: {tmp_path}}}, prepare: {{{options}}}}}"
    plan = plan_of([write(SMALL.replace("photos: {}", prepare))])
    with pytest.raises(ConfigError, match=r"(?s)ctest10k\.txt.*Larsson et al\. 2016"):
        start(plan)


def packages_imported_by(*arguments: str) -> set[str]:
    """Return the top-level packages that a command of the CLI imports: what it takes long for."""
    command = [sys.executable, "-X", "importtime", "-m", "palette", *arguments]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    lines = [line for line in run.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_help_imports_the_standard_library_alone() -> None:
    found = packages_imported_by("--help")
    assert "argparse" in found
    assert not found & {"numpy", "pydantic", "yaml", "PIL"}


def test_a_config_is_refused_without_slow_imports_and_traceback(write: Callable[[str], Path]) -> None:
    file = write(SMALL.replace("steps: 10", "stops: 10"))
    run = subprocess.run(
        [sys.executable, "-m", "palette", "config", "-c", file], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert "Did you mean 'steps'?" in run.stderr
    assert "Traceback" not in run.stderr
    found = packages_imported_by("config", "-c", str(file))
    assert {"pydantic", "numpy"} <= found
    assert not found & {"torch", "scipy", "pandas", "matplotlib", "skimage", "jinja2", "snakemake"}


# ------------------------------------------------------------------------------------------------- no drift


@pytest.mark.parametrize(
    ("file", "made"),
    [("workflow/schemas/config.schema.json", config_reference.schema), ("docs/config.md", config_reference.reference)],
)
def test_generated_files_are_current(checkout: Path, file: str, made: Callable[[], str]) -> None:
    assert (checkout / file).read_text() == made(), "run `make generated`"


def configs(checkout: Path) -> list[Path]:
    return [checkout / "config.yaml", *sorted((checkout / "workflow/presets").glob("*.yaml"))]


def test_shipped_configs_are_valid_by_the_schema_and_by_the_checks(checkout: Path) -> None:
    schema = json.loads(config_reference.schema())
    for file in configs(checkout):
        raw = yaml.safe_load(file.read_text())
        jsonschema.validate(raw, schema)
        assert checks.read_config(raw, [file])


def test_every_option_has_a_meaning() -> None:
    for section in config_reference.SECTIONS:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


def test_reference_knows_every_section() -> None:
    definitions: dict[str, Any] = Config.model_json_schema()["$defs"]
    assert {section.__name__ for section in config_reference.SECTIONS} == {*definitions, "Config"}


def test_no_table_is_named_like_a_rule(checkout: Path) -> None:
    files = [checkout / "Snakefile", *(checkout / "workflow/rules").glob("*.smk")]
    found = [re.findall(r"^rule (\w+):|^use rule \w+ as (\w+)", file.read_text(), re.MULTILINE) for file in files]
    assert {name for names in found for pair in names for name in pair if name} == set(checks.RULES)


def test_results_that_cannot_be_written_are_reported(write: Callable[[str], Path], tmp_path: Path) -> None:
    plan = plan_of([write(f"results: {tmp_path / 'results'}\n{SMALL}")])
    (tmp_path / "results").write_text("in the way by now")
    with pytest.raises(ConfigError, match=r"results: cannot be written \(File exists\)"):
        start(plan)


def test_the_lock_of_another_user_is_named(
    write: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, flags: int, *_: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    plan = plan_of([write(f"results: {tmp_path / 'results'}\n{SMALL}")])
    monkeypatch.setattr("palette.running.start.os.open", refuse)
    with pytest.raises(ConfigError, match=r"results/\.lock: cannot be written \(Permission denied\)"):
        start(plan)


def test_read_only_results_give_one_line_if_pages_are_outdated(
    write: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of([write(f"results: {tmp_path / 'results'}\n{SMALL}")])
    monkeypatch.setattr("palette.running.start.os.access", lambda *_: False)
    refuse_read_only(plan)  # nothing is there that Snakemake would list
    (tmp_path / "results/report").mkdir(parents=True)
    (tmp_path / "results/report/index.html").touch()
    with pytest.raises(ConfigError, match=r"results: cannot be written, and report is out of date"):
        refuse_read_only(plan)


def test_braces_in_the_results_are_refused(write: Callable[[str], Path], tmp_path: Path) -> None:
    lines = refusal(write(f"results: {tmp_path}/{{user}}\n{SMALL}"))
    assert "Snakemake reads braces as wildcards" in lines[1]


def test_a_user_without_a_name_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    for name in ("PATH", "PYTHONPATH", "PYTHONSAFEPATH", "USER"):  # to be restored
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr("getpass.getuser", nameless)
    jobs_use("/checkout")
    assert os.environ["USER"] == str(os.getuid())
