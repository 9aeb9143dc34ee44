"""What the flags say, as the library takes it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vidfeat.errors import UsageError

if TYPE_CHECKING:
    from vidfeat.inference.runner import Kernels
    from vidfeat.mmaction import FeatureRequest
    from vidfeat.store import Entry


def entries(options: argparse.Namespace) -> list[Entry]:
    """The videos, of `flags.videos`, `video_list` and `video_root`.

    Raises:
        UsageError: there are none or both of videos and list, or what is given cannot be read.
    """
    from vidfeat.store import read_list, scan

    if options.video_list is not None and not options.videos:
        return read_list(options.video_list, options.video_root)
    if options.videos and options.video_list is None and options.video_root is None:
        return scan(options.videos)
    raise UsageError(
        "videos",
        expected="either videos and folders, or --video-list with an optional --video-root",
        found="both" if options.videos else "none",
    )


def overrides(items: Sequence[str]) -> dict[str, Any]:
    """Dotted key to value, of `flags.cfg_options`.

    Raises:
        ConfigError: an item is not KEY=VALUE.
    """
    from vidfeat.mmaction.config import parse_override

    return dict(parse_override(item) for item in items)


def kernels(options: argparse.Namespace) -> Kernels | None:
    """What `flags.kernels` asks for; None where it says nothing."""
    if options.compile is None:
        return None
    return "compiled" if options.compile else "eager"


def request(options: argparse.Namespace) -> FeatureRequest:
    """The poolings, views and windows, of `flags.computation`.

    Raises:
        UsageError: the flags of windows are not there together, or two flags say something else about views.
    """
    from vidfeat.mmaction import FeatureRequest, LongVideo
    from vidfeat.recipe import Pooling

    if options.long_video_mode is not (options.clip_interval is not None):
        raise UsageError(
            "--long-video-mode",
            expected="--long-video-mode together with --clip-interval",
            found="one of them",
            hint="--clip-interval says how many frames lie between the centres of windows.",
        )
    if options.frame_interval is not None and not options.long_video_mode:
        raise UsageError(
            "--frame-interval",
            expected="--long-video-mode with it",
            found="none",
            hint="Elsewhere the config says it: --cfg-options changes `frame_interval` there.",
        )
    if options.multi_view and options.views not in ("mean", "keep"):
        raise UsageError("--multi-view", expected="no other --views than keep", found=f"--views {options.views}")
    long_video = LongVideo(options.clip_interval, options.frame_interval) if options.long_video_mode else None
    views = "keep" if options.multi_view else options.views
    few = views == "few" or (long_video is not None and views == "mean")
    # A long video has a row for every window: the mean is that over the crops of each.
    kept: Any = ("per_clip" if long_video else "mean") if few else views
    pooling = Pooling(space=options.spatial_type, time=options.temporal_type, views=kept)
    return FeatureRequest(pooling=pooling, views="few" if few else "all", long_video=long_video)
