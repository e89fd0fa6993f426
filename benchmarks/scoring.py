"""`python -m benchmarks.scoring`: images per second on one core, from a folder of images to FID, against clean-fid's
`compute_fid`.

Both use the same two folders and the same extractor: TorchScript with the layers of the Inception network of 2015 and
random weights. Ours also computes spatial features and class probabilities in the same pass, which clean-fid does not.
"""

import hashlib
import sys
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import skimage.data
import torch
from cleanfid import fid
from cleanfid.inception_torchscript import InceptionV3W
from PIL import Image

from benchmarks.reference import inception
from benchmarks.timing import compare, parser, write
from palette.data.images.pictures import cut_square
from palette.scoring.extractors import Network, load_network
from palette.scoring.features import Pair, measure
from palette.scoring.frechet import Rows, distance, frechet_distance, gaussian, standard_error
from palette.system.randomness import generator

CPU = torch.device("cpu")
WARM = 32
"""Images for warming up, not timed."""


def pictures(folder: Path, count: int, size: int) -> Path:
    """Write crops of a photograph, as PNG."""
    photograph = Image.fromarray(skimage.data.astronaut())
    random = generator(0, "crops", folder.name)
    folder.mkdir()
    for index in range(count):
        side = int(random.integers(250, 500))
        x, y = (int(random.integers(0, 512 - side)) for _ in range(2))
        Image.fromarray(cut_square(photograph, (x, y, x + side, y + side), size)).save(folder / f"{index:04}.png")
    return folder


def pairs(folder: Path) -> Iterator[Pair]:
    for file in sorted(folder.iterdir()):
        image = np.asarray(Image.open(file).convert("RGB"))
        yield Pair(image, image, 0)


def ours(network: Network, folders: list[Path]) -> list[Rows]:
    """Compute the features of each folder."""
    return [measure(pairs(folder), network, pixels=False)["features"] for folder in folders]


def theirs(model: InceptionV3W, folders: list[Path]) -> list[Rows]:
    options = {"num_workers": 0, "batch_size": 32, "device": CPU, "mode": "clean", "verbose": False}
    return [fid.get_folder_features(str(folder), model, **options) for folder in folders]


def their_fid(model: InceptionV3W, folders: list[Path]) -> float:
    options = {"num_workers": 0, "batch_size": 32, "device": CPU, "mode": "clean", "verbose": False}
    return float(fid.compute_fid(*map(str, folders), custom_feat_extractor=model, **options))


def our_fid(network: Network, folders: list[Path]) -> float:
    return frechet_distance(*ours(network, folders))


def with_interval(a: Rows, b: Rows) -> float:
    """Compute a Fréchet distance and its standard error."""
    found = distance(gaussian(a), gaussian(b))
    return standard_error(found, a, b)


def main(arguments: list[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=64, help="images in each folder (default: %(default)s)")
    options.add_argument("--size", type=int, default=256, help="their side in pixels (default: %(default)s)")
    options.add_argument(
        "--statistics",
        type=int,
        default=5000,
        help="number of features when only the distance is timed (default: %(default)s)",
    )
    chosen = options.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # clean-fid uses deprecated functions of SciPy and torch
    images, size, dimensions = (4, 32, 64) if chosen.quick else (chosen.images, chosen.size, 2048)
    repeats, found = 2 if chosen.quick else chosen.repeats, {}
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        path = Path(name) / "inception-2015-12-05.pt"
        inception.torchscript(path)
        facts = {"kind": "inception", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        network = load_network(path.parent, facts, path, CPU)
        model = InceptionV3W(str(path.parent), download=False)
        few = [pictures(Path(name) / "few", min(images, WARM), size)]
        theirs(model, few), ours(network, few)
        folders = [pictures(Path(name) / side, images, size) for side in ("a", "b")]
        both = compare(partial(theirs, model, folders), partial(ours, network, folders), repeats, CPU, warm=True)
        found["features"] = {**both.facts(), "images per second": 2 * images / min(both.ours)}
        print(both.line(f"features of {2 * images} images"), flush=True)
        if not chosen.quick:
            fids: dict[str, float] = {}
            whole = compare(
                lambda: fids.update({"clean-fid": their_fid(model, folders)}),
                lambda: fids.update({"ours": our_fid(network, folders)}),
                1,
                CPU,
                warm=True,
            )
            found["compute_fid"] = whole.facts()
            print(whole.line(f"FID of two folders of {images} images"), flush=True)
            apart = abs(fids["ours"] - fids["clean-fid"]) / fids["clean-fid"]
            found["FID"] = {**fids, "relative difference": apart}
            print(f"FID {fids['ours']:.6g}, clean-fid's {fids['clean-fid']:.6g}")
    count = 200 if chosen.quick else chosen.statistics
    rng = np.random.default_rng(0)
    a, b = (np.maximum(rng.standard_normal((count, dimensions)) + 0.1 * k, 0).astype(np.float32) for k in range(2))
    statistics = compare(partial(fid.fid_from_feats, a, b), partial(with_interval, a, b), min(repeats, 2), CPU)
    found["distance"] = {**statistics.facts(), "images": count, "dimensions": dimensions}
    print(statistics.line(f"distance of {count} features, ours with its standard error"))
    write(chosen.results, "scoring", CPU, {"images": images, "size": size, "repeats": repeats}, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
