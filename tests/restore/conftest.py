"""A model of every task, and a photograph of an awkward size."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import palette
from palette.system.randomness import generator
from tests.restore.models import write_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def model(folder: Path) -> palette.Model:
    return palette.load(folder)


@pytest.fixture(scope="session")
def photo() -> npt.NDArray[np.uint8]:
    """uint8 [33, 21, 3]."""
    coarse = generator(0, "photo").integers(0, 256, (5, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((21, 33), Image.Resampling.BICUBIC))
