"""JPEGs that end too early, but with an end marker."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from palette.data.images import jpeg
from palette.data.images.jpeg import scans
from palette.data.images.pictures import read_picture
from tests.data.hostile import PIXELS, saved, with_scans

END = b"\xff\xd9"
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"quality": 90},
    "own tables": {"quality": 30, "optimize": True},
    "full color": {"quality": 95, "subsampling": 0},
    "restarts by rows": {"restart_marker_rows": 1},
    "restarts by blocks": {"restart_marker_blocks": 3},
}
PROGRESSIVE = {"progressive": {"progressive": True}, "with restarts": {"progressive": True, "restart_marker_rows": 1}}
MODES = {"RGB": (128, 128, 128), "L": 128, "CMYK": (127, 127, 127, 127)}


def picture(width: int, height: int, mode: str, gray: bool = False) -> Image.Image:
    """Noise, so that every block and scan has something to say; gray: its lower half is what libjpeg makes of missing data."""
    noise = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise).convert(mode)
    if gray:
        image.paste(MODES[mode], (0, height // 2, width, height))
    return image


def cuts(data: bytes, count: int) -> Iterator[bytes]:
    """The first part of a JPEG's pixels, and an end."""
    start = data.index(b"\xff\xda") + 20
    for place in np.linspace(start, len(data) * 0.95, count).astype(int):
        yield data[:place].rstrip(b"\xff") + END


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(150, 110), (97, 121), (160, 160)])
def test_a_cut_jpeg_with_an_end_is_bad_wherever_it_is_cut(mode: str, kind: str, size: tuple[int, int]) -> None:
    data = saved(picture(*size, mode), "JPEG", **KINDS[kind])
    assert read_picture(data).pixels.size == size
    for cut in cuts(data, 12):
        with Image.open(io.BytesIO(cut)) as image:
            image.load()  # Pillow sees nothing
        with pytest.raises(OSError, match="truncated: it ends before its last block"):
            read_picture(cut)


@pytest.mark.parametrize("kind", PROGRESSIVE)
@pytest.mark.parametrize("mode", MODES)
def test_a_cut_progressive_jpeg_is_bad_if_it_lacks_scans(kind: str, mode: str) -> None:
    data = saved(picture(150, 110, mode), "JPEG", **PROGRESSIVE[kind])
    last = data.rindex(b"\xff\xda")
    for cut in cuts(data[:last], 12):
        with pytest.raises(OSError, match=r"truncated|broken"):
            read_picture(cut)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("size", [(150, 110), (97, 121), (16, 16), (8, 8), (1, 1), (33, 17)])
@pytest.mark.parametrize("mode", MODES)
def test_complete_jpegs_are_accepted(mode: str, size: tuple[int, int], gray: bool) -> None:
    """Also with the gray that is the sign of missing data, and with something behind their end."""
    for options in (*KINDS.values(), *PROGRESSIVE.values()):
        data = saved(picture(*size, mode, gray), "JPEG", **options)
        for behind in (b"", bytes(40), data):
            assert read_picture(data + behind).pixels.size == size


def test_a_progressive_jpeg_written_without_its_last_scans_is_accepted() -> None:
    """Coarse, but all that its maker wanted: no scan breaks off."""
    data = saved(picture(150, 110, "RGB"), "JPEG", progressive=True)
    for _ in range(5):
        data = data[: data.rindex(b"\xff\xda")] + END
        assert read_picture(data).pixels.size == (150, 110)


def test_thumbnails_and_further_images_are_ignored() -> None:
    gray = picture(150, 110, "RGB", gray=True)
    exif = Image.Exif()
    exif[0x010E] = "a picture"
    several = saved(gray, "MPO", save_all=True, append_images=[picture(150, 110, "RGB")], exif=exif)
    assert read_picture(several).pixels.size == (150, 110)
    thumbnail = saved(gray.resize((16, 16)), "JPEG")
    whole = saved(gray, "JPEG", quality=90)
    headed = whole[:2] + b"\xff\xed" + (len(thumbnail) + 2).to_bytes(2) + thumbnail + whole[2:]
    assert read_picture(headed).pixels.size == (150, 110)
    with pytest.raises(OSError, match="truncated"):
        read_picture(headed[:-600] + END)


def test_only_suspicious_files_are_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof costs a second decoding, and few pictures ask for it."""
    asked: list[bytes] = []
    kept = jpeg._with_more
    monkeypatch.setattr(jpeg, "_with_more", lambda data: asked.append(data) or kept(data))
    for options in (*KINDS.values(), *PROGRESSIVE.values()):
        read_picture(saved(picture(150, 110, "RGB"), "JPEG", **options))
    assert not asked
    read_picture(saved(picture(150, 110, "RGB", gray=True), "JPEG"))
    assert len(asked) == 1


# -------------------------------------------------------------------------------------------------------- scans


def test_only_scans_of_the_picture_itself_count() -> None:
    """Not those of thumbnails in its headers, nor what looks like one in a film that a telephone appends."""
    plain, marks = saved(Image.fromarray(PIXELS), "JPEG"), b"\xff\xda" * 300
    headed = plain[:2] + b"\xff\xed" + (len(marks) + 2).to_bytes(2) + marks + plain[2:]
    for data in (headed + marks, plain[:2] + b"\xff\xff\xff" + headed[2:]):
        assert scans(data) == 1
        assert read_picture(data).pixels.size == (32, 24)
    assert scans(saved(Image.fromarray(PIXELS), "JPEG", progressive=True)) == 10
    assert scans(with_scans(77)) == 77


def test_a_hidden_scan_counts() -> None:
    """Behind a marker that has no length, whatever follows it."""
    data = with_scans(20)
    assert scans(data[:2] + b"\xff\x01" + data[2:]) == 20
