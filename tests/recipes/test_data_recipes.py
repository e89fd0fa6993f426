"""The recipes of CONTRIBUTING.md for the data rooms: each change is one file, and comes out in a table or a sheet."""

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from tests.data.archives import make_zip, png
from tests.recipes.conftest import Copy

pytestmark = pytest.mark.slow

BLUR = '''"""Deblurring."""

import numpy as np
from PIL import Image as Pictures
from PIL import ImageFilter

from palette.data.images.degraded import Degraded, Evaluation, Image, Strength

TITLE, LABEL = "Deblurring", "radius {}"
STRENGTH = Strength("radius", 2.0, 0.5, 8, "Evaluation radius of the blur. Default: 2.")


def blur(image: Image, radius: float) -> Image:
    return np.asarray(Pictures.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def train(image: Image, generator: np.random.Generator, condition: Image | None = None) -> Degraded:
    return Degraded(blur(image, generator.uniform(1, 4)), None)


def evaluate(image: Image, generator: np.random.Generator, how: Evaluation) -> Degraded:
    assert how.strength is not None
    return Degraded(blur(image, how.strength), None)
'''
INPUT = [{"dataset": "tiny", "task": "mine", "model": "input"}]


def test_a_task_with_a_strength_of_its_own(copy: Copy) -> None:
    copy.write("palette/data/tasks/blur.py", BLUR)
    copy.configure(tasks={"mine": {"degradation": "blur", "radius": 1.5}}, experiments=INPUT)
    assert "Deblurring, radius 1.5" in copy.run()
    assert '"description": "Evaluation radius of the blur. Default: 2."' in copy.palette("config", "--schema")
    assert "| `radius` | number ≥ 0.5 ≤ 8 | `null` |" in copy.palette("config", "--reference")
    copy.configure(tasks={"mine": {"degradation": "blur", "radius": 9}})
    assert "tasks.mine.radius: should be less than or equal to 8" in copy.palette("config", "-c", "config.yaml", code=2)
    copy.configure(tasks={"mine": {"degradation": "jpeg", "radius": 1}})
    assert "`radius` has no meaning for jpeg; it goes with blur" in copy.palette("config", "-c", "config.yaml", code=2)


STRIPES = '''
def stripes(size: int, generator: np.random.Generator) -> Mask:
    """Return every other row."""
    return np.broadcast_to(np.arange(size)[:, None] % 2 == 1, (size, size)).copy()


'''


def test_a_mask_kind(copy: Copy) -> None:
    drawn = "palette/data/masks/drawn.py"
    copy.insert(drawn, "\nMASKS = {", STRIPES)
    copy.insert(drawn, '    "right": DrawnMask', '    "stripes": DrawnMask(stripes),\n')
    copy.configure(tasks={"mine": {"degradation": "inpainting", "mask": "stripes"}}, experiments=INPUT)
    assert "Inpainting, mask stripes" in copy.run()
    (sheet,) = (copy.folder / "results").glob("mask/*/masks.png")
    with Image.open(sheet) as image:
        assert [image.getpixel((0, row)) for row in range(4)] == [0, 255, 0, 255]
    assert '"stripes"' in copy.palette("config", "--schema")
    copy.configure(tasks={"mine": {"degradation": "inpainting", "mask": "stripe"}})
    assert "Did you mean 'stripes'?" in copy.palette("config", "-c", "config.yaml", code=2)


PATTERNS = '''"""`source: patterns`: images that are computed."""

from pathlib import Path

import numpy as np
from PIL import Image

from palette.data.sources.source import FetchStage, Listing, Source


def list_patterns(stage: FetchStage) -> Listing:
    folder = stage.path("images")
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    entries = [{"file": f"{number:02}.png", "class": "noise"} for number in range(12)]
    return Listing("patterns", [Path("images")], entries)


SOURCE = Source(list_patterns, own=True)
'''


def test_a_dataset_source(copy: Copy) -> None:
    copy.write("palette/data/sources/readers/patterns.py", PATTERNS)
    prepare = {"image_size": 16, "train_images": 4, "test_images": 6}
    copy.configure(datasets={"tiny": {"fetch": {"source": "patterns"}, "prepare": prepare}})
    assert "Original images" in copy.run()
    (manifest,) = (copy.folder / "results").glob("fetch/*/manifest.jsonl")
    assert '"source":"patterns"' in manifest.read_text()
    copy.configure(datasets={"tiny": {"fetch": {"source": "pattern"}, "prepare": prepare}})
    assert "Did you mean 'patterns'?" in copy.palette("config", "-c", "config.yaml", code=2)
    copy.configure(datasets={"tiny": {"fetch": {"source": "patterns", "path": "x"}, "prepare": prepare}})
    said = copy.palette("config", "-c", "config.yaml", code=2)
    assert "`path` has no meaning for `source: patterns`; it goes with `source: archive`" in said


def test_a_published_dataset(copy: Copy, tmp_path: Path) -> None:
    files = {f"{folder}/{name}/{n}.png": png(n) for folder in ("train", "test") for name in "ab" for n in range(6)}
    archive = make_zip(tmp_path / "data/our-set.zip", files)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    copy.insert(
        "palette/data/sources/registry.yaml",
        "\ncifar10:\n",
        f"""
our-set:
  title: Our photographs
  splits: {{train: train, test: test}}
  images: {{train: 12, test: 12}}
  classes: 2
  license: CC0
  files:
    - {{file: our-set.zip, sha256: {digest}}}
""",
    )
    assert "our-set" in copy.palette("datasets")
    fetch = {"source": "our-set", "path": str(archive.parent)}
    prepare = {"image_size": 16, "train_images": 4, "test_images": 6}
    copy.configure(datasets={"tiny": {"fetch": fetch, "prepare": prepare}})
    assert "CC0" in copy.palette("datasets", "-c", "config.yaml", "our-set", "--check")
    assert "Original images" in copy.run()
