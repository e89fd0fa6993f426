"""Prepare what measures the images of a dataset → `extractor.json`.

It is a classifier trained here (`photos`), verified pretrained weights, or a formula.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from palette.data.store.store import ImageStore
from palette.errors import DataError
from palette.scoring.classifier import accuracy, fit, save_classifier
from palette.scoring.extractors import EXTRACTORS, WEIGHTS
from palette.scoring.weights import fetch, missing, verify
from palette.system import devices
from palette.system.files import read_json, sha256, write_json
from palette.system.progress import say

if TYPE_CHECKING:
    from palette.stages.extractor import ExtractorSpec
    from palette.stages.stage import Stage


def run(stage: "Stage[ExtractorSpec]") -> None:
    """Make, download or check the network, and describe it."""
    devices.use(stage.spec.runtime.threads, exact=True)
    kind = stage.spec.extractor
    facts, files = (_photos(stage), ["classifier.safetensors"]) if kind == "photos" else (_known(stage), [])
    write_json(stage.path("extractor.json"), {"kind": kind, "resize": EXTRACTORS[kind].resize, **facts})
    stage.write_card(["extractor.json", *files])


def _photos(stage: "Stage[ExtractorSpec]") -> dict[str, Any]:
    """Train the classifier on the training crops, and measure its accuracy on the test crops."""
    options, where = stage.spec.photos, devices.local_device(stage.spec.runtime.gpus)
    assert options is not None
    with (
        ImageStore(stage.parent("prepare", "train.zip")) as train,
        ImageStore(stage.parent("prepare", "test.zip")) as test,
    ):
        model = fit(train, options, where)
        right = accuracy(model, test, where)
        classes = train.classes
    say(f"classifier: {right:.1%} of the test images are classified correctly")
    path = stage.path("classifier.safetensors")
    save_classifier(model, path)
    facts = {"classes": classes, "channels": options.channels, "dimensions": 4 * options.channels}
    return {**facts, "test_accuracy": right, "sha256": sha256(path)}


def _known(stage: "Stage[ExtractorSpec]") -> dict[str, Any]:
    """Describe a standard extractor: verified weights and the package that computes."""
    kind, facts = stage.spec.extractor, {}
    if kind in WEIGHTS:
        facts["file"], facts["sha256"] = WEIGHTS[kind].file, _checked(stage)
    if package := EXTRACTORS[kind].package:
        facts["package"] = f"{package} {version(package)}"
    if EXTRACTORS[kind].imagenet:
        facts["classes"] = read_json(stage.parent("prepare", "prepare.json"))["classes"]
    return facts


def _checked(stage: "Stage[ExtractorSpec]") -> str:
    """Return the SHA-256 of the weights after making sure that the file exists and is the known one."""
    known, path, runtime = WEIGHTS[stage.spec.extractor], stage.spec.runtime.weights, stage.spec.runtime
    if path is None:
        raise DataError(missing(known, "no file is named"))
    if not path.is_file():
        if not runtime.download:
            raise DataError(missing(known, f"{path} does not exist"))
        fetch(known, path)
    expected = stage.spec.sha256 or known.sha256
    verify(path, expected)
    return expected
