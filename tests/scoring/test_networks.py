"""Every network has the same outputs as in its library: the same images, real architectures with random weights."""

from collections.abc import Callable, Iterator
from pathlib import Path

import lpips
import numpy as np
import numpy.typing as npt
import pytest
import torch
from cleanfid import fid, inception_pytorch
from cleanfid.inception_torchscript import InceptionV3W
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F
from torch_fidelity import calculate_metrics
from torchvision import models

from benchmarks.reference import inception
from palette.errors import DataError
from palette.scoring import features as scoring_features
from palette.scoring.extractors import Network, load_network
from palette.scoring.features import Arrays, Pair, diversity, measure
from palette.scoring.frechet import frechet_distance
from palette.scoring.statistics import inception_score, kernel_distance
from palette.system.files import sha256
from tests.scoring.conftest import IMAGENET

CPU = torch.device("cpu")


def pictures(count: int, size: int, seed: int = 0) -> list[npt.NDArray[np.uint8]]:
    """Smooth blobs of color with some noise: uint8 [size,size,3] each."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.zoom(rng.integers(0, 256, (count, 5, 5, 3)).astype(float), (1, size / 5, size / 5, 1), order=1)
    return list((blobs + 10 * rng.standard_normal(blobs.shape)).clip(0, 255).astype(np.uint8))


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A last batch is filled up: not to 32 images here."""
    monkeypatch.setattr(scoring_features, "BATCH", 3)


LOADED: dict[tuple[str, Path | None], Network] = {}


def load(kind: str, weights: Path | None, **facts: object) -> Network:
    """Each once: TorchScript takes its time."""
    if facts or (kind, weights) not in LOADED:
        digest = sha256(weights) if weights else None
        LOADED[kind, weights] = load_network(Path("extractor"), {"kind": kind, "sha256": digest, **facts}, weights, CPU)
    return LOADED[kind, weights]


@pytest.fixture(scope="module", autouse=True)
def forget() -> Iterator[None]:
    yield
    LOADED.clear()


def measured(network: Network, images: list[npt.NDArray[np.uint8]], labels: list[int] | None = None) -> Arrays:
    pairs = [Pair(i, i, label) for i, label in zip(images, labels or [0] * len(images), strict=True)]
    return measure(pairs, network, pixels=False)


@pytest.fixture(scope="module")
def torchscript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "inception-2015-12-05.pt"
    inception.torchscript(path)
    return path


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "pt_inception.pth"
    torch.save(inception.state(), path)
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders of pictures."""
    made = []
    for seed in range(2):
        made.append(tmp_path_factory.mktemp("pictures"))
        for number, picture in enumerate(pictures(3, 40, seed)):
            Image.fromarray(picture).save(made[-1] / f"{number}.png")
    return made


def images_of(folder: Path) -> list[npt.NDArray[np.uint8]]:
    return [np.asarray(Image.open(file)) for file in sorted(folder.iterdir())]


def clean_fids(
    mode: str, torchscript: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Tensor], Tensor]:
    """Clean-fid's own extractor, from these files."""
    if mode != "legacy_pytorch":
        return InceptionV3W(str(torchscript.parent), download=False, resize_inside=mode == "legacy_tensorflow")
    tensors = torch.load(state, weights_only=True)
    monkeypatch.setattr(inception_pytorch, "load_state_dict_from_url", lambda *_, **__: tensors)
    model = inception_pytorch.InceptionV3(output_blocks=[3], resize_input=False).eval()
    return lambda x: model(x / 255)[0].flatten(1)


MODES = {
    "inception": "clean",
    "inception-legacy-tensorflow": "legacy_tensorflow",
    "inception-legacy-pytorch": "legacy_pytorch",
}


@pytest.mark.parametrize("kind", MODES)
def test_inception_matches_clean_fids(
    kind: str, torchscript: Path, state: Path, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load(kind, state if kind.endswith("pytorch") else torchscript)
    ours = [measured(network, images_of(folder)) for folder in folders]
    extractor = clean_fids(MODES[kind], torchscript, state, monkeypatch)
    options = {"num_workers": 0, "batch_size": 3, "device": CPU, "mode": MODES[kind], "verbose": False}
    theirs = [fid.get_folder_features(str(folder), extractor, **options) for folder in folders]
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found["features"], expected, rtol=1e-3, atol=1e-4 * expected.std())
        assert found["spatial"].shape == (3, 7 * 17 * 17)
        np.testing.assert_allclose(found["probabilities"].sum(1), 1, rtol=1e-5)
    (a, b), (x, y) = ([part["features"] for part in ours], theirs)
    assert kernel_distance(a, b) == pytest.approx(fid.kernel_distance(x, y, num_subsets=1, max_subset_size=3), rel=1e-3)
    # Three images have no covariance of 2048 dimensions, and its root takes half a minute: the numbers count as 384 of 16.
    a, b, x, y = (values.reshape(-1, 16) for values in (a, b, x, y))
    assert frechet_distance(a, b) == pytest.approx(fid.fid_from_feats(x, y), rel=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", MODES)
def test_fid_matches_clean_fids_own_function(
    kind: str, torchscript: Path, state: Path, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load(kind, state if kind.endswith("pytorch") else torchscript)
    a, b = (measured(network, images_of(folder))["features"] for folder in folders)
    extractor = clean_fids(MODES[kind], torchscript, state, monkeypatch)
    expected = fid.compute_fid(
        *map(str, folders), mode=MODES[kind], custom_feat_extractor=extractor, num_workers=0, device=CPU, verbose=False
    )
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-3)


def test_spatial_features_are_those_of_the_layer(state: Path) -> None:
    """The two forms of the network have the same weights here, and so the same layer."""
    net = inception.network()
    seen: list[Tensor] = []
    net.Mixed_6d.branch1x1.register_forward_hook(lambda *args: seen.append(args[2]))
    image = pictures(1, 299)[0]
    with torch.no_grad():
        net(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1)
    found = measured(load("inception-legacy-pytorch", state), [image])["spatial"]
    np.testing.assert_allclose(found[0], seen[0][0, :7].flatten(), rtol=1e-3, atol=1e-3)


def test_the_two_forms_of_inception_agree(torchscript: Path, state: Path) -> None:
    images = pictures(2, 299)
    script, tensors = (
        measured(load(k, w), images) for k, w in (("inception", torchscript), ("inception-legacy-pytorch", state))
    )
    for name in (
        "features",
        "spatial",
        "probabilities",
    ):  # [0,255] becomes (x - 128)/128 in the one, x/127.5 - 1 in the other
        assert np.corrcoef(script[name].ravel(), tensors[name].ravel())[0, 1] > 0.999


def test_inception_score_matches_torch_fidelitys(torchscript: Path, state: Path, folders: list[Path]) -> None:
    found = measured(load("inception-legacy-tensorflow", torchscript), images_of(folders[0]))
    expected = calculate_metrics(
        input1=str(folders[0]),
        isc=True,
        isc_splits=1,
        cuda=False,
        verbose=False,
        feature_extractor_weights_path=str(state),
    )
    assert inception_score(found["probabilities"], splits=1) == pytest.approx(
        expected["inception_score_mean"], rel=1e-3
    )


class _Other(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.output = (
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2048)),
            nn.Linear(2048, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.layers(x))


def test_a_network_with_unknown_layers_gives_no_spatial_features(tmp_path: Path) -> None:
    path = tmp_path / "inception-2015-12-05.pt"
    torch.jit.script(_Other()).save(str(path))
    found = measured(load("inception", path), pictures(2, 20))
    assert found["features"].shape == (2, 2048)
    assert "spatial" not in found


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"layer.weight": torch.zeros(3)}, path)
    for kind, facts in (("resnet50", {"classes": IMAGENET}), ("lpips", {}), ("inception-legacy-pytorch", {})):
        with pytest.raises(DataError, match="not the"):
            load(kind, path, **facts)
    path.write_bytes(b"no archive")
    for kind in ("inception", "resnet50"):
        with pytest.raises(DataError):
            load(kind, path, classes=IMAGENET)


@pytest.mark.parametrize(
    ("kind", "architecture", "weights"),
    [
        ("resnet50", models.resnet50, models.ResNet50_Weights.IMAGENET1K_V1),
        ("efficientnet-b0", models.efficientnet_b0, models.EfficientNet_B0_Weights.IMAGENET1K_V1),
    ],
)
def test_accuracy_matches_torchvisions(
    kind: str, architecture: Callable[[], nn.Module], weights: models.WeightsEnum, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = architecture().eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    images = pictures(3, 64)
    with torch.no_grad():
        named = [int(model(weights.transforms()(Image.fromarray(i))[None]).argmax()) for i in images]
    labels = [named[0], named[1], (named[2] + 1) % 1000]
    network = load(kind, tmp_path / "weights.pth", classes=IMAGENET)
    assert measured(network, images, labels)["correct"].tolist() == [True, True, False]
    others = load(kind, tmp_path / "weights.pth", classes=["cat", "cup"])
    assert "correct" not in measured(others, images, labels)


def vision_transformer(state: dict[str, Tensor], images: Tensor, heads: int) -> Tensor:
    """DINOv2's mathematics, plainly: images normalized [B,3,224,224] → class tokens [B,D]."""
    width = state["cls_token"].shape[-1]
    x = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14).flatten(2).mT
    grid = state["pos_embed"][:, 1:].reshape(1, 37, 37, width).permute(0, 3, 1, 2)
    small = F.interpolate(grid, scale_factor=(16.1 / 37, 16.1 / 37), mode="bicubic").flatten(2).mT
    x = torch.cat([(state["cls_token"] + state["pos_embed"][:, :1]).expand(len(x), -1, -1), x + small], dim=1)
    for block in range(2):
        s = {name.removeprefix(f"blocks.{block}."): value for name, value in state.items()}
        y = F.layer_norm(x, [width], s["norm1.weight"], s["norm1.bias"], 1e-6)
        q, k, v = (y @ s["attn.qkv.weight"].T + s["attn.qkv.bias"]).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        attended = ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + s["ls1.gamma"] * (attended @ s["attn.proj.weight"].T + s["attn.proj.bias"])
        y = F.layer_norm(x, [width], s["norm2.weight"], s["norm2.bias"], 1e-6)
        y = F.gelu(y @ s["mlp.fc1.weight"].T + s["mlp.fc1.bias"]) @ s["mlp.fc2.weight"].T + s["mlp.fc2.bias"]
        x = x + s["ls2.gamma"] * y
    return F.layer_norm(x, [width], state["norm.weight"], state["norm.bias"], 1e-6)[:, 0]


def test_dinov2_matches_the_published_mathematics(tmp_path: Path) -> None:
    torch.manual_seed(0)
    width = 128
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + 37 * 37, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        **{f"norm.{part}": (width,) for part in ("weight", "bias")},
    }
    for block in ("blocks.0.", "blocks.1."):
        for layer, outputs, inputs in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4)):
            shapes |= {
                f"{block}{layer}.weight": (outputs * width, inputs * width),
                f"{block}{layer}.bias": (outputs * width,),
            }
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[block + name] = (width,)
    state = {name: torch.randn(shape) * (0.05 if len(shape) > 1 else 0.5) for name, shape in shapes.items()}
    torch.save(state, tmp_path / "weights.pth")
    image = pictures(1, 64)[0]
    resized = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC))
    scaled = (resized / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected = vision_transformer(state, torch.from_numpy(scaled).permute(2, 0, 1)[None].float(), heads=2)
    found = measured(load("dinov2", tmp_path / "weights.pth"), [image])["features"]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The convolutions of an AlexNet with random weights; LPIPS takes nothing else of the file."""
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.manual_seed(1)
    full = models.alexnet().features.state_dict()
    torch.save({f"features.{name}": value for name, value in full.items()}, path)
    return path


def test_lpips_matches_the_package(alexnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = models.alexnet()
    trunk.load_state_dict(torch.load(alexnet, weights_only=True), strict=False)
    monkeypatch.setattr("lpips.pretrained_networks.tv.alexnet", lambda **_: trunk)
    package = lpips.LPIPS(net="alex", verbose=False)
    monkeypatch.undo()
    outputs, originals = pictures(3, 64), pictures(3, 64, seed=1)
    pairs = [Pair(a, b, 0) for a, b in zip(outputs, originals, strict=True)]
    found = measure(pairs, load("lpips", alexnet), pixels=False)["lpips"]
    with torch.no_grad():
        expected = [package(*(lpips.im2tensor(i) for i in (p.output, p.original))).item() for p in pairs]
    assert min(expected) > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def multi_scale(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """MS-SSIM of two channels on [0,255], from Wang et al. 2003 with a window of 11 and σ = 1.5, in double precision."""
    score, window = 1.0, np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    window /= window.sum()

    def smooth(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return ndimage.correlate1d(ndimage.correlate1d(z, window, 0), window, 1)[5:-5, 5:-5]

    for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        mx, my = smooth(x), smooth(y)
        vx, vy, xy = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
        contrast = (2 * xy + (0.03 * 255) ** 2) / (vx + vy + (0.03 * 255) ** 2)
        luminance = (2 * mx * my + (0.01 * 255) ** 2) / (mx**2 + my**2 + (0.01 * 255) ** 2)
        score *= (contrast if scale < 4 else contrast * luminance).mean() ** exponent
        if scale < 4:
            x, y = (z.reshape(len(z) // 2, 2, len(z) // 2, 2).mean((1, 3)) for z in (x, y))
    return float(score)


def test_ms_ssim_matches_the_published_formula() -> None:
    a = pictures(1, 176)[0]
    b = np.clip(a + 25 * np.random.default_rng(3).standard_normal(a.shape), 0, 255).astype(np.uint8)
    found = measure([Pair(b, a, 0)], load("ms-ssim", None), pixels=False)["ms-ssim"][0]
    expected = np.mean([multi_scale(b[..., c].astype(float), a[..., c].astype(float)) for c in range(3)])
    assert 0.3 < found < 0.99
    assert found == pytest.approx(expected, rel=1e-3)


def test_draws_are_compared_with_the_first_or_with_the_next(alexnet: Path) -> None:
    a, b, c = pictures(3, 64)
    network = load("lpips", alexnet)

    def distance(x: npt.NDArray[np.uint8], y: npt.NDArray[np.uint8]) -> float:
        return float(measure([Pair(x, y, 0)], network, pixels=False)["lpips"][0])

    chain, star = (diversity([[a, b, c]], network, chain) for chain in (True, False))
    np.testing.assert_allclose(chain, [[distance(a, b), distance(b, c)]], rtol=1e-5)
    np.testing.assert_allclose(star, [[distance(a, b), distance(a, c)]], rtol=1e-5)


def test_an_images_features_do_not_depend_on_its_neighbors_or_on_threads(alexnet: Path) -> None:
    images = pictures(40, 48)
    network = load("lpips", alexnet)
    pairs = [Pair(image, images[0], 0) for image in images]
    whole = measure(pairs, network, pixels=True, threads=2)
    for name, values in measure(pairs[33:35], network, pixels=True).items():
        np.testing.assert_array_equal(values, whole[name][33:35])
