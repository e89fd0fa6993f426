"""The dataset's own classifier, trained by the extractor stage, and no network at all."""

import numpy as np
import numpy.typing as npt

from palette.scoring.extractors import Arrays, Extractor, Measure, Pixels, Prepare, Source


def _unchanged(image: Pixels) -> Pixels:
    return image


def _photos(source: Source) -> tuple[Prepare, Measure]:
    from palette.scoring.classifier import load_classifier, to_tensor
    from palette.scoring.loading import array, checked

    path, classes = checked(source, source.folder / "classifier.safetensors"), source.description["classes"]
    model = load_classifier(path, source.description["channels"], len(classes), source.device)

    def measure(outputs: Pixels, _: Pixels, labels: npt.NDArray[np.int64]) -> Arrays:
        features = model.features(to_tensor(outputs, source.device))
        probabilities = array(model.head(features).softmax(1))
        return {
            "features": array(features),
            "probabilities": probabilities,
            "correct": probabilities.argmax(1) == labels,
        }

    return _unchanged, measure


def _pixels(_: Source) -> tuple[Prepare, Measure]:
    """Measure nothing beyond the pixels of the images."""
    return _unchanged, lambda outputs, originals, labels: {}


def flops_per_pixel(channels: int) -> float:
    """Return the FLOP per pixel of the classifier (`palette.scoring.classifier`), from its four convolutions."""
    return 18.375 * channels + 3.9375 * channels**2


EXTRACTORS: dict[str, Extractor] = {
    "photos": Extractor(_photos, label="photos", trained_flops_per_pixel=flops_per_pixel, classes=2),
    "pixels": Extractor(_pixels, bare=True),
}
