"""A corpus of hostile images with the expected results. `table()` is part of docs/datasets.md."""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def picture(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(PIXELS).convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, rows: bytes, depth: int = 8, color: int = 2) -> bytes:
    """A PNG by hand, with whatever pixels."""
    header = struct.pack(">2I5B", width, height, depth, color, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def tiff(pixels: npt.NDArray[Any], **options: Any) -> bytes:
    """A TIFF of any number of bands."""
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, planarconfig="contig", **options)
    return file.getvalue()


def with_text(data: bytes) -> bytes:
    """A PNG with a comment whose CRC is wrong."""
    return data[:33] + struct.pack(">I4s7sI", 7, b"tEXt", b"Title\0x", 1) + data[33:]


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def turned(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def several(kind: str) -> bytes:
    frames = [picture(), picture().transpose(Image.Transpose.ROTATE_180)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


def with_scans(count: int) -> bytes:
    """A progressive JPEG of so many scans: the last one again and again."""
    data = saved(picture(), "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data[-2:]
    return data[:-2] + data[last:-2] * (count - data.count(b"\xff\xda")) + end


def taller(tiff: bytes, height: int) -> bytes:
    """A TIFF that says it is of that height (tag 257)."""
    tag = tiff.index(struct.pack("<2HL", 257, 4, 1))
    return tiff[: tag + 8] + struct.pack("<L", height) + tiff[tag + 12 :]


@dataclass(frozen=True)
class Hostile:
    """kind: for the table. data: the file's bytes. gets: `converted` notes of a picture that is taken, or why it is left out."""

    name: str
    kind: str
    data: bytes
    taken: bool
    gets: str


def left_out(name: str, kind: str, data: bytes, why: str) -> Hostile:
    return Hostile(name, kind, data, False, why)


def taken(name: str, kind: str, data: bytes, notes: str) -> Hostile:
    return Hostile(name, kind, data, True, notes)


PNG = saved(picture(), "PNG")
CLEAR = Image.fromarray(np.dstack([PIXELS, PIXELS[:, :, 0]]))
BANDS = np.dstack([PIXELS, PIXELS[:, :, :2]])
NAN = np.where(PIXELS[:, :, 0] == 7, np.nan, PIXELS[:, :, 0] / 255).astype(np.float32)
FOUR = tiff(BANDS[:, :, :4], photometric="rgb", extrasamples=["unspecified"])
CMYKA = tiff(BANDS, photometric="separated", extrasamples=["unassalpha"])
SIXTEEN = saved(Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 257), "PNG")
SIXTEEN_COLOR = png(2, 2, b"\0" + bytes(12) + b"\0" + bytes(12), 16)
FLOAT = saved(Image.fromarray(PIXELS[:, :, 0].astype(np.float32) / 255), "TIFF")
TWELVE = saved(picture(), "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c")
HUGE = saved(picture(), "BMP")[:18] + b"\xff\xff\xff\x7f" * 2 + bytes(40)
FEW_ROWS = taller(saved(Image.fromarray(PIXELS[:4]), "TIFF"), 24)
ENDED = saved(picture(), "JPEG")[:-200] + b"\xff\xd9"
SCANS = saved(picture(), "JPEG", progressive=True)
ENDED_SCANS = SCANS[: SCANS.rindex(b"\xff\xda") - 50] + b"\xff\xd9"
ENDED_LAST = SCANS[:-50] + b"\xff\xd9"
CORPUS = (
    left_out("empty.jpg", "zero bytes", b"", "not an image, despite its file extension"),
    left_out("text.png", "text", b"not an image\n", "not an image, despite its file extension"),
    left_out("page.gif", "HTML left by a failed download", b"<!DOCTYPE html><html>", "not an image, despite its file extension"),
    *(
        left_out(f"cut.{kind.lower()}", f"truncated {kind}", half(saved(picture(), kind)), "damaged")
        for kind in ("JPEG", "PNG", "WebP", "TIFF", "GIF", "BMP", "PPM")
    ),
    left_out("cut.avif", "truncated AVIF", half(saved(picture(), "AVIF")), "not an image, despite its file extension"),
    left_out("head.jpg", "only the first bytes of a JPEG", saved(picture(), "JPEG")[:20], "not an image, despite its file extension"),
    left_out("crc-pixels.png", "a flipped bit in the pixels of a PNG", flipped(saved(picture(), "PNG")), "damaged"),
    left_out("crc-header.png", "a flipped bit in the header of a PNG", flipped(PNG[:40]), "not an image, despite its file extension"),
    left_out("nan.tif", "32-bit float with NaN or infinite values", tiff(NAN), "it has values that are NaN or infinite"),
    left_out("bands.tif", "TIFF with five bands", tiff(BANDS, photometric="minisblack"), "a TIFF of 5 bands of 8-bit integers"),
    left_out("cmyk-clear.tif", "CMYK TIFF with transparency", CMYKA, "a TIFF of 5 bands of 8-bit integers"),
    left_out("phone.jpg", "HEIC under another file extension", b"\0\0\0\x18ftypheic" + bytes(99), "a HEIC picture, which is not read"),
    left_out("xl.jpg", "JPEG XL under another file extension", b"\xff\x0a" + bytes(99), "a JPEG XL picture, which is not read"),
    left_out("twelve.jpg", "12-bit JPEG", TWELVE, "a JPEG of 12 bits, which is not read"),
    left_out("bomb.png", "decompression bomb: 30,000 × 30,000 in a kilobyte", png(30_000, 30_000, b"\0" * 99), "damaged"),
    left_out("huge.bmp", "a header that claims 2^31 pixels per side", HUGE, "damaged"),
    left_out("none.png", "no pixels: 0 × 0", png(0, 0, b""), "not an image, despite its file extension"),
    left_out("large.png", "more than 89,478,485 pixels (9,460 × 9,460, in 10 kB)", png(9460, 9460, bytes(1184 * 9460), 1, 0), "damaged"),
    left_out("scans.jpg", "a JPEG with more than 100 scans, each over all pixels", with_scans(101), "damaged"),
    left_out("few-rows.png", "a complete PNG with fewer rows than its header states", png(32, 24, b"\0" * 97), "damaged"),
    left_out("few-rows.tif", "a complete TIFF with fewer rows than its header states", FEW_ROWS, "damaged"),
    left_out("ended.jpg", "a truncated JPEG with an end marker", ENDED, "damaged"),
    left_out("ended-scans.jpg", "a truncated progressive JPEG with an end marker", ENDED_SCANS, "damaged"),
    taken("ended-last.jpg", "the same, cut inside its last scan: only some detail is missing", ENDED_LAST, ""),
    taken("animated.gif", "animated GIF", several("GIF"), "first frame of several, palette"),
    taken("animated.webp", "animated WebP", several("WebP"), "first frame of several"),
    taken("animated.png", "animated PNG", several("PNG"), "first frame of several"),
    taken("pages.tif", "TIFF with several pages", several("TIFF"), "first frame of several"),
    taken("bands-four.tif", "color TIFF with an extra band", FOUR, "first 3 of 4 bands"),
    taken("crc-text.png", "a flipped bit in a PNG text chunk, or one of more than 1 MiB", with_text(PNG), "PNG chunks ignored: tEXt"),
    taken("named.jpg", "wrong file extension", saved(picture(), "PNG"), "PNG named .jpg"),
    taken("cmyk.jpg", "CMYK JPEG", saved(picture("CMYK"), "JPEG"), "CMYK"),
    taken("gray.png", "grayscale", saved(picture("L"), "PNG"), "gray"),
    taken("bits.png", "1 bit", saved(picture("1"), "PNG"), "1 bit, gray"),
    taken("palette.png", "palette", saved(picture("P"), "PNG"), "palette"),
    taken("clear.png", "transparency", saved(CLEAR, "PNG"), "transparency"),
    taken("gray-clear.png", "gray with transparency", saved(CLEAR.convert("LA"), "PNG"), "transparency, gray"),
    taken("deep.png", "16-bit gray", SIXTEEN, "more than 8 bits: 0 to 65535, gray"),
    taken("deep-color.png", "16-bit color", SIXTEEN_COLOR, "more than 8 bits: 0 to 65535, enlarged"),
    taken("float.tif", "32-bit float", FLOAT, "more than 8 bits: 0 to 1, gray"),
    taken("turned.jpg", "rotated by EXIF", saved(picture(), "JPEG", exif=turned(6)), "turned"),
    taken("bad-exif.jpg", "broken EXIF", saved(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), ""),
    taken("bad-profile.png", "broken color profile", saved(picture(), "PNG", icc_profile=b"no profile"), "color profile ignored"),
    taken("tiny.png", "one pixel", saved(Image.new("RGB", (1, 1)), "PNG"), "enlarged"),
    taken("thin.png", "4,000 × 1", saved(Image.new("RGB", (4000, 1)), "PNG"), "enlarged"),
)  # fmt: skip
BY_NAME = {case.name: case for case in CORPUS}


def table() -> str:
    """The rows of the table in the docs."""
    lines = ["| bad input | result |", "|---|---|"]
    for case in CORPUS:
        made = f"an image, noted as `{case.gets}`" if case.gets else "an image"
        lines.append(f"| {case.kind} | {made if case.taken else f'left out: {case.gets}'} |")
    return "\n".join(dict.fromkeys(lines)) + "\n"
