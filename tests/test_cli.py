"""The command line: fast help with examples, one message and a meaningful exit code for every mistake."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from palette import cli
from palette.config.datasets import Fetch
from palette.stages.fetch import FetchSpec
from palette.stages.reading import read_spec


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "palette", *arguments], capture_output=True, text=True, timeout=60)


def test_help_imports_only_the_standard_library() -> None:
    code = "import sys; from palette.cli import parser; parser().format_help(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "pydantic", "yaml"} & set(loaded)


@pytest.mark.parametrize("command", [*cli.VERBS, "plan", "config"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main([command, "--help"])
    assert exit_.value.code == 0
    assert f"example: python -m palette {command}" in " ".join(capsys.readouterr().out.split())


def test_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["trian"])
    assert exit_.value.code == 2
    assert "train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["test", "-c", "x.json"], "`palette restore` takes your own photographs"),
        (["-p", "test", "-c", "x.json"], "test: a command of the unofficial code"),
        (["eval", "-s", "a", "-d", "b"], "`folders` in the config"),
        (
            ["train", "-c", "x.json", "-gpu", "0,1"],
            "-gpu: an option of the unofficial code. Here, `--gpus N` takes N of the GPUs",
        ),
        (["train", "-c", "x.json", "--gpu=0"], "CUDA_VISIBLE_DEVICES says which"),
        (["train", "-c", "x.json", "-chk", "200"], "`path.resume_state`"),
        (["train", "-c", "x.json", "-b", "4"], "`batch_size` in the JSON"),
        (["train", "-c", "x.json", "-d", "-P", "1"], "-P: an option of the unofficial code"),
        (["restore", "photo.jpg", "--mod", "m"], "--mod"),
    ],
)
def test_commands_of_the_unofficial_code_and_abbreviations(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_files_and_pipes_get_utf_8_in_every_locale(encoding: str, checkout: Path) -> None:
    command = [sys.executable, "-m", "palette", "config", "--reference"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    printed = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout
    assert printed == (checkout / "docs/config.md").read_bytes()


def test_a_terminal_gets_escapes_for_characters_it_cannot_show(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Terminal(raw, encoding="latin-1"))
    cli.print_any_text()
    print("3 × σ", flush=True)
    assert raw.getvalue() == b"3 \xd7 \\u03c3\n"


def test_a_name_that_is_not_text_is_printed_with_escapes(tmp_path: Path) -> None:
    result = run("config", "-c", os.fsdecode(bytes(tmp_path / "none") + b"\xff.yaml"))
    assert (result.returncode, result.stderr) == (2, f"palette config: {tmp_path}/none\\udcff.yaml: no such file.\n")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        ("[1, 2", "a damaged spec"),
        ("text", "not the spec of a stage"),
        ("kind: tea\nhash: x\n", "not the spec of a stage"),
    ],
)
def test_bad_spec_is_one_message(tmp_path: Path, content: str | None, says: str) -> None:
    file = tmp_path / "spec.yaml"
    if content is not None:
        file.write_text(content)
    result = run("train", "-c", str(file))
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_verb_and_spec_must_match(tmp_path: Path) -> None:
    file = FetchSpec(name="photos", fetch=Fetch()).write(tmp_path)
    result = run("train", "-c", str(file))
    assert result.returncode == 2
    assert f"python -m palette fetch -c {file}" in result.stderr


def test_spec_edited_by_hand_is_refused(tmp_path: Path) -> None:
    file = FetchSpec(name="photos", fetch=Fetch()).write(tmp_path)
    assert read_spec(file).hash in file.parent.name
    file.write_text(file.read_text().replace("source: photos", "source: folder").replace("path: null", "path: /images"))
    result = run("fetch", "-c", str(file))
    assert result.returncode == 2
    assert "edited by hand" in result.stderr


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "palette gc"),
        (errno.EDQUOT, "Free some"),
        (errno.EFBIG, "ulimit"),
        (errno.EROFS, "name another folder"),
    ],
)
def test_a_disk_error_is_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    says: str,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path / "card.json"))

    monkeypatch.setattr(cli, "_run_stage", refuse)
    assert cli.main(["report", "-c", str(tmp_path / "spec.yaml")]) == 3
    told = capsys.readouterr().err
    assert f"{tmp_path / 'card.json'}: {os.strerror(number)}" in told
    assert says in told


@pytest.mark.parametrize(("command", "goes_on"), [(["report", "-c", "spec.yaml"], True), (["gc"], False)])
def test_only_a_verb_promises_to_resume(
    command: list[str], goes_on: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", stop)
    assert cli.main(command) == 75
    assert ("goes on" in capsys.readouterr().err) == goes_on


def test_out_of_memory_is_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nMore lines.")

    monkeypatch.setattr(cli, "_run", run)
    assert cli.main(["sample", "-c", "spec.yaml"]) == 3
    told = capsys.readouterr().err
    assert told.startswith("palette sample: CUDA out of memory. Tried to allocate 2 GiB. This does not fit")
    assert "`sample.batch_size`" in told
    assert told.count("\n") == 1
