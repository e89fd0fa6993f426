"""Statistics of reference images: stored once, with the same scores as if computed for each row."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from palette.errors import DataError
from palette.scoring import frechet, statistics
from palette.scoring.arrays import save_arrays
from palette.scoring.metrics import METRICS, Measured, Settings, score
from palette.scoring.reference import load, save, summarize
from palette.stages import score as score_verb
from palette.stages import statistics as statistics_verb
from palette.stages.features import FeaturesSpec
from palette.stages.statistics import StatisticsSpec
from palette.system.files import read_json
from tests.scoring.conftest import score_spec, stage_of


def arrays(seed: int, count: int, dimensions: int = 12) -> dict[str, npt.NDArray[Any]]:
    """What is measured on each of `count` images."""
    rng, mix = np.random.default_rng((seed, count)), np.random.default_rng(1).standard_normal((dimensions, dimensions))
    return {
        "item": np.arange(count, dtype=np.uint64),
        "features": (rng.standard_normal((count, dimensions)) @ mix + 0.1 * seed).astype(np.float32),
        "spatial": rng.random((count, dimensions), np.float32),
        "psnr": rng.random(count),
    }


@pytest.mark.parametrize(("count", "of_reference"), [(120, None), (120, 300), (30, None)])
@pytest.mark.parametrize("bootstrap", [50, 0])
def test_stored_statistics_change_no_score(
    count: int, of_reference: int | None, bootstrap: int, tmp_path: Path
) -> None:
    own, originals = arrays(1, count), arrays(0, count)
    reference = arrays(2, of_reference) if of_reference else None
    plain = Measured(own, originals, reference)
    save(tmp_path / "statistics.npz", summarize(plain.against))
    stored = Measured(own, originals, reference, load(tmp_path / "statistics.npz"))
    settings = Settings(bootstrap=bootstrap)
    expected, found = (score(measured, "photos", settings) for measured in (plain, stored))
    assert {"fd-photos", "sfid-photos", "kid-photos", "precision-photos", "recall-photos"} <= expected.keys()
    for name, entry in expected.items():
        for part in ("value", "low", "high"):
            assert found[name][part] == (None if entry[part] is None else pytest.approx(entry[part], rel=1e-9))


def test_stored_kernels_are_those_of_the_images_alone() -> None:
    """Against KID from sets, with no statistics stored."""
    own, originals = arrays(1, 90), arrays(0, 90)
    found = score(Measured(own, originals, arrays(2, 70)), "photos", Settings())["kid-photos"]["value"]
    expected = statistics.kernel_distance(own["features"], arrays(2, 70)["features"])
    assert found == pytest.approx(expected, rel=1e-9)


def test_statistics_carry_no_date(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / f"{name}.npz", summarize(arrays(0, 50)))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def features_stage(results: Path, name: str, whole: dict[str, npt.NDArray[Any]], shard_size: int) -> str:
    """A features stage as if it had run."""
    count = len(whole["item"])
    spec = FeaturesSpec(name=name, count=count, shard_size=shard_size, sample_shard_size=shard_size, pixels=True)
    for shard, start in enumerate(range(0, count, shard_size)):
        part = {key: values[start : start + shard_size] for key, values in whole.items()}
        save_arrays(results / spec.folder / f"shard-{shard:03}.npz", part)
    return spec.folder


def scored(results: Path, count: int, shard_size: int) -> dict[str, Any]:
    """`scores.json` of a row, after the statistics of its originals."""
    (results / "extractor").mkdir(exist_ok=True)
    (results / "extractor/extractor.json").write_text("{}")
    own, originals = (features_stage(results, f"{n}", arrays(n, count), shard_size) for n in (1, 0))
    options = {"parents": {"features": originals}, "count": count, "shard_size": shard_size}
    of_originals = StatisticsSpec(name=f"{count}", **options)
    statistics_verb.run(stage_of(of_originals, results))
    spec = score_spec("extractor", own, originals, count=count, shard_size=shard_size)
    spec = spec.model_copy(update={"parents": {**spec.parents, "statistics-photos": of_originals.folder}})
    score_verb.run(stage_of(spec, results))
    content: dict[str, Any] = read_json(results / spec.folder / "scores.json")
    return content


def test_shards_of_any_size_gather_to_the_same_numbers(tmp_path: Path) -> None:
    whole, *parts = (scored(tmp_path, 101, size)["scores"] for size in (101, 50, 33, 7))
    for part in parts:
        for name, entry in whole.items():
            for number in ("value", "low", "high"):
                assert part[name][number] == pytest.approx(entry[number], rel=1e-9)


def test_memory_does_not_grow_with_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are kept in files: an image adds at most eight numbers to the memory, against its 768 bytes of features."""
    monkeypatch.setattr(frechet, "BLOCK", 64)
    monkeypatch.setattr(statistics, "BLOCK", 64)
    peaks, counts = [], (400, 2000)
    for count in counts:
        own = features_stage(tmp_path, "wide", arrays(1, count, 96), 100)
        spec = StatisticsSpec(name=f"{count}", parents={"features": own}, count=count, shard_size=100)
        tracemalloc.start()
        statistics_verb.run(stage_of(spec, tmp_path))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 8 * 8 * (counts[1] - counts[0])
    assert peaks[1] < 2000 * 96 * 4


def test_statistics_of_another_set_are_refused(tmp_path: Path) -> None:
    spec = score_spec(
        "extractor", *(features_stage(tmp_path, f"{n}", arrays(n, 40), 40) for n in (1, 0)), count=40, shard_size=40
    )
    save(tmp_path / "statistics/other/statistics.npz", summarize(arrays(0, 30)))
    spec = spec.model_copy(update={"parents": {**spec.parents, "statistics-photos": "statistics/other"}})
    with pytest.raises(DataError, match="of 30 images, 40 expected"):
        score_verb.run(stage_of(spec, tmp_path))
    (tmp_path / "statistics/other/statistics.npz").write_bytes(b"PK damaged")
    with pytest.raises(DataError, match="damaged"):
        score_verb.run(stage_of(spec, tmp_path))


def test_the_worst_images_are_chosen_by_the_first_available_distance(tmp_path: Path) -> None:
    found = scored(tmp_path, 60, 60)
    own, originals = arrays(1, 60)["features"], arrays(0, 60)["features"]
    distances = np.linalg.norm(own.astype(float) - originals, axis=1)
    assert found["worst"]["score"] == "pd-photos"
    assert found["worst"]["images"] == np.argsort(-distances)[:32].tolist()
    np.testing.assert_allclose(found["worst"]["values"], np.sort(distances)[::-1][:32])


def test_an_interval_matches_resamples_of_a_pool() -> None:
    """The interval of one row's Fréchet distance, and the distances of 40 rows drawn from the same pool of images."""
    originals = arrays(0, 20_000)["features"]
    pool = 1.5 * originals + arrays(1, 20_000)["features"]
    found = []
    for seed in range(40):
        drawn = np.random.default_rng(seed).integers(20_000, size=300)
        own, paired = ({"features": part[drawn]} for part in (pool, originals))
        found.append(METRICS["fd"].function(Measured(own, paired), Settings()))
    widths = [entry.interval[1] - entry.interval[0] for entry in found if entry and entry.interval]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std([entry.value for entry in found if entry]), rel=0.3)
