"""Archives for tests: small valid ones, and hostile ones."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def png(number: int, size: tuple[int, int] = (8, 6)) -> bytes:
    """A picture that no other number has."""
    data = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def jpeg(number: int) -> bytes:
    data = io.BytesIO()
    Image.open(io.BytesIO(png(number, (24, 16)))).save(data, "JPEG")
    return data.getvalue()


def tar_bytes(files: Mapping[str, bytes], mode: str = "w:", **changes: object) -> bytes:
    """A tar of `files`; mode: with its compression. changes: to every header, such as `type`."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in changes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def make_tar(path: Path, files: Mapping[str, bytes], mode: str = "w:", **changes: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(files, mode, **changes))
    return path


def make_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED, mode: int = 0) -> Path:
    """mode: upper bits of the Unix mode of each file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.external_attr = method, mode << 16
            archive.writestr(info, content)
    return path
