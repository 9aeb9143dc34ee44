"""From feature maps to one vector: over space and time inside a view, then over the views of a video."""

from __future__ import annotations

import torch


def pool_views(maps: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """One row per view.

    Args:
        maps: `[N, C, ...]`, any number of positions in space and time (none at all for networks that already return
            vectors), or a tuple of such maps, one for each pathway or stage, whose rows are joined along C.

    Returns:
        float32 `[N, C]`.
    """
    if isinstance(maps, tuple):
        return torch.cat([pool_views(one) for one in maps], dim=1)
    return maps.float().flatten(2).mean(2) if maps.dim() > 2 else maps.float()


def pool_video(rows: torch.Tensor) -> torch.Tensor:
    """The mean over all views of a video.

    Args:
        rows: float32 `[views, C]`, in the order of the plan.

    Returns:
        float32 `[C]`.
    """
    return rows.mean(0)
