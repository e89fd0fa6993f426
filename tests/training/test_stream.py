"""The stream: a pure function of (seed, position)."""

from collections import Counter

import numpy as np
import pytest
import torch

from palette.errors import DataError
from palette.training.stream import InMemory, Joined, Stream, batches, collate, slices
from tests.tiny import SIZE, pictures

ALL = {"colorization": 1.0, "inpainting": 2.0, "uncropping": 1.0, "jpeg": 4.0}


def make(**changes: object) -> Stream:
    options: dict[str, object] = {
        "images": pictures(5),
        "mix": ALL,
        "seed": 0,
        "batch_size": 6,
        "image_size": SIZE,
        "flip": True,
    }
    return Stream(**{**options, **changes})  # type: ignore[arg-type]


def all_equal(first: object, second: object) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))  # type: ignore[call-overload]


def test_an_example_depends_on_seed_and_position_only() -> None:
    late, early = make(), make(batch_size=3)
    for position in range(40):
        early.example(position)
    for position in (0, 4, 17, 1000):
        assert all_equal(late.example(position), early.example(position))
    assert not all_equal(make(seed=1).example(3), late.example(3))


def test_each_epoch_shows_each_image_once_in_another_order() -> None:
    stream = make()
    epochs = [[stream.image_index(epoch * 5 + i) for i in range(5)] for epoch in range(6)]
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_tasks_come_in_their_proportions() -> None:
    stream = make()
    found = Counter(stream.task(draw) for draw in np.linspace(0, 1, 8000, endpoint=False))
    assert {task: count / 1000 for task, count in found.items()} == ALL


def test_examples_are_drawn_in_the_given_proportions() -> None:
    stream = make(mix={"colorization": 1.0, "uncropping": 3.0})
    whole = sum(bool(stream.example(position).mask.all()) for position in range(800))
    assert abs(whole - 200) < 50  # four standard deviations


def test_an_examples_parts_belong_together() -> None:
    """Known pixels are the image's; noise in the hole; half of the images mirrored; ranges as promised."""
    images = pictures(5)
    stream, mirrored = make(images=images, mix={"inpainting": 1.0}), 0
    for position in range(60):
        example = stream.example(position)
        original = images[stream.image_index(position)].transpose(2, 0, 1) / np.float32(127.5) - 1
        straight = np.allclose(example.x0, original, atol=1e-6)
        assert straight or np.allclose(example.x0, original[:, :, ::-1], atol=1e-6)
        mirrored += not straight
        known = ~np.broadcast_to(example.mask, example.x0.shape)
        np.testing.assert_allclose(example.condition[known], example.x0[known], atol=1e-6)
        assert example.mask.any()
        assert example.x0.dtype == example.condition.dtype == example.noise.dtype == np.float32
    assert 15 < mirrored < 45
    plain = make(images=images, flip=False, mix={"colorization": 1.0})
    assert all(
        np.allclose(plain.example(p).x0, images[plain.image_index(p)].transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
        for p in range(20)
    )
    assert plain.example(0).mask.all()


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_slices_together_are_the_batch(world: int, accumulate: int) -> None:
    parts = [place for rank in range(world) for place in slices(6, rank, world, accumulate)]
    assert sorted(i for part in parts for i in part) == list(range(6))
    assert len(parts) == world * accumulate


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_are_the_examples_in_order(workers: int) -> None:
    stream = make()
    with batches(stream, range(2, 5), slices(6, 1, 2, 1), workers) as prepared:
        found = list(prepared)
    assert len(found) == 3
    for step, batch in zip(range(2, 5), found, strict=True):
        expected = collate([stream.example(step * 6 + i) for i in (3, 4, 5)], stream.levels(step)[3:])
        assert all(torch.equal(a, b) for a, b in zip(batch, expected, strict=True))


def test_levels_differ_from_step_to_step_and_cover_the_range() -> None:
    stream = make()
    assert not torch.equal(stream.levels(0), stream.levels(1))
    assert torch.equal((stream.levels(7) * 6).long(), torch.arange(6))


def test_an_error_in_a_worker_is_raised() -> None:
    wrong = [np.zeros((SIZE, SIZE + 1, 3), np.uint8)] * 5
    with (
        pytest.raises(DataError, match=f"shape .16, 17, 3., where {SIZE} px squares should be"),
        batches(make(images=wrong), range(1), [range(6)], 2) as prepared,
    ):
        next(prepared)


def test_no_images() -> None:
    with pytest.raises(DataError, match="holds no images"):
        make(images=[])


def test_small_stores_are_decoded_once() -> None:
    asked: list[int] = []

    class Counting(list[object]):
        def __getitem__(self, index: int) -> object:  # type: ignore[override]
            asked.append(index)
            return super().__getitem__(index)

    kept = InMemory(Counting(pictures(5)))  # type: ignore[arg-type]
    for _ in range(3):
        for index in range(5):
            assert kept[index].shape == (SIZE, SIZE, 3)
    assert sorted(asked) == list(range(5))


# ------------------------------------------------------------------------------------------ several datasets


def joined(*shares: float) -> Joined:
    """Datasets of 3, 4, 5 … images, all different."""
    return Joined([pictures(3 + number, seed=10 + number) for number in range(len(shares))], shares)


def test_joined_images_lie_one_after_the_other() -> None:
    images = joined(1, 1)
    assert len(images) == 7
    for index, expected in enumerate([*images.parts[0], *images.parts[1]]):
        assert np.array_equal(images[index], expected)


def test_datasets_come_in_their_proportions_and_their_images_equally_often() -> None:
    stream, count = make(images=joined(3, 1)), 6000
    found = Counter(stream.image_index(position) for position in range(count))
    first, second = sum(found[i] for i in range(3)), sum(found[i] for i in range(3, 7))
    assert first + second == count
    assert abs(first - 0.75 * count) < 150  # four standard deviations
    assert all(abs(found[i] - 0.25 * count) < 150 for i in range(3))
    assert all(abs(found[i] - 0.0625 * count) < 80 for i in range(3, 7))


def test_also_with_several_datasets_an_example_depends_on_seed_and_position_only() -> None:
    late, early = make(images=joined(1, 2, 1)), make(images=joined(1, 2, 1), batch_size=3)
    for position in range(40):
        early.example(position)
    for position in (0, 4, 17, 1000):
        assert all_equal(late.example(position), early.example(position))
    assert [late.image_index(p) for p in range(50)] != [
        make(images=joined(1, 2, 1), seed=1).image_index(p) for p in range(50)
    ]


def test_proportions_count_by_their_ratio() -> None:
    one, ten = make(images=joined(1, 3)), make(images=joined(10, 30))
    assert all(one.image_index(p) == ten.image_index(p) for p in range(200))


def test_one_dataset_without_images_is_refused() -> None:
    with pytest.raises(DataError, match="holds no images"):
        make(images=Joined([pictures(3), []], [1, 1]))
