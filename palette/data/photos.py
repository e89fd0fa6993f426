"""Built-in photographs: the images in scikit-image's package that are in the public domain or CC0.

The licenses are those that scikit-image states for each image in the documentation of `skimage.data`. Images with
another or an unclear license (`ihc`, `motorcycle`) or without color are left out.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from palette.errors import DataError

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are exclusive."""


@dataclass(frozen=True)
class Photo:
    """Built-in photograph: its origin, its expected SHA-256, and the region reserved for testing.

    test_box spans the photograph from edge to edge. It was chosen by eye, so that both parts show something
    recognizable and training sees the kinds of colors and textures that appear in testing.
    """

    file: str
    name: str
    title: str
    author: str
    license: str
    url: str
    sha256: str
    test_box: Box


PHOTOS = (
    Photo(
        "chelsea.png",
        "cat",
        "Chelsea the cat",
        "Stefan van der Walt",
        "CC0",
        "https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data.chelsea",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        (226, 0, 451, 300),
    ),
    Photo(
        "coffee.png",
        "coffee",
        "A cup of coffee at Pikolo Espresso Bar",
        "Rachel Michetti",
        "CC0",
        "https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data.coffee",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        (300, 0, 600, 400),
    ),
    Photo(
        "astronaut.png",
        "astronaut",
        "Astronaut Eileen Collins",
        "NASA",
        "public domain",
        "https://flic.kr/p/r9qvLn",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        (300, 0, 512, 512),
    ),
    Photo(
        "rocket.jpg",
        "rocket",
        "Falcon 9 with DSCOVR before its launch",
        "SpaceX",
        "public domain",
        "https://www.flickr.com/photos/spacexphotos/16511594820/",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        (230, 0, 410, 427),
    ),
    Photo(
        "retina.jpg",
        "retina",
        "Retina of a left eye",
        "Mikael Häggström",
        "CC0",
        "https://commons.wikimedia.org/wiki/File:Fundus_photograph_of_normal_left_eye.jpg",
        "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
        (0, 880, 1411, 1411),
    ),
    Photo(
        "hubble_deep_field.jpg",
        "galaxies",
        "Hubble eXtreme Deep Field",
        "NASA",
        "public domain",
        "http://hubblesite.org/newscenter/archive/releases/2012/37/image/a/",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        (620, 0, 1000, 872),
    ),
)
"""Photographs in the order of their labels and of the test images."""


def photo_folder() -> Path:
    """Return the folder of scikit-image's images, without importing or downloading anything.

    Raises DataError if scikit-image is not installed.
    """
    package = find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise DataError("scikit-image is not installed, which brings the photographs: `pip install scikit-image`.")
    return Path(package.submodule_search_locations[0]) / "data"
