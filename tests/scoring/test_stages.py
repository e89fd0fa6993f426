"""The stages extractor, features and score, one after the other as the workflow runs them."""

import hashlib
import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from palette.data.store.store import StoredImage, write_store
from palette.errors import DataError
from palette.scoring.arrays import save_arrays
from palette.scoring.extractors import load_network
from palette.scoring.weights import WEIGHTS, Weights
from palette.stages import extractor, features, score
from palette.stages.extractor import ExtractorRuntime
from palette.system.files import read_json
from tests.scoring.conftest import TESTS, extractor_spec, features_spec, score_spec, stage_of
from tests.web import Site


@pytest.fixture(scope="module")
def photos(results: Path) -> str:
    """Folder of the trained classifier."""
    spec = extractor_spec()
    extractor.run(stage_of(spec, results))
    return spec.folder


def features_of(results: Path, photos: str, sample: str | None, shard_size: int = TESTS, sampled: int = TESTS) -> str:
    spec = features_spec(photos, sample, shard_size, sampled)
    stage = stage_of(spec, results)
    for shard in range(-(-TESTS // shard_size)):
        features.run(stage, shard)
    return spec.folder


def test_the_classifier_is_described(results: Path, photos: str) -> None:
    facts = read_json(results / photos / "extractor.json")
    assert facts["kind"] == "photos"
    assert facts["classes"] == ["red", "blue"]
    assert facts["dimensions"] == 32
    assert facts["test_accuracy"] > 0.9
    assert set(read_json(results / photos / "card.json")["artifacts"]) == {"extractor.json", "classifier.safetensors"}


def test_shards_gather_to_the_same_scores_as_one_pass(results: Path, photos: str) -> None:
    scored = []
    for size in (TESTS, 20):
        own, reference = (features_of(results, photos, sample, size) for sample in (f"sample/noisy-{size}", None))
        spec = score_spec(photos, own, reference, shard_size=size)
        score.run(stage_of(spec, results))
        scored.append(read_json(results / spec.folder / "scores.json")["scores"])
    whole, gathered = scored
    assert whole.keys() == gathered.keys()
    for name, entry in whole.items():
        assert gathered[name]["value"] == pytest.approx(entry["value"], rel=1e-9, abs=1e-12)


def test_a_shard_of_features_measures_several_of_samples(results: Path, photos: str) -> None:
    arrays = []
    for sampled, shard_size in ((TESTS, TESTS), (20, 40)):
        folder = features_of(results, photos, f"sample/noisy-{sampled}", shard_size, sampled)
        shards = [np.load(file) for file in sorted((results / folder).glob("shard-*.npz"))]
        assert [len(shard["item"]) for shard in shards] == ([40, TESTS - 40] if sampled == 20 else [TESTS])
        arrays.append({name: np.concatenate([shard[name] for shard in shards]) for name in shards[0].files})
    for name, values in arrays[0].items():
        np.testing.assert_allclose(arrays[1][name], values, rtol=1e-5, atol=1e-5, err_msg=name)


def test_noise_moves_the_features_away(results: Path, photos: str) -> None:
    reference = features_of(results, photos, None)
    values = {}
    for name, own in (("noisy", features_of(results, photos, f"sample/noisy-{TESTS}")), ("originals", reference)):
        spec = score_spec(photos, own, reference)
        score.run(stage_of(spec, results))
        values[name] = read_json(results / spec.folder / "scores.json")["scores"]
    assert values["originals"]["fd-photos"]["value"] == pytest.approx(0, abs=1e-9)
    assert values["originals"]["psnr"]["value"] is None
    assert values["originals"]["pd-photos"]["value"] == 0
    assert values["noisy"]["fd-photos"]["value"] > 0.01
    assert 20 < values["noisy"]["psnr"]["value"] < 30


def test_everything_but_the_card_repeats_to_the_byte(results: Path, photos: str) -> None:
    spec = features_spec(photos, f"sample/noisy-{TESTS}")
    stage = stage_of(spec, results)
    digests = []
    for _ in range(2):
        features.run(stage, 0)
        scoring = stage_of(score_spec(photos, spec.folder, spec.folder), results)
        score.run(scoring)
        files = [stage.path("shard-000.npz"), scoring.path("scores.json")]
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]


def test_saved_arrays_contain_no_date(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        save_arrays(tmp_path / name, {"x": np.arange(3)})
    content = (tmp_path / "a.npz").read_bytes()
    assert content == (tmp_path / "b.npz").read_bytes()
    assert content[10:14] == b"\x00\x00\x21\x00"  # the ZIP format's 1980-01-01 00:00


def test_samples_of_other_test_images_are_refused(results: Path, photos: str) -> None:
    spec = features_spec(photos, "sample/noisy-20", shard_size=TESTS)
    with pytest.raises(DataError, match="does not hold test images 0 to 49"):
        features.run(stage_of(spec, results), 0)


def test_a_damaged_shard_is_refused(results: Path, photos: str, tmp_path: Path) -> None:
    for name in ("own", "reference"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shard-000.npz").write_bytes(b"PK damaged")
    with pytest.raises(DataError, match="damaged"):
        score.run(stage_of(score_spec("extractor", "own", "reference"), tmp_path))


def test_changed_weights_are_refused(results: Path, photos: str, tmp_path: Path) -> None:
    description = json.loads((results / photos / "extractor.json").read_text())
    (tmp_path / "classifier.safetensors").write_bytes(b"other")
    with pytest.raises(DataError, match="not the weights"):
        load_network(tmp_path, description, None, torch.device("cpu"))


def test_a_score_file_states_its_protocol(results: Path, photos: str) -> None:
    own, originals = (features_of(results, photos, sample) for sample in (f"sample/noisy-{TESTS}", None))
    plain = score_spec(photos, own, originals)
    other = score_spec(photos, own, originals, pd="squared", reference_count=TESTS)
    other = other.model_copy(update={"parents": {**other.parents, "reference-photos": own}})
    found = []
    for spec in (plain, other):
        score.run(stage_of(spec, results))
        found.append(read_json(results / spec.folder / "scores.json"))
    protocol = found[0]["protocol"]
    assert protocol["images"]["count"] == TESTS
    assert protocol["reference"] == "the originals of the images"
    assert found[1]["protocol"]["reference"] == protocol["images"]  # their originals, in that order
    assert protocol["extractors"]["photos"]["sha256"] == read_json(results / photos / "extractor.json")["sha256"]
    assert (protocol["is_splits"], protocol["pd"], found[1]["protocol"]["pd"]) == (2, "euclidean", "squared")
    assert found[1]["scores"]["fd-photos"]["value"] == pytest.approx(0, abs=1e-9)
    assert found[0]["scores"]["fd-photos"]["value"] > 0.01


def test_features_of_other_images_than_the_originals_are_refused(results: Path, photos: str) -> None:
    own, originals = (features_of(results, photos, sample) for sample in (f"sample/noisy-{TESTS}", None))
    changed = dict(np.load(results / own / "shard-000.npz"))
    changed["item"] = changed["item"][::-1]
    save_arrays(results / "features/reversed/shard-000.npz", changed)
    with pytest.raises(DataError, match="other test images"):
        score.run(stage_of(score_spec(photos, "features/reversed", originals), results))


def test_large_arrays_leave_no_file_behind(results: Path, photos: str) -> None:
    own, originals = (features_of(results, photos, sample) for sample in (f"sample/noisy-{TESTS}", None))
    spec = score_spec(photos, own, originals)
    score.run(stage_of(spec, results))
    assert {file.name for file in (results / spec.folder).iterdir()} == {"spec.yaml", "scores.json", "card.json"}


# ------------------------------------------------------------------------------------- extractors that are not made here


def test_missing_weights_are_explained(results: Path) -> None:
    with pytest.raises(DataError, match=r"inception-2015-12-05\.pt"):
        extractor.run(stage_of(extractor_spec(extractor="inception", photos=None), results))


def test_wrong_weights_are_refused(results: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"other")
    runtime = ExtractorRuntime(weights=tmp_path / "weights.pt")
    with pytest.raises(DataError, match="not the known file"):
        extractor.run(stage_of(extractor_spec(extractor="inception", photos=None, runtime=runtime), results))


def test_the_extractor_downloads_what_the_plan_expects(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    runtime = ExtractorRuntime(weights=tmp_path / "new" / "i.pt", download=True)
    spec = extractor_spec(extractor="inception", photos=None, sha256=digest, runtime=runtime)
    with closing(Site()) as site:
        weights = Weights("i.pt", site.offer("/source.pt", b"weights"), digest, "for a test")
        monkeypatch.setitem(WEIGHTS, "inception", weights)
        extractor.run(stage_of(spec, results))
    assert (tmp_path / "new" / "i.pt").read_bytes() == b"weights"
    assert read_json(results / spec.folder / "extractor.json")["sha256"] == digest


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two images that are large enough for MS-SSIM, and three draws of the first one."""
    folder, rng = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    images = [np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((21, 21, 1))).astype(np.uint8) for _ in range(2)]
    noisy = [
        [np.clip(i + 20 * rng.standard_normal(i.shape), 0, 255).astype(np.uint8) for _ in range(3)] for i in images
    ]
    named = [StoredImage(f"{k:08}.png", image) for k, image in enumerate(images)]
    write_store(folder / "prepare/tiny/test.zip", named, ["all"])
    firsts = [StoredImage(f"{k:08}.png", draws[0]) for k, draws in enumerate(noisy)]
    write_store(folder / "sample/noisy/shard-000.zip", firsts, ["all"])
    draws = [StoredImage(f"{0:08}-{d}.png", noisy[0][d]) for d in (1, 2)]
    write_store(folder / "sample/noisy/draws-000.zip", draws, ["all"])
    return folder


def test_several_draws_of_an_input_are_compared_with_each_other(large: Path) -> None:
    spec = extractor_spec(extractor="ms-ssim", photos=None, parents={})
    extractor.run(stage_of(spec, large))
    measured = []
    for sample in ("sample/noisy", None):
        measured.append(features_spec(spec.folder, sample).model_copy(update={"count": 2}))
        features.run(stage_of(measured[-1], large), 0)
    arrays = np.load(large / measured[0].folder / "shard-000.npz")
    assert arrays["diversity-ms-ssim"].shape == (1, 2)
    scored = score_spec(spec.folder, *(m.folder for m in measured), kind="ms-ssim", count=2)
    score.run(stage_of(scored, large))
    found = read_json(large / scored.folder / "scores.json")["scores"]
    assert 0 < found["diversity-ms-ssim"]["value"] < found["ms-ssim"]["value"] < 1
    assert found["diversity-ms-ssim"]["images"] == 1


def test_pixels_need_no_network(results: Path, photos: str) -> None:
    spec = extractor_spec(name="pixels", extractor="pixels", photos=None, parents={})
    extractor.run(stage_of(spec, results))
    own, originals = (features_of(results, spec.folder, sample) for sample in (f"sample/noisy-{TESTS}", None))
    stage = stage_of(score_spec(spec.folder, own, originals, kind="pixels"), results)
    score.run(stage)
    content = read_json(stage.path("scores.json"))
    assert set(content["scores"]) == {"psnr", "ssim", "chroma", "chroma-ratio"}
    assert content["worst"]["score"] == "psnr"
    by_photos = score_spec(
        photos, *(features_of(results, photos, sample) for sample in (f"sample/noisy-{TESTS}", None))
    )
    beside = stage_of(by_photos, results)
    score.run(beside)
    theirs = read_json(beside.path("scores.json"))["scores"]
    assert content["scores"] == {name: theirs[name] for name in content["scores"]}
