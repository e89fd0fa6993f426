"""Each benchmark runs from end to end on tiny sizes. Measurements are in `benchmarks/README.md`."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import gpu, handling, timing, training
from benchmarks.training import TINY, Case
from palette.scoring import features
from palette.stages.kinds import KINDS


def run(name: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """The result file that `python -m benchmarks.<name> --quick` writes."""
    return run_and_read(name, folder, name, "--quick", *arguments)


def run_and_read(name: str, folder: Path, record: str, *arguments: str) -> dict[str, Any]:
    """The result file, called `record`, that `python -m benchmarks.<name>` writes."""
    assert import_module(f"benchmarks.{name}").main(["--results", str(folder), *arguments]) == 0
    (file,) = folder.iterdir()
    assert file.name.startswith(f"{record}-20")
    written: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert written["benchmark"] == record
    assert written["torch"] == torch.__version__
    return written["results"]  # type: ignore[no-any-return]


def test_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_and_read("training", tmp_path, "training-16px", "--quick")
    assert list(found) == ["training step", "EMA update", "optimizer step"]
    for name, facts in found.items():
        assert len(facts["reference_seconds"]) == len(facts["ours_seconds"]) == 2
        assert facts["ratio"]["smallest"] > 0
        assert f"{name}: {facts['ratio']['median']:.2f}x [" in capsys.readouterr().out or name != "training step"


@pytest.mark.slow
def test_memory(tmp_path: Path) -> None:
    facts = run("memory", tmp_path)["training"]
    assert len(facts["reference_seconds"]) == len(facts["ours_seconds"]) == 2
    assert facts["reference_peak_mib"] == pytest.approx(facts["ours_peak_mib"], rel=0.2)


def test_denoising(tmp_path: Path) -> None:
    assert run("denoising", tmp_path)["denoising step"]["ratio"]["median"] > 0


def test_data(tmp_path: Path) -> None:
    rates = run("data", tmp_path)["16 px"]
    assert {"colorization", "inpainting", "jpeg", "training", "uncropping"} <= set(rates)
    assert 0 <= rates["share of waiting"] <= 1


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of the scores' networks is filled up: not to 32 images here."""
    monkeypatch.setattr(features, "BATCH", 4)


@pytest.mark.slow
@pytest.mark.usefixtures("small_batches")
def test_scoring(tmp_path: Path) -> None:
    found = run("scoring", tmp_path)
    assert found["features"]["images per second"] > 0
    assert found["distance"]["ratio"]["smallest"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("small_batches")
def test_agreement(tmp_path: Path) -> None:
    found = run("agreement", tmp_path)
    assert {"FID, clean", "KID, legacy_pytorch", "IS", "precision", "CA, resnet50", "LPIPS", "MS-SSIM"} <= found.keys()
    assert max(score["difference"] for score in found.values()) < 1e-3


@pytest.mark.slow
def test_fetching(tmp_path: Path) -> None:
    found = run("fetching", tmp_path)
    assert found["checking"]["ratio"]["median"] > 0
    assert set(found["peak_mib"]) == {"50 pictures"}


def test_prepare(tmp_path: Path) -> None:
    found = run("prepare", tmp_path)
    for way in ("plain", "plain, uncompressed"):
        assert found[way]["wall ratio"]["smallest"] > 0
        assert found[way]["cpu ratio"]["smallest"] > 0
    assert set(found["bytes per image"]) == {"train.zip", "test.zip", "plain.zip", "uncompressed.zip"}


def check_soak(found: dict[str, Any], kills: dict[str, int]) -> None:
    """Every kill hit a process at its work; nothing is lost, nothing is there twice, and the bytes are those of a quiet run."""
    assert found["differing files"] == found["faults"] == []
    assert {stage: found[stage]["killed"]["kills"] for stage in kills} == kills
    assert all(found[stage]["undisturbed"]["work_seconds"] > 0 for stage in ("fetch", "prepare"))


@pytest.mark.slow
def test_soak(tmp_path: Path) -> None:
    check_soak(run_and_read("soak", tmp_path, "soak-600", "--quick"), {"fetch": 1, "prepare": 2, "mask": 0})


@pytest.mark.slow
def test_soak_of_thousands(tmp_path: Path) -> None:
    """With enough test images for a kill while the masks are drawn."""
    found = run_and_read("soak", tmp_path, "soak-5000", "--images", "5000", "--kills", "5", "--seed", "1")
    check_soak(found, {"fetch": 1, "prepare": 3, "mask": 1})


def test_gpu_code_runs_on_a_cpu(tmp_path: Path) -> None:
    found = run("gpu", tmp_path, "--device", "cpu")
    assert found["training"]["reference, fp32"]["ratio"] == 1
    assert found["paper"]["bf16"]["share"] > 0
    assert found["denoising"]["ours, bf16"]["batch_size"] == 2


def test_handling_recovers_the_rates_behind_the_times() -> None:
    sizes = [(images, side**2 / 1e6) for images in (32, 128) for side in (64, 256)]
    made = [handling.Sample(3 + 0.01 * n + 0.5 * n * m, n, m) for n, m in sizes]
    model = [handling.Sample(5 + 0.2 * n, n, 64**2 / 1e6) for n in (32, 128)]
    found = handling.handling({"sample": made, handling.MODELED: model, "train": [handling.Sample(4, 800, 0)]})
    assert found["sample"] == pytest.approx([5, 0.01, 0.5])
    assert found["train"] == pytest.approx([4, 0, 0])


@pytest.mark.slow
def test_handling(tmp_path: Path) -> None:
    found = run("handling", tmp_path)["handling"]
    assert KINDS.keys() <= found.keys()
    assert all(min(numbers) >= 0 and sum(numbers) > 0 for numbers in found.values())


@pytest.mark.slow
def test_dag(tmp_path: Path) -> None:
    found = run("dag", tmp_path)["2 experiments"]
    for case in ("ours", "plain"):
        assert all(found[case][when]["seconds"] > 0 for when in ("fresh", "nothing to do"))
    assert found["jobs"] == 19


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_without_a_gpu_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--results", str(tmp_path)]) == 2
    assert "no GPU here, nothing measured" in capsys.readouterr().err
    assert gpu.main(["--device", "cpu", "--results", str(tmp_path)]) == 2
    assert not list(tmp_path.iterdir())


def test_the_largest_batch_that_fits() -> None:
    """12 does not fit, nor 6; 3 does."""

    def make(case: Case) -> timing.Work:
        if case.batch_size > 4:
            raise torch.OutOfMemoryError
        return lambda: sum(range(10_000))

    batch_size, rates, peak = gpu.measure(make, Case(TINY, 16, 12), gpu.Plan(rounds=1, warmup=0, steps=2))
    assert (batch_size, len(rates), peak) == (3, 2, None)


def test_flops_of_a_training_step() -> None:
    """A network of one level and five residual blocks by hand: forward, and twice as much backward."""
    network, pixels = TINY.model_copy(update={"multipliers": (1,), "blocks": 1}), 16**2
    convolutions = 9 * (6 * 32 + 3 * 2 * 32 * 32 + 2 * (64 * 32 + 32 * 32) + 32 * 3)
    ones = 4 * 32 * 32 + 2 * 64 * 32  # attention's, and the skips of the decoder
    attention = 2 * 32 * pixels
    expected = 3 * 2 * pixels * (convolutions + ones + attention)
    assert gpu.training_flops(network, 16) == pytest.approx(expected, rel=0.01)


def make_zeros(mib: int) -> timing.Work:
    return lambda: torch.zeros(mib, 2**20, dtype=torch.uint8)


@pytest.mark.skipif(timing.resident("VmHWM") is None, reason="the system does not tell")
@pytest.mark.slow
def test_peak_memory_is_that_of_the_work() -> None:
    assert timing.peak_memory(make_zeros, 100) == pytest.approx(100, abs=20)


def test_both_sides_train_the_same_network() -> None:
    """The reference's loss goes down as ours does, and both have as many parameters."""
    case = Case(TINY, 16, 2)
    reference, ours = training.reference_network(case), training.our_trainer(case)
    assert sum(map(Tensor.numel, reference.parameters())) == sum(map(Tensor.numel, ours.network.parameters()))
    weights = [parameter.clone() for parameter in ours.network.parameters()]
    training.our_step(case)
    assert all(map(torch.equal, weights, ours.network.parameters()))


def test_averages_of_the_reference() -> None:
    network, averages = nn.Linear(3, 2), nn.Linear(3, 2)
    expected = 0.75 * averages.weight + 0.25 * network.weight
    training.reference_average(averages, network, 0.75)
    torch.testing.assert_close(averages.weight, expected)


def test_ratios_compare_neighbors() -> None:
    comparison = timing.Comparison([2.0, 4.0, 9.0], [1.0, 4.0, 3.0])
    assert comparison.ratios == [2.0, 1.0, 3.0]
    assert comparison.line("step") == "step: 2.00x [1.00 to 3.00, 3 pairs], 3 s for 4 s"
