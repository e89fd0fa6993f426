"""`palette restore`: files in, samples and a page out, and no user file is lost."""

import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from safetensors.torch import save_file

import palette
from palette import cli
from palette.commands import restore as command
from palette.restore import files, pace
from palette.restore.files import result_names
from palette.stages import fingerprint
from palette.stages.fingerprint import modules
from tests.restore.models import weights, write_model
from tests.tiny import NETWORK

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def photos(tmp_path: Path, photo: Pixels) -> Path:
    """A folder with `cat.png`, `a #1.png` in a sub-folder, and a text."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(photo).save(folder / "cat.png")
    Image.fromarray(photo[::-1].copy()).save(folder / "more/a #1.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def restore(folder: Path, *arguments: str | Path, samples: int = 2) -> int:
    fixed = ["--model", str(folder), "--steps", "2", "--samples", str(samples)]
    return cli.main(["restore", *fixed, *map(str, arguments)])


def read(path: Path) -> Pixels:
    return np.asarray(Image.open(path))


def test_a_folder_becomes_samples_and_a_page(folder: Path, model: palette.Model, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert restore(folder, "--task", "jpeg", photos, "-o", out, "--seed", "3") == 0
    names = {"cat-0.png", "cat-1.png", "a #1-0.png", "a #1-1.png", "index.html"}
    assert {file.name for file in out.iterdir()} == names
    for number, expected in enumerate(model.restore(photos / "cat.png", "jpeg", samples=2, steps=2, seed=3)):
        np.testing.assert_array_equal(read(out / f"cat-{number}.png"), expected)


def test_files_skipped_in_a_folder_are_named(
    folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "phone.heic").write_bytes(b"x")
    (photos / "index.html").write_text("an earlier page")
    assert restore(folder, photos, "--task", "jpeg", "-o", tmp_path / "out", samples=1) == 0
    told = next(line for line in capsys.readouterr().err.splitlines() if "skipped" in line)
    assert "phone.heic" in told
    assert "cat.png" not in told
    assert "index.html" not in told


def test_the_page_needs_nothing_else_and_its_links_lead_somewhere(folder: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    restore(folder, "--task", "jpeg", photos, "-o", out)
    page = (out / "index.html").read_text()
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 6  # two photos: input and two samples
    assert all(source.startswith("data:image/") for source in sources)
    links = [link for link in re.findall(r'href="([^"]*)"', page) if not link.startswith("data:")]
    assert sorted(unquote(link) for link in links) == ["a #1-0.png", "a #1-1.png", "cat-0.png", "cat-1.png"]
    assert all("#" not in link and (out / unquote(link)).exists() for link in links)
    assert not re.search(r"<script|<link rel=.stylesheet|https?://", page)
    assert "prefers-color-scheme: dark" in page
    assert "JPEG restoration" in page
    assert "dpm++2m, 2 steps" in page
    assert all(re.search(rf'alt="a #1\.png: {what}"', page) for what in ("input", "sample 0", "sample 1"))


def test_names_in_the_page_are_escaped(folder: Path, photo: Pixels, tmp_path: Path) -> None:
    file = tmp_path / "<b>.png"
    Image.fromarray(photo).save(file)
    restore(folder, "--task", "jpeg", file, "-o", tmp_path / "out")
    assert "<b>" not in (tmp_path / "out/index.html").read_text()


def test_equal_stems_stay_apart(folder: Path, photo: Pixels, tmp_path: Path) -> None:
    for index, name in enumerate(("a/cat.png", "b/cat.png", "b/Cat.bmp")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.roll(photo, index, axis=1)).save(tmp_path / name)
    out = tmp_path / "out"
    # The last folder is named twice; each photo counts once.
    assert restore(folder, "--task", "jpeg", tmp_path / "a", tmp_path / "b", tmp_path / "b", "-o", out) == 0
    made = {file.name: file.read_bytes() for file in out.glob("*.png")}
    expected = {f"cat{which}-{number}.png" for which in ("", "-2", "-3") for number in (0, 1)}
    assert {name.casefold() for name in made} == expected
    assert len(set(made.values())) == 6


def test_names_of_results_are_all_different() -> None:
    files = [Path(name) for name in ("a/x.png", "b/x.png", "x-2.png", "X.jpg", "x-2.jpg")]
    assert result_names(files) == ["x", "x-2", "x-2-2", "X-3", "x-2-3"]


def test_results_are_replaced_only_on_request(
    folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, arguments = tmp_path / "out", ["--task", "jpeg", photos / "cat.png", "-o", tmp_path / "out"]
    assert restore(folder, *arguments) == 0
    before = (out / "cat-1.png").read_bytes()
    assert restore(folder, *arguments, "--seed", "1") == 2
    assert "cat-0.png and 2 more of the results: there already" in capsys.readouterr().err
    assert (out / "cat-1.png").read_bytes() == before
    assert restore(folder, *arguments, "--seed", "1", "--force") == 0
    assert (out / "cat-1.png").read_bytes() != before


def test_the_same_command_resumes(
    folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Finished samples stay, the others come out as they would have; a larger --samples adds to them."""
    arguments = ["--task", "jpeg", photos, "--batch", "1"]
    assert restore(folder, *arguments, "-o", tmp_path / "whole", samples=3) == 0
    out = tmp_path / "out"
    assert restore(folder, *arguments, "-o", out) == 0
    first = (out / "cat-0.png").stat().st_mtime_ns
    os.truncate(out / "cat-1.png", (out / "cat-1.png").stat().st_size // 2)  # as a copy that broke off leaves it
    for name in ("a #1-0.png", "index.html"):
        (out / name).unlink()
    capsys.readouterr()
    assert restore(folder, *arguments, "-o", out, samples=3) == 0
    told = capsys.readouterr().err
    assert "keeping 1 result of an earlier run of the same command" in told
    assert "10 evaluations" in told  # two steps for each of the 2 and 3 that are missing, or stand after a missing one
    assert (out / "cat-0.png").stat().st_mtime_ns == first
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (out / file.name).read_bytes()
    assert restore(folder, *arguments, "-o", out, samples=3) == 0
    assert "evaluations" not in capsys.readouterr().err


@pytest.mark.parametrize("change", ["photo", "model", "facts", "code", "steps", "size", "mask"])
def test_results_of_other_options_do_not_count_as_finished(
    folder: Path, photo: Pixels, photos: Path, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask, model = tmp_path / "mask.png", tmp_path / "model"
    Image.fromarray(np.eye(33, 21) > 0).save(mask)
    shutil.copytree(folder, model)
    arguments = ["--task", "inpainting", photos / "cat.png", "--mask", mask, "-o", tmp_path / "out"]
    assert restore(model, *arguments) == 0
    assert restore(model, *arguments) == 0
    if change == "photo":
        Image.fromarray(photo[:, ::-1].copy()).save(photos / "cat.png")
    elif change == "model":
        save_file(weights(NETWORK, seed=1), model / "model.safetensors")
    elif change == "facts":
        facts = json.loads((model / "model.json").read_text())
        (model / "model.json").write_text(json.dumps({**facts, "precision": "bf16"}))
    elif change == "code":  # of reading a photo
        monkeypatch.setattr(
            fingerprint, "fingerprint", lambda entry: str("palette.data.images.pictures" in modules(entry))
        )
    elif change == "mask":
        Image.fromarray(np.eye(33, 21) == 0).save(mask)
    more = {"steps": ["--steps", "3"], "size": ["--size", "full"]}.get(change, [])
    assert restore(model, *arguments, *more) == 2
    assert restore(model, *arguments, *more, "--force") == 0


def test_a_full_disk_ends_the_run_and_the_same_command_resumes(
    folder: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, written, write = tmp_path / "out", [], files.write_png

    def full(path: Path, *rest: Any) -> None:
        written.append(path.name)
        if path.name == "cat-1.png":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_png", full)
        assert restore(folder, "--task", "jpeg", photos, "-o", out) == 3
    assert "cat-1.png: No space left on device. Finished results stay, and the same command" in capsys.readouterr().err
    assert written == ["cat-0.png", "cat-1.png"]  # the next photo was not tried
    assert [file.name for file in out.iterdir()] == ["cat-0.png"]
    before = (out / "cat-0.png").stat().st_mtime_ns
    assert restore(folder, "--task", "jpeg", photos, "-o", out) == 0
    assert (out / "cat-0.png").stat().st_mtime_ns == before
    assert len(list(out.iterdir())) == 5


def test_the_time_is_predicted_and_hours_are_refused(
    folder: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two photos of 21×33 pixels, padded to 22×34, two samples of two steps each: 8 evaluations."""
    monkeypatch.setattr(pace, "measure", lambda model, largest: lambda pixels: float(pixels))
    arguments = ["--task", "jpeg", photos, "-o", tmp_path / "out", "--size", "full"]
    assert restore(folder, *arguments) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[1] == "jpeg: 2 photos, 2 samples each, on cpu"
    assert told[2] == "about 99.7 min: 8 evaluations of the network, of up to 748 s each"
    assert re.search(r"That is more than 1 h: .* allow it with --hours 2\.$", told[3])
    assert restore(folder, *arguments, "--hours", "nan") == 2
    assert not list((tmp_path / "out").iterdir())
    capsys.readouterr()
    assert restore(folder, *arguments, "--hours", "2") == 0
    blocks = 8 * (
        2 + 2 + 4 + 2
    )  # of the encoder, the middle, the decoder and between its two levels, in each evaluation
    assert f"restore: {blocks}/{blocks} blocks (100%)" in capsys.readouterr().err


@pytest.mark.parametrize("linked", [False, True])
def test_an_input_is_never_overwritten(folder: Path, photos: Path, linked: bool, tmp_path: Path) -> None:
    original = photos / "cat-0.png"
    (photos / "cat.png").rename(original)
    Image.open(original).save(photos / "cat.png")
    out = photos
    if linked:
        out = tmp_path / "link"
        out.symlink_to(photos)
    before = original.read_bytes()
    assert restore(folder, "--task", "jpeg", photos / "cat.png", original, "-o", out, "--force") == 2
    assert original.read_bytes() == before
    mask = photos / "dog-0.png"
    Image.fromarray(np.eye(33, 21) > 0).save(mask)
    (photos / "cat.png").rename(photos / "dog.png")
    assert restore(folder, "--task", "inpainting", photos / "dog.png", "--mask", mask, "-o", out, "--force") == 2


def test_results_are_not_inputs_of_the_next_call(
    folder: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert restore(folder, "--task", "jpeg", photos, "-o", photos / "restored", "--force") == 0
    assert len(list((photos / "restored").glob("*.png"))) == 4
    assert restore(folder, "--task", "jpeg", photos, "-o", photos) == 2
    assert "results would lie among the photos" in capsys.readouterr().err


def test_a_damaged_photo_does_not_stop_the_others(
    folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "bad.png").write_bytes((photos / "cat.png").read_bytes()[:100])
    out = tmp_path / "out"
    assert restore(folder, "--task", "jpeg", photos, "-o", out) == 3
    errors = capsys.readouterr().err
    assert "1 of 3 photos could not be restored" in errors
    assert re.search(r"bad\.png: not readable as a picture", errors)
    assert len(list(out.glob("*.png"))) == 4
    assert "bad.png" in (out / "index.html").read_text()


def test_a_mask_goes_with_photos_of_its_size(
    folder: Path, photo: Pixels, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(photo[:20].copy()).save(photos / "cut.png")
    hole = np.zeros(photo.shape[:2], np.bool_)
    hole[:9] = True
    mask, out = tmp_path / "mask.png", tmp_path / "out"
    Image.fromarray(hole).save(mask)
    assert restore(folder, "--task", "inpainting", photos, "--mask", mask, "-o", out, "--size", "full") == 3
    assert re.search(r"cut\.png: .*mask\.png: 21×33 pixels, but the photo has 21×20", capsys.readouterr().err)
    np.testing.assert_array_equal(read(out / "cat-1.png")[9:], photo[9:])
    mask.write_bytes(b"no picture")
    assert restore(folder, "--task", "inpainting", photos, "--mask", mask, "-o", tmp_path / "none") == 3
    assert not (tmp_path / "none").exists()


def test_a_16_bit_mask_with_low_values_gets_its_own_advice(
    folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 and 255 in a file of 16 bits: the advice is one that helps, and comes before any photo."""
    mask = tmp_path / "mask.png"
    Image.fromarray((np.eye(33, 21) * 255).astype(np.uint16)).save(mask)
    assert restore(folder, "--task", "inpainting", photos, "--mask", mask, "-o", tmp_path / "out") == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("Save the mask with 0 and 255.")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--task", "tea"), 2, "colorization, inpainting, jpeg, paired, super-resolution, uncropping"),
        ((), 2, "task: missing"),
        (("--task", "inpainting"), 2, "mask: missing"),
        (("--task", "jpeg", "--factor", "2"), 2, "factor: has no meaning for jpeg"),
        (("--task", "jpeg", "--sampler", "euler"), 2, "sampler 'euler', steps 2: a sampler is one of ancestral"),
        (("--task", "jpeg", "--steps", "0"), 2, ": steps 0: a sampler is one of"),
        (("nowhere.png", "--task", "jpeg"), 3, "no such file or folder: nowhere.png"),
        (("--task", "inpainting", "--mask", "nowhere.png"), 3, "nowhere.png: not readable"),
    ],
)
def test_mistakes_are_found_before_anything_is_made(
    folder: Path,
    photos: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert restore(folder, photos, *arguments, "-o", out) == code
    assert says in capsys.readouterr().err
    assert not out.exists()


def test_bad_sizes_and_paths(folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        restore(folder, "--task", "jpeg", photos, "-o", tmp_path / "out", "--size", "big")
    assert exit_.value.code == 2
    assert "'big' should be a number of pixels or 'full'" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert restore(folder, "--task", "jpeg", photos, "-o", tmp_path / "file") == 2
    (tmp_path / "empty").mkdir()
    assert restore(folder, "--task", "jpeg", tmp_path / "empty", "-o", tmp_path / "out") == 3
    assert "no pictures in it" in capsys.readouterr().err


def test_a_downscaled_jpeg_is_reported(
    folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    restore(folder, "--task", "jpeg", photos / "cat.png", "-o", tmp_path / "a")
    assert "from 21 to 16 pixels" in capsys.readouterr().err
    restore(folder, "--task", "jpeg", photos / "cat.png", "-o", tmp_path / "b", "--size", "full")
    assert "made smaller" not in capsys.readouterr().err


def test_ctrl_c_leaves_a_page_of_what_is_done(
    folder: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    drawn = command._drawn

    def interrupted(work: command.Work, photo: Path, *rest: object) -> object:
        if work.done:
            raise KeyboardInterrupt
        return drawn(work, photo, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(command, "_drawn", interrupted)
    assert restore(folder, "--task", "jpeg", photos, "-o", tmp_path / "out") == 75
    assert "interrupted after 1 of 2 photos; the same command goes on" in capsys.readouterr().err
    assert "cat.png" in (tmp_path / "out/index.html").read_text()
    monkeypatch.undo()
    assert restore(folder, "--task", "jpeg", photos, "-o", tmp_path / "out") == 0
    assert "a #1.png" in (tmp_path / "out/index.html").read_text()


def test_a_regression_of_one_task(tmp_path: Path, photos: Path) -> None:
    folder, out = write_model(tmp_path / "model", ("jpeg",), "regression"), tmp_path / "out"
    assert cli.main(["restore", "--model", str(folder), str(photos / "cat.png"), "-o", str(out)]) == 0
    assert {file.name for file in out.iterdir()} == {"cat-0.png", "index.html"}


def test_losses_of_a_photo_are_reported(
    folder: Path, photo: Pixels, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Transparency, further pages, and values of more than 8 bits, which need a range."""
    picture, out = Image.fromarray(photo), tmp_path / "out"
    clear = picture.copy()
    clear.putalpha(100)
    clear.save(tmp_path / "clear.png")
    picture.save(tmp_path / "pages.tif", save_all=True, append_images=[picture])
    picture.convert("L").save(tmp_path / "gray.png")
    values = np.asarray(picture.convert("L")).astype(np.uint16) * 16
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert restore(folder, "--task", "jpeg", *sorted(tmp_path.glob("*.*")), "-o", out, "--size", "full") == 3
    told = capsys.readouterr().err
    assert re.search(r"deep\.png: its values, \d+ to \d+, do not fill their type, .*`--range 0 4095`", told)
    assert re.search(r"clear\.png: converted to 8-bit RGB on white, with losses: transparency$", told, re.MULTILINE)
    assert re.search(r"pages\.tif: .*with losses: first frame of several$", told, re.MULTILINE)
    assert "gray.png: converted" not in told
    again = ["--task", "jpeg", tmp_path / "deep.png", "-o", out, "--size", "full", "--force", "--range"]
    assert restore(folder, *again, "0", "4080") == 0
    assert (
        "deep.png: converted to 8-bit RGB on white, with losses: more than 8 bits: 0 to 4080" in capsys.readouterr().err
    )
    as_eight_bits = [read(out / f"deep-{number}.png") for number in range(2)]
    assert restore(folder, "--task", "jpeg", tmp_path / "gray.png", "-o", out, "--size", "full", "--force") == 0
    for number, pixels in enumerate(as_eight_bits):
        np.testing.assert_array_equal(read(out / f"gray-{number}.png"), pixels)
    assert restore(folder, *again, "9", "-1") == 2
    assert "range 9 to -1: should be two numbers" in capsys.readouterr().err
