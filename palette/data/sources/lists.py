"""Origins of published lists of test images. None of the lists may be redistributed here."""

from pathlib import Path

FOLDER = "workflow/lists"
"""Folder in which the presets look for the lists."""
ORIGINS = {
    "ctest10k.txt": (
        "10,000 images of ImageNet's validation set, Larsson et al. 2016: "
        "https://people.cs.uchicago.edu/~larsson/colorization/res/ctest10k.txt\n"
        "    SHA-256 of its IDs, sorted, one a line: f7e33b83d543b3446e0176b9918be5bcb576c285e2b6ded9c0d2556242a508d5"
    ),
    "coltran5k.txt": (
        "the 5,000 images of ImageNet's validation set that ColTran colors: the first ones in the order in which TensorFlow Datasets "
        "reads it; lists are with the ColTran evaluator of https://github.com/google-research/big_vision"
    ),
    "coltran5k-reference.txt": (
        "the 5,000 other images that ColTran's FID compares with, number 10,000 to 15,000 in the same order; from the same place"
    ),
    "places10k.txt": (
        "30 images of each class of Places2's validation set; the paper's own list is with its outputs (https://bit.ly/eval-pix2pix). "
        "The first 30 of each class: awk 'n[$2]++ < 30 {print $1}' places365_val.txt"
    ),
}
"""File name → description and origin."""


def missing_list(dataset: str, path: Path) -> str:
    """Return a message for a user who lacks a list of test images."""
    about = ORIGINS.get(path.name, "the file names of the test images, one a line (`test_list`)")
    return f"dataset {dataset}: {path}\n    {about}"
