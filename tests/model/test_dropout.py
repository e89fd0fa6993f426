"""Our dropout behaves like PyTorch's."""

import pytest
import torch

from palette.model.blocks import Dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.999])
def test_entries_are_dropped_and_the_others_scaled(probability: float) -> None:
    torch.manual_seed(0)
    x = torch.full((3, 5, 101, 97), 2.0, requires_grad=True)
    y = Dropout(probability)(x)
    y.sum().backward()
    kept = y != 0
    deviation = (probability * (1 - probability) / x.numel()) ** 0.5
    assert kept.float().mean().item() == pytest.approx(1 - probability, abs=5 * deviation + 2**-16)
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 2 / (1 - probability)), rtol=0.01, atol=0)
    assert x.grad is not None
    torch.testing.assert_close(x.grad * 2, y)  # the gradient goes the same ways


def test_neighbors_are_dropped_independently() -> None:
    """Four of them come out of one number."""
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(4, 200_000).view(-1)) == 0).view(-1, 4).double()
    correlation = torch.corrcoef(dropped.T) - torch.eye(4, dtype=torch.float64)
    assert correlation.abs().max() < 0.02


def test_the_seed_decides() -> None:
    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return Dropout(0.5)(torch.ones(1000))

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_nothing_is_dropped_in_evaluation_or_with_probability_zero() -> None:
    x = torch.randn(100)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
