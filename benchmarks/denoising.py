"""`python -m benchmarks.denoising`: one step of ancestral sampling, ours against the unofficial code's."""

import sys

import torch
from torch import Tensor

from benchmarks.timing import Work, compare, parser, peak_memory, write
from benchmarks.training import CPU, DEFAULT, TINY, Case, examples, on, reference_network, settings
from palette.diffusion.denoiser import Denoiser
from palette.diffusion.samplers import ancestral, paper_steps
from palette.diffusion.schedule import inference_gammas
from palette.model import networks
from palette.system import devices

T = 200
"""Number of the step, out of 1000: far from both ends."""


def posterior(t: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The paper's inference schedule at step t: γ, the weights of x0_hat and y in the mean, the log-variance."""
    gammas = inference_gammas()
    gamma, before = gammas[t], gammas[t - 1]
    beta = 1 - gamma / before
    weights = beta * before.sqrt() / (1 - gamma), (1 - before) * (1 - beta).sqrt() / (1 - gamma)
    log_variance = (beta * (1 - before) / (1 - gamma)).clamp(min=1e-20).log()
    return gamma.float(), weights[0].float(), weights[1].float(), log_variance.float()


def reference_denoising(case: Case) -> Work:
    """ε → clipped x0_hat → mean and variance of the posterior → a draw from it."""
    network, batch = reference_network(case).eval(), on(case.device, examples(case))
    gamma, of_x0, of_y, log_variance = (number.to(case.device) for number in posterior(T))
    y, gammas = batch.noise, gamma.expand(case.batch_size)

    @torch.no_grad()
    def step() -> Tensor:
        epsilon = network(torch.cat([batch.condition, y], dim=1), gammas)
        x0 = ((1 / gamma).sqrt() * y - (1 / gamma - 1).sqrt() * epsilon).clamp_(-1, 1)
        return of_x0 * x0 + of_y * y + torch.randn_like(y) * (0.5 * log_variance).exp()

    return step


def our_denoising(case: Case, precision: str = "fp32") -> Work:
    """Return a step with sampler, denoiser and network put together as in the engine."""
    batch = on(case.device, examples(case))
    network = networks.build(case.network, case.image_size).to(case.device).eval().requires_grad_(False)
    network = network.to(memory_format=torch.channels_last)
    denoiser = Denoiser(network, "epsilon", batch.condition, batch.mask, precision)
    log_snrs = paper_steps()[-T - 2 : -T]

    @torch.inference_mode()
    def step() -> Tensor:
        return ancestral(denoiser, batch.noise, log_snrs, lambda _: torch.randn_like(batch.noise))

    return step


def main(arguments: list[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--image-size", type=int, default=64, help="side in pixels (default: %(default)s)")
    options.add_argument("--batch-size", type=int, default=4, help="images at a time (default: %(default)s)")
    chosen = options.parse_args(arguments)
    devices.use(chosen.threads)
    case = Case(TINY, 16, 2) if chosen.quick else Case(DEFAULT, chosen.image_size, chosen.batch_size)
    repeats = 2 if chosen.quick else chosen.repeats
    comparison = compare(reference_denoising(case), our_denoising(case), repeats, case.device)
    if not chosen.quick:
        comparison.reference_mib = peak_memory(reference_denoising, case)
        comparison.ours_mib = peak_memory(our_denoising, case)
    print(comparison.line("denoising step"), flush=True)
    write(chosen.results, "denoising", CPU, settings(case), {"denoising step": comparison.facts()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
