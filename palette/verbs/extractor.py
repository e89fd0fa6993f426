"""The feature network of a dataset: trained here (`photos`), or a pretrained file that is checked (`inception`) → `extractor.json`."""

from collections.abc import Callable
from typing import Any

import torch

from palette.data.store import ImageStore
from palette.errors import ConfigError
from palette.files import sha256, write_json
from palette.scoring.classifier import save_classifier
from palette.scoring.device import device
from palette.scoring.fit import accuracy, fit
from palette.scoring.weights import WEIGHTS, missing, verify
from palette.spec import ExtractorSpec
from palette.stage import Stage, say


def run(stage: Stage[ExtractorSpec]) -> None:
    """Make or check the network and describe it."""
    torch.set_num_threads(stage.spec.runtime.threads)
    description, files = EXTRACTORS[stage.spec.extractor](stage)
    write_json(stage.path("extractor.json"), {"kind": stage.spec.extractor, **description})
    stage.write_card(["extractor.json", *files])


def _photos(stage: Stage[ExtractorSpec]) -> tuple[dict[str, Any], list[str]]:
    """Train the classifier on the training crops, and see how well it does on the test crops."""
    options, where = stage.spec.photos, device(stage.spec.runtime.gpus)
    assert options is not None
    with (
        ImageStore(stage.parent("prepare", "train.zip")) as train,
        ImageStore(stage.parent("prepare", "test.zip")) as test,
    ):
        model = fit(train, options, where)
        right = accuracy(model, test, where)
        classes = train.classes
    say(f"classifier: {right:.1%} of the test images are told right")
    path = stage.path("classifier.safetensors")
    save_classifier(model, path)
    facts = {"classes": classes, "channels": options.channels, "dimensions": 4 * options.channels}
    return {**facts, "test_accuracy": right, "sha256": sha256(path)}, [path.name]


def _inception(stage: Stage[ExtractorSpec]) -> tuple[dict[str, Any], list[str]]:
    """Check that the weights are those that everybody's FID is made with."""
    known, path = WEIGHTS["inception"], stage.spec.runtime.weights
    if path is None or not path.is_file():
        raise ConfigError(missing(known, f"{path} does not exist" if path else "no file is named"))
    verify(path, stage.spec.sha256 or known.sha256)
    return {"file": known.file, "classes": None, "dimensions": 2048, "sha256": stage.spec.sha256 or known.sha256}, []


EXTRACTORS: dict[str, Callable[[Stage[ExtractorSpec]], tuple[dict[str, Any], list[str]]]] = {
    "photos": _photos,
    "inception": _inception,
}
"""Kind → what makes it: its description, and the names of the files beside it."""
