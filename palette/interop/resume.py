"""Conversion of a JSON config together with the checkpoint from which it resumes."""

import hashlib
import shutil
from pathlib import Path

from palette.errors import DataError
from palette.interop.converted import Converted
from palette.interop.model_folder import FILES, report, write_model
from palette.interop.upstream_config import convert, resume_state
from palette.interop.upstream_json import Upstream, read_config
from palette.interop.upstream_weights import Wishes, import_upstream, parts_of
from palette.system.files import sha256
from palette.system.progress import say


def converted(file: Path, folder: Path, must_resume: bool) -> Converted:
    """Convert the JSON config `file`, importing its `resume_state` into a subfolder of `folder` unless already there.

    must_resume: raise DataError for a missing checkpoint, instead of listing it among the settings not honored.
    """
    source = read_config(file)
    prefix = resume_state(source)
    if prefix is None:
        return convert(source)
    try:
        parts_of(prefix)
    except DataError as error:
        if must_resume:
            raise DataError(
                f"{error} {file} names it as path.resume_state; set that to null to train from random weights."
            ) from None
        result = convert(source)
        result.not_honored.append(f"path.resume_state: {error} Training starts from random weights.")
        return result
    return convert(source, _imported(source, prefix, folder))


def _imported(source: Upstream, prefix: Path, folder: Path) -> Path:
    """Return the file to start from, made from the checkpoint `prefix`.

    Its folder is named after the checkpoint's bytes.
    """
    files = parts_of(prefix).files
    digest = hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()[:10]
    target = folder / f"{prefix.name}-{digest}"
    if not (target / "model.json").exists():
        shutil.rmtree(target, ignore_errors=True)  # left by a killed import
        written = write_model(model := import_upstream(prefix, Wishes(), source), target)
        say(report(model, written, verbose=False))
    return next(target / name for name in (FILES[1], FILES[0]) if (target / name).exists())
