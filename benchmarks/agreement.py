"""`python -m benchmarks.agreement`: differences between our scores and those of the libraries that the field uses, on
the same images.

Networks have the real architectures and random weights, which both sides read from the same files. Prints the largest
relative difference; for scores that are means over images, the largest one over the images.
"""

import hashlib
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lpips
import numpy as np
import numpy.typing as npt
import torch
from cleanfid import fid, inception_pytorch
from cleanfid.inception_torchscript import InceptionV3W
from PIL import Image, ImageFilter
from pytorch_msssim import ms_ssim
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor
from torch_fidelity import calculate_metrics
from torchvision import models

from benchmarks.reference import inception
from benchmarks.scoring import CPU, pairs, pictures
from benchmarks.timing import parser, write
from palette.scoring.extractor_facts import CLASSES, FIRST_CLASS, LAST_CLASS
from palette.scoring.extractors import load_network
from palette.scoring.features import Pair, measure
from palette.scoring.frechet import frechet_distance
from palette.scoring.statistics import inception_score, inside, kernel_distance

MODES = {
    "inception": "clean",
    "inception-legacy-tensorflow": "legacy_tensorflow",
    "inception-legacy-pytorch": "legacy_pytorch",
}
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Setting:
    """Two folders of images, and the weights. few: so few images that their features are cut to 16 numbers."""

    a: Path
    b: Path
    torchscript: Path
    state: Path
    few: bool

    def measure(self, kind: str, weights: Path | None, folder: Path, **facts: object) -> Arrays:
        """Return our features of a folder."""
        digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights else None
        network = load_network(Path("extractor"), {"kind": kind, "sha256": digest, **facts}, weights, CPU)
        return measure(pairs(folder), network, pixels=True)


@dataclass(frozen=True)
class Found:
    """A score by both implementations. library: the name of theirs."""

    score: str
    library: str
    ours: npt.NDArray[np.float64]
    theirs: npt.NDArray[np.float64]

    @property
    def difference(self) -> float:
        """Return the largest relative difference."""
        return float(np.max(np.abs(self.ours - self.theirs) / np.abs(self.theirs)))


def found(score: str, library: str, ours: object, theirs: object) -> Found:
    return Found(score, library, np.atleast_1d(np.asarray(ours, float)), np.atleast_1d(np.asarray(theirs, float)))


def _clean_fids(mode: str, setting: Setting) -> Callable[[Tensor], Tensor]:
    """Return clean-fid's own extractor."""
    if mode != "legacy_pytorch":
        return InceptionV3W(str(setting.torchscript.parent), download=False, resize_inside=mode == "legacy_tensorflow")
    state = torch.load(setting.state, weights_only=True)
    inception_pytorch.load_state_dict_from_url = lambda *_, **__: state
    model = inception_pytorch.InceptionV3(output_blocks=[3], resize_input=False).eval()
    return lambda images: model(images / 255)[0].flatten(1)


def distances(setting: Setting) -> Iterator[Found]:
    """Compare FID, KID and PD in clean-fid's three modes."""
    for kind, mode in MODES.items():
        weights = setting.state if mode == "legacy_pytorch" else setting.torchscript
        ours = [setting.measure(kind, weights, folder)["features"] for folder in (setting.a, setting.b)]
        options = {"num_workers": 0, "batch_size": 32, "device": CPU, "mode": mode, "verbose": False}
        extractor = _clean_fids(mode, setting)
        theirs = [fid.get_folder_features(str(folder), extractor, **options) for folder in (setting.a, setting.b)]
        pd = [np.linalg.norm(a.astype(float) - b, axis=1) for a, b in (ours, theirs)]
        yield found(f"KID, {mode}", "clean-fid", kernel_distance(*ours), fid.kernel_distance(*theirs, num_subsets=1))
        if setting.few:
            ours, theirs = ([part.reshape(-1, 16) for part in parts] for parts in (ours, theirs))
        yield found(f"FID, {mode}", "clean-fid", frechet_distance(*ours), fid.fid_from_feats(*theirs))
        yield found(f"PD, {mode}", "clean-fid's features", *pd)


def sets(setting: Setting) -> Iterator[Found]:
    """Compare Inception Score, precision and recall."""
    ours, others = (
        setting.measure("inception-legacy-tensorflow", setting.torchscript, folder) for folder in (setting.a, setting.b)
    )
    theirs = calculate_metrics(
        input1=str(setting.a),
        input2=str(setting.b),
        isc=True,
        isc_splits=1,
        prc=True,
        feature_extractor="inception-v3-compat",
        feature_layer_prc="2048",
        cuda=False,
        verbose=False,
        feature_extractor_weights_path=str(setting.state),
    )
    score = inception_score(ours["probabilities"], splits=1)
    yield found("IS", "torch-fidelity", score, theirs["inception_score_mean"])
    a, b = ours["features"], others["features"]
    yield found("precision", "torch-fidelity", inside(a, b).mean(), theirs["precision"])
    yield found("recall", "torch-fidelity", inside(b, a).mean(), theirs["recall"])


def accuracies(setting: Setting) -> Iterator[Found]:
    """Compare classification accuracy, on labels of which the library's network predicts every other one."""
    classes = [f"n{number:08}" for number in range(int(FIRST_CLASS[1:]), int(LAST_CLASS[1:]), 2)][: CLASSES - 1]
    for kind, make, weights in (
        ("resnet50", models.resnet50, models.ResNet50_Weights.IMAGENET1K_V1),
        ("efficientnet-b0", models.efficientnet_b0, models.EfficientNet_B0_Weights.IMAGENET1K_V1),
    ):
        torch.manual_seed(0)
        model, transform = make().eval(), weights.transforms()
        path = setting.state.with_name(f"{kind}.pth")
        torch.save(model.state_dict(), path)
        images = [pair.output for pair in pairs(setting.a)]
        named = [int(model(transform(Image.fromarray(image))[None]).argmax()) for image in images]
        labels = [(name + number % 2) % CLASSES for number, name in enumerate(named)]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        facts = {"kind": kind, "sha256": digest, "classes": [*classes, LAST_CLASS]}
        shown = [Pair(image, image, label) for image, label in zip(images, labels, strict=True)]
        correct = measure(shown, load_network(Path("extractor"), facts, path, CPU), pixels=False)["correct"]
        theirs = np.mean([name == label for name, label in zip(named, labels, strict=True)])
        yield found(f"CA, {kind}", "torchvision", correct.mean(), theirs)


def likenesses(setting: Setting) -> Iterator[Found]:
    """Compare scores of output and original: each image of `a`, blurred and unchanged."""
    both = [Pair(_blur(pair.original), pair.original, 0) for pair in pairs(setting.a)]
    path = setting.state.with_name("alexnet.pth")
    torch.manual_seed(1)
    trunk = models.alexnet()
    torch.save(trunk.state_dict(), path)
    lpips.pretrained_networks.tv.alexnet = lambda **_: trunk
    package = lpips.LPIPS(net="alex", verbose=False)
    facts = {"kind": "lpips", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    ours = measure(both, load_network(Path("extractor"), facts, path, CPU), pixels=True)
    theirs = [package(lpips.im2tensor(pair.output), lpips.im2tensor(pair.original)).item() for pair in both]
    yield found("LPIPS", "lpips", ours["lpips"], theirs)
    psnr = [peak_signal_noise_ratio(pair.original, pair.output, data_range=255) for pair in both]
    yield found("PSNR", "scikit-image", ours["psnr"], psnr)
    large = [Pair(_large(pair.output), _large(pair.original), 0) for pair in both]
    ours = measure(large, load_network(Path("extractor"), {"kind": "ms-ssim"}, None, CPU), pixels=False)
    theirs = [ms_ssim(_tensor(pair.output), _tensor(pair.original), data_range=255).item() for pair in large]
    yield found("MS-SSIM", "pytorch-msssim", ours["ms-ssim"], theirs)


def _large(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return images large enough for five scales."""
    return np.asarray(Image.fromarray(pixels).resize((176, 176), Image.Resampling.BICUBIC))


def _tensor(pixels: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()


def blurred(folder: Path) -> Path:
    """Blur the images of a folder: between similar sets, KID is only chance and rounding."""
    for file in folder.iterdir():
        Image.fromarray(_blur(np.asarray(Image.open(file)))).save(file)
    return folder


def _blur(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.5)))


def main(arguments: list[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=64, help="images in each folder (default: %(default)s)")
    options.add_argument("--size", type=int, default=64, help="their side in pixels (default: %(default)s)")
    chosen = options.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # clean-fid uses deprecated functions of SciPy and torch
    images, size = (4, 40) if chosen.quick else (chosen.images, chosen.size)
    table = {}
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = Path(name)
        a, b = pictures(folder / "a", images, size), blurred(pictures(folder / "b", images, size))
        setting = Setting(a, b, folder / "inception-2015-12-05.pt", folder / "pt_inception.pth", few=chosen.quick)
        inception.torchscript(setting.torchscript)
        torch.save(inception.state(), setting.state)
        print(f"{'score':<26}{'library':<22}{'ours':>12}{'theirs':>12}{'difference':>12}")
        for part in (distances, sets, accuracies, likenesses):
            for one in part(setting):
                ours, theirs = one.ours.mean(), one.theirs.mean()
                print(
                    f"{one.score:<26}{one.library:<22}{ours:>12.6g}{theirs:>12.6g}{one.difference:>12.1e}", flush=True
                )
                table[one.score] = {
                    "library": one.library,
                    "ours": ours,
                    "theirs": theirs,
                    "difference": one.difference,
                }
    write(chosen.results, "agreement", CPU, {"images": images, "size": size}, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
