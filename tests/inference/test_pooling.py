"""Pooling over space, time and views, compared with NumPy."""

import numpy as np
import pytest
import torch

from vidfeat.errors import UsageError
from vidfeat.inference.pooling import pool_video, pool_views
from vidfeat.recipe import Pooling

CLIPS = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 5, 4, 3, 2)).astype(np.float32))
"""Maps of 6 views: 5 channels, 4 positions in time, 3 x 2 in space."""


def close(found: torch.Tensor, expected: np.ndarray) -> bool:
    return found.shape == expected.shape and bool(np.allclose(found.numpy(), expected, rtol=0, atol=1e-6))


def test_the_mean_over_all() -> None:
    maps = CLIPS.numpy()
    assert close(pool_views(CLIPS), maps.mean((2, 3, 4)))
    assert close(pool_video(pool_views(CLIPS)), maps.mean((0, 2, 3, 4)))
    assert close(pool_views(CLIPS[:, :, 0]), maps[:, :, 0].mean((2, 3)))
    assert close(pool_views(CLIPS[:, :, 0, 0, 0]), maps[:, :, 0, 0, 0])
    assert close(pool_views((CLIPS, CLIPS[:, :3])), np.concatenate([maps, maps[:, :3]], 1).mean((2, 3, 4)))


@pytest.mark.parametrize(
    ("space", "time", "expected"),
    [
        ("max", "avg", lambda maps: maps.max((3, 4)).mean(2)),
        ("avg", "max", lambda maps: maps.mean((3, 4)).max(2)),
        ("max", "max", lambda maps: maps.max((2, 3, 4))),
        ("keep", "avg", lambda maps: maps.mean(2)),
        ("avg", "keep", lambda maps: maps.mean((3, 4))),
        ("keep", "keep", lambda maps: maps),
    ],
)
def test_clip_networks(space, time, expected) -> None:
    pooling = Pooling(space, time, "keep")
    found = pool_video(pool_views(CLIPS, pooling), pooling)
    assert close(found, expected(CLIPS.numpy()))
    assert close(pool_video(pool_views(CLIPS, pooling)), expected(CLIPS.numpy()).mean(0))


def test_views() -> None:
    rows = CLIPS[:, :, 0, 0, 0]
    numbers = rows.numpy()
    assert close(pool_video(rows, Pooling(views="keep"), crops=3), numbers)
    # Crop by crop: rows 0 and 1 are the clips under the first crop.
    expected = np.stack([numbers[[0, 2, 4]].mean(0), numbers[[1, 3, 5]].mean(0)])
    assert close(pool_video(rows, Pooling(views="per_clip"), crops=3), expected)


def test_the_time_of_image_networks_lies_across_rows() -> None:
    maps = CLIPS[:, :, 0]  # 6 frames: 2 views of 3
    numbers = maps.numpy().reshape(2, 3, 5, 3, 2)
    for time, expected in (("avg", numbers.mean(1)), ("max", numbers.max(1)), ("keep", numbers)):
        pooling = Pooling("keep", time, "keep")
        assert close(pool_video(pool_views(maps, pooling), pooling, frames_per_view=3), expected)
    assert close(pool_video(pool_views(maps), frames_per_view=3), maps.numpy().mean((0, 2, 3)))


def test_pathways_that_differ_in_time_cannot_be_kept() -> None:
    slow, fast = CLIPS[:, :, :1], CLIPS
    assert pool_views((slow, fast), Pooling("keep", "avg")).shape == (6, 10, 3, 2)
    with pytest.raises(UsageError, match="one shape"):
        pool_views((slow, fast), Pooling("avg", "keep"))
