"""Disk space that a plan's results will need."""

import shutil
from collections.abc import Iterable, Iterator

from palette.config.models import Network
from palette.planning.plan import Plan
from palette.planning.remaining import Made, remaining
from palette.stages.features import FeaturesSpec
from palette.stages.prepare import PrepareSpec
from palette.stages.report import ReportSpec
from palette.stages.sample import SampleSpec
from palette.stages.statistics import StatisticsSpec
from palette.stages.train import TrainSpec


def parameters(network: Network, image_size: int) -> int:
    """Return an upper estimate of the U-Net's parameters: its convolutions, attention and modulation."""
    total = block = 0
    for side, multiplier in zip(network.sides(image_size), network.multipliers, strict=True):
        channels, context = network.channels * multiplier, network.context if side in network.attention else None
        block = 18 * channels**2 + 8 * network.channels * channels
        attention = 4 * channels**2 if context and network.attends else 0
        down = network.blocks * (2 if context == "more-blocks" else 1) + (context == "dilated")
        up = network.blocks + 1 + (context == "dilated")
        # The decoder's blocks also take in a skip connection. Two more blocks change the resolution.
        total += down * (block + attention) + up * (block + attention + 11 * channels**2) + 2 * block
    return total + 2 * block + 4 * (network.channels * network.multipliers[-1]) ** 2


def disk_bytes(plan: Plan, folders: Iterable[str]) -> int:
    """Return an upper estimate of the bytes that the stages in these folders will write."""
    total = 0
    for spec in (plan.stages[folder] for folder in folders):
        if isinstance(spec, PrepareSpec):
            images = plan.images(spec)
            total += images * spec.prepare.image_size**2 * (6 if plan.has_pairs(spec) else 3)
        elif isinstance(spec, SampleSpec):
            total += (spec.count + spec.draw_inputs * spec.draws) * spec.image_size**2 * 3
        elif isinstance(spec, FeaturesSpec):
            total += spec.count * 4 * 5200  # pool_3, spatial features and class probabilities of Inception
        elif isinstance(spec, StatisticsSpec):
            total += 8 * (2 * 2048**2 + spec.count)  # two square roots of covariances, and neighborhoods
        elif isinstance(spec, ReportSpec):
            total += sum(images.images * images.size**2 * 3 for images in spec.gallery_sets.values())
        elif isinstance(spec, TrainSpec):
            states = spec.runtime.checkpoints_kept + 1 + len(spec.runtime.milestones)
            in_state = 4 + len(spec.ema_widths)  # weights, EMA, Adam's two moments
            tensors = 1 + len(spec.ema_widths) + states * in_state
            total += parameters(spec.network, spec.image_size) * 4 * tensors
    return total


def full_disk(plan: Plan) -> Iterator[str]:
    """Yield a message if the planned results do not fit on the disk of the results folder."""
    place = plan.results.absolute()
    while not place.exists():
        place = place.parent
    free, needed = shutil.disk_usage(place).free, disk_bytes(plan, remaining(plan, Made(plan.results)))
    if needed > free:
        yield (
            f"{plan.results}: the stages to be run write about {needed / 1e9:.1f} GB, and {place} has {free / 1e9:.1f} GB free. "
            "Free some space, or name a folder on another disk: `snakemake --config results=/path/to/folder`."
        )
