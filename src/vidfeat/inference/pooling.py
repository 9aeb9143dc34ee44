"""From feature maps to features: over space and time inside a view, then over the views of a video."""

from __future__ import annotations

from collections.abc import Callable

import torch

from vidfeat.errors import UsageError
from vidfeat.recipe import Pooling

DEFAULT = Pooling()


def pool_views(maps: torch.Tensor | tuple[torch.Tensor, ...], pooling: Pooling = DEFAULT) -> torch.Tensor:
    """One row per clip, or per frame of an image network.

    Args:
        maps: `[N, C, T, H, W]` of clip networks, `[N, C, H, W]` of image networks, `[N, C]` of networks that already
            return vectors, or a tuple of those, one for each pathway or stage, whose rows are joined along C.
        pooling: what becomes of each axis. The time of image networks lies across rows: see `pool_video`.

    Returns:
        float32 `[N, C]`, plus the axes that are kept, in their order.

    Raises:
        UsageError: time is to be kept, and the pathways do not agree on it.
    """
    if isinstance(maps, tuple):
        rows = [pool_views(one, pooling) for one in maps]
        if len({row.shape[2:] for row in rows}) > 1:
            raise UsageError(
                "pooling",
                expected="pathways or stages of one shape, to be joined channel by channel",
                found=f"shapes {' and '.join(str(list(row.shape[1:])) for row in rows)}",
                hint="Pool what they differ in: avg or max in place of keep.",
            )
        return torch.cat(rows, dim=1)
    maps = maps.float()
    if maps.dim() <= 2:
        return maps
    if pooling.row_length is not None:
        return maps.mean((-2, -1)).flatten(1)
    if pooling.space == pooling.time == "avg":
        return maps.flatten(2).mean(2)  # at once, rather than axis by axis
    pooled = _REDUCE[pooling.space](maps, (-2, -1))
    return _REDUCE[pooling.time](pooled, (2,)) if maps.dim() == 5 else pooled


def pool_video(
    rows: torch.Tensor,
    pooling: Pooling = DEFAULT,
    *,
    crops: int = 1,
    frames_per_view: int | None = None,
    windows: int | None = None,
) -> torch.Tensor:
    """The features of a video.

    Args:
        rows: float32 `[R, C, ...]`, crop by crop, and in each crop in the order of the plan.
        pooling: what becomes of time, in image networks, and of the views.
        crops: crops per frame.
        frames_per_view: for image networks, how many rows make a view; None for clip networks, whose rows are views.
        windows: how many have views of their own, in order; None where all views are those of the video.

    Returns:
        float32 `[C]` for the mean or maximum over all views; `[rows, C]` otherwise, `[windows, views, C]` where windows
        keep theirs; plus the axes that are kept.
    """
    if pooling.row_length is not None:
        return rows.reshape(-1, pooling.row_length).mean(0)
    if frames_per_view is not None:
        rows = pool_time(rows.reshape(-1, frames_per_view, *rows.shape[1:]), pooling)
    if pooling.softmax == "view":
        rows = rows.softmax(-1)
    if pooling.views == "per_clip":
        rows = rows.reshape(crops, -1, *rows.shape[1:]).mean(0)
    elif windows is None:
        rows = _REDUCE[pooling.views](rows, (0,))
    else:
        views = rows.reshape(crops, windows, -1, *rows.shape[1:]).transpose(0, 1).flatten(1, 2)
        rows = _REDUCE[pooling.views](views, (1,))
    return rows.softmax(-1) if pooling.softmax == "row" else rows


def pool_time(rows: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """The views of an image network, from the rows of their frames, `[views, frames, ...]`."""
    return _REDUCE[pooling.time](rows, (1,))


_REDUCE: dict[str, Callable[[torch.Tensor, tuple[int, ...]], torch.Tensor]] = {
    "avg": lambda maps, axes: maps.mean(axes),
    "mean": lambda maps, axes: maps.mean(axes),
    "max": lambda maps, axes: maps.amax(axes),
    "keep": lambda maps, axes: maps,
}
