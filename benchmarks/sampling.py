"""`python -m benchmarks.sampling RUN`: quality of the samples by number of network evaluations, for each sampler.

RUN is the results folder of a finished run. The model of one task restores its test images with the same noise as in
the workflow, and the samples are scored as in the workflow: FD-photos, the Fréchet distance between features of the
dataset's own classifier, and PSNR. The reference is the paper's sampler, ancestral with 1000 steps.
"""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks.timing import parser, seconds, write
from palette.config.sampling import TWICE, Sampler
from palette.diffusion.inference import Restorer
from palette.errors import DataError, UserError
from palette.publish.figures.style import COLORS, save
from palette.scoring.features import Pair, measure
from palette.scoring.loading import load_network
from palette.scoring.metrics import Measured, Settings, score
from palette.stages import sample
from palette.stages.reading import read_spec
from palette.stages.sample import SampleSpec
from palette.stages.stage import Stage
from palette.system.files import read_json

EVALUATIONS = (5, 10, 20, 50, 100)
PAPER = Sampler(kind="ancestral", steps=1000)
MARKERS = {"dpm++2m": "o-", "dpm++2m-sde": "s-", "ddim": "^--", "heun": "D-.", "ancestral": "v:"}


@dataclass(frozen=True)
class Point:
    """One sampler with one number of steps."""

    sampler: str
    evaluations: int
    draw: int
    fd: float
    low: float | None
    high: float | None
    """End of the 95 % interval over images. All points use the same images, so differences are more certain."""
    psnr: float
    chroma_ratio: float
    seconds_per_image: float
    """CPU time; on a GPU, wall time."""


def with_evaluations(kind: str, evaluations: int) -> Sampler:
    """Return a sampler with at most so many evaluations: Heun's method takes two per step except the last."""
    return Sampler(kind=kind, steps=(evaluations + 1) // 2 if kind in TWICE else evaluations)


def model_stage(run: Path, task: str) -> Stage[SampleSpec]:
    """Return a stage of the run that samples `task` with a diffusion model. Raises DataError if there is none."""
    for file in sorted(run.glob("sample/*/spec.yaml")):
        spec = read_spec(file)
        if isinstance(spec, SampleSpec) and spec.degradation == task and spec.sampler is not None:
            return Stage.read(file)
    raise DataError(f"{run}: no samples of {task} by a diffusion model. Name the results folder of a finished run.")


class Scorer:
    """Scores samples of the run's test images, in order, with the classifier of its photographs."""

    def __init__(self, stage: Stage[SampleSpec], count: int) -> None:
        with_prepare = [
            file
            for file in stage.results.glob("extractor/*/extractor.json")
            if read_json(file)["kind"] == "photos"
            and read_json(file.with_name("card.json"))["parents"]["prepare"]["folder"] == stage.spec.parents["prepare"]
        ]
        if not with_prepare:
            raise DataError(
                f"{stage.results}/extractor: no classifier of these photographs. Run `snakemake` to the end."
            )
        file = with_prepare[0]
        self.network = load_network(file.parent, read_json(file), None, torch.device("cpu"))
        tests = sample.inputs_of(stage).tests
        self.originals = [tests[i] for i in range(count)]
        self.labels = tests.labels
        self.reference = self._measured(self.originals)

    def _measured(self, images: list[Any]) -> dict[str, Any]:
        pairs = zip(images, self.originals, self.labels, strict=False)
        return measure((Pair(*pair) for pair in pairs), self.network, pixels=True)

    def __call__(self, images: list[Any]) -> dict[str, dict[str, Any]]:
        """Return name → score, as in `scores.json`."""
        return score(Measured(self._measured(images), self.reference), "photos", Settings())


def points(stage: Stage[SampleSpec], samplers: list[Sampler], count: int, draws: int, threads: int) -> list[Point]:
    """Sample and score, and print each point as soon as it is known."""
    restorer, inputs, scorer = sample.load(stage), sample.inputs_of(stage), Scorer(stage, count)
    torch.set_num_threads(threads)
    print(
        f"{'sampler':12} {'NFE':>5} {'draw':>4} {'FD-photos':>10} {'[95 %]':>16} {'PSNR':>6} {'chroma':>7} {'s/image':>8}"
    )
    found = []
    for sampler in samplers:
        for draw in range(draws):
            at_work, jobs = replace(restorer, sampler=sampler), [(i, draw) for i in range(count)]
            images: list[Any] = []

            def work(at_work: Restorer = at_work, jobs: list[sample.Job] = jobs, images: list[Any] = images) -> None:
                images += [stored.pixels for stored in sample.restored(stage.spec, jobs, inputs, at_work)]

            taken = seconds(work, restorer.device) / count
            scores = scorer(images)
            fd, psnr, chroma = (scores[name] for name in ("fd-photos", "psnr", "chroma-ratio"))
            point = Point(
                sampler=sampler.kind,
                evaluations=sampler.evaluations,
                draw=draw,
                fd=fd["value"],
                low=fd["low"],
                high=fd["high"],
                psnr=psnr["value"],
                chroma_ratio=chroma["value"],
                seconds_per_image=round(taken, 4),
            )
            found.append(point)
            print(line(point), flush=True)
    return found


def line(point: Point) -> str:
    interval = "" if point.low is None or point.high is None else f"[{point.low:.2f}, {point.high:.2f}]"
    return (
        f"{point.sampler:12} {point.evaluations:5} {point.draw:4} {point.fd:10.3f} {interval:>16} {point.psnr:6.2f} "
        f"{point.chroma_ratio:7.3f} {point.seconds_per_image:8.3f}"
    )


def mean_fd(found: list[Point], sampler: str, evaluations: int) -> float:
    """Return the mean FD-photos over the draws."""
    values = [p.fd for p in found if (p.sampler, p.evaluations) == (sampler, evaluations)]
    return sum(values) / len(values)


def verdict(found: list[Point], yardstick: Sampler, evaluations: int) -> str:
    """Return which samplers match the paper's with a fraction of its evaluations, and which do not."""
    paper = mean_fd(found, yardstick.kind, yardstick.evaluations)
    lines = [f"ancestral, {yardstick.evaluations} evaluations: FD-photos {paper:.3f}"]
    for kind in dict.fromkeys(p.sampler for p in found):
        nfe = with_evaluations(kind, evaluations).evaluations
        fd = mean_fd(found, kind, nfe)
        lines.append(
            f"{kind}, {nfe} evaluations: {fd:.3f}, {'no worse' if fd <= paper else 'worse'} ({fd / paper:.2f} of it)"
        )
    return "\n".join(lines)


def draw_curve(found: list[Point], yardstick: Sampler, title: str) -> Figure:
    """Plot FD-photos against evaluations, one curve per sampler; the reference is a horizontal line."""
    figure = Figure(figsize=(7, 4.3), layout="constrained", dpi=150)
    axes = figure.add_subplot()
    paper = mean_fd(found, yardstick.kind, yardstick.evaluations)
    axes.axhline(paper, color="0.5", linewidth=1, zorder=0)
    axes.annotate(
        f"ancestral, {yardstick.evaluations} evaluations: {paper:.2f}", (1, paper), xycoords=("axes fraction", "data"),
        xytext=(0, 3), textcoords="offset points", ha="right", color="0.3", fontsize=8,
    )  # fmt: skip
    for color, (kind, style) in zip(COLORS, MARKERS.items(), strict=False):
        places = sorted({p.evaluations for p in found if p.sampler == kind})
        means = [mean_fd(found, kind, place) for place in places]
        axes.plot(places, means, style, color=color, label=kind, linewidth=1.5, markersize=5)
    ticks = sorted({p.evaluations for p in found if p.sampler not in TWICE})
    axes.set(
        xscale="log", yscale="log", xlabel="evaluations of the network per image", ylabel="FD-photos (lower is better)"
    )
    axes.set_xticks(ticks, [f"{tick}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(levels := y_ticks(found), [f"{level:g}" for level in levels])
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return figure


def y_ticks(found: list[Point]) -> list[float]:
    """Return 1, 2, 3, 5 and 7 times powers of ten in the range of the values."""
    low, high = min(p.fd for p in found), max(p.fd for p in found)
    every = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 1.5, 2, 3, 5, 7)]
    return [tick for tick in every if low / 1.1 <= tick <= high * 1.1]


def main(arguments: list[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument(
        "run", type=Path, nargs="?", default=Path("results"), help="results folder (default: %(default)s)"
    )
    options.add_argument("--task", default="colorization", help="task of the samples (default: %(default)s)")
    options.add_argument("--images", type=int, help="number of test images, from the first on (default: all)")
    options.add_argument(
        "--draws", type=int, default=1, help="number of times to sample everything (default: %(default)s)"
    )
    chosen = options.parse_args(arguments)
    try:
        stage = model_stage(chosen.run, chosen.task)
        yardstick = PAPER.model_copy(update={"steps": 8}) if chosen.quick else PAPER
        evaluations = (3, 4) if chosen.quick else EVALUATIONS
        count = min(chosen.images or stage.spec.count, stage.spec.count)
        samplers = list(dict.fromkeys(with_evaluations(kind, nfe) for kind in MARKERS for nfe in evaluations))
        found = points(stage, [*samplers, yardstick], count, chosen.draws, chosen.threads)
    except UserError as error:
        print(f"sampling: {error}", file=sys.stderr)
        return error.exit_code
    print(verdict(found, yardstick, evaluations[len(evaluations) // 2]))
    publish(stage, found, yardstick, count, chosen.results)
    return 0


def publish(stage: Stage[SampleSpec], found: list[Point], yardstick: Sampler, count: int, folder: Path) -> None:
    """Write the result and its figure."""
    task, where = stage.spec.degradation, torch.device("cuda" if torch.cuda.is_available() else "cpu")
    facts = {"run": stage.spec.name, "task": task, "images": count, "train": stage.spec.parents["train"]}
    path = write(folder, "sampling", where, facts, {task: [asdict(point) for point in found]})
    save(draw_curve(found, yardstick, f"{task}, {count} test images of {stage.spec.name}"), path.with_suffix(".svg"))


if __name__ == "__main__":
    sys.exit(main())
