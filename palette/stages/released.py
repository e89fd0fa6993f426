"""Released model instead of a training: its `model.json` and weights, checked → `model.safetensors`, `model.json`."""

import shutil
from contextlib import suppress
from pathlib import Path

from palette.errors import DataError
from palette.model.facts import Facts, read_facts
from palette.stages.base import Planned, Runtime, Spec, Usual, Work
from palette.stages.stage import Stage
from palette.system.download import Remote, download
from palette.system.files import replacing, sha256


class ReleasedRuntime(Runtime):
    """Runtime options of a released model: its location."""

    card: str = ""
    """Path or URL of its `model.json`."""


class ReleasedSpec(Spec):
    """Released model → `model.safetensors` and `model.json` of a model that others have trained, checked."""

    kind = "released"
    verb = "train"
    files = ("model.safetensors", "model.json")
    usual = Usual(memory_gb=4, hours=4)
    options = {
        "sha256": "models.{model}.released.sha256",
        "image_size": "datasets.{dataset}.prepare.image_size",
        "objective": "models.{model}.objective.kind",
    }
    runtime: ReleasedRuntime = ReleasedRuntime()
    sha256: str
    """SHA-256 of its `model.json`."""
    image_size: int
    objective: str
    """Kind of its objective."""

    def evaluation(self, planned: Planned, megapixels: float) -> Work:
        from palette.model.flops import flops

        for file in (planned.results / self.folder / "model.json", Path(self.runtime.card)):
            with suppress(DataError, OSError):
                facts = read_facts(file)
                network = repr((facts.network, self.image_size, facts.precision))
                return Work(flops(facts.network, self.image_size), facts.precision, network)
        return Work()


def run(stage: Stage[ReleasedSpec]) -> None:
    """Get both files and check each against its known SHA-256."""
    spec, card = stage.spec, stage.spec.runtime.card
    _get(card, stage.path("model.json"), spec.sha256)
    facts = _facts(spec, stage.path("model.json"))
    weights = stage.path("model.safetensors")
    _get(f"{card.rpartition('/')[0]}/model.safetensors", weights, facts.sha256)
    _refuse_broken(weights)
    stage.write_card(["model.safetensors", "model.json"], released=card)


def _facts(spec: ReleasedSpec, file: Path) -> Facts:
    """Return the facts in a `model.json`. Raises DataError if it is of no model, or of one that does not fit the config."""
    card = spec.runtime.card
    try:
        facts = read_facts(file)
    except DataError:
        raise DataError(f"{card}: not the model.json of a model that palette trained or imported.") from None
    size, kind = facts.image_size, facts.objective.kind
    if not facts.sha256:
        raise DataError(f"{card}: does not say the SHA-256 of its weights.")
    if size != spec.image_size:
        text = f"a model for {size} pixels, and the dataset has {spec.image_size}. Set `image_size: {size}`"
        raise DataError(f"{card}: {text}, or take another model.")
    if kind != spec.objective:
        text = f"the objective of this model is {kind}, and the config says {spec.objective}."
        raise DataError(f"{card}: {text} Set `objective: {{kind: {kind}}}` beside `released`.")
    return facts


def _refuse_broken(weights: Path) -> None:
    """Raise DataError if the file is not a safetensors file, or if its values are not finite."""
    from safetensors import SafetensorError, safe_open  # here, because it imports torch

    from palette.model.finite import require_finite

    try:
        with safe_open(weights, "pt") as file:
            require_finite(((key, file.get_tensor(key)) for key in file.keys()), weights)  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise DataError(f"{weights}: not a readable safetensors file ({error}).") from None


def _get(place: str, path: Path, digest: str) -> None:
    """Copy or download the file at `place` to `path`. Raises DataError unless its SHA-256 is `digest`."""
    if place.startswith(("http://", "https://")):
        about = "It cannot be read from there. `models.….released.card` names the model.json."
        download(Remote(path.name, (place,), sha256=digest, about=about), path)
        return
    with replacing(path) as temporary:
        try:
            shutil.copyfile(place, temporary)
        except OSError as error:
            text = f"cannot be read ({error}). `models.….released.card` names the model.json."
            raise DataError(f"{place}: {text}") from None
        if (found := sha256(temporary)) != digest:
            raise DataError(f"{place}: not the released file (sha256 {found}, expected {digest}).")
