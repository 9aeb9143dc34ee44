"""The flag of each argument of the library, and messages with flags in place of arguments."""

from __future__ import annotations

import re

from vidfeat.errors import VidfeatError

_SAME_NAME = """
    video_root follow_links out layout checkpoint cfg_options trust_remote_code device precision dtype decoder on_error
    on_corrupt launcher executor address workers cpus_per_worker gpus_per_worker restart retry_failed quiet verbose
    log_json family dataset labels class_names page
""".split()

FLAGS = {
    **{name: f"--{name.replace('_', '-')}" for name in _SAME_NAME},
    "videos": "VIDEO_OR_FOLDER",
    "names": "--video-list",
    "compiled": "--compile/--no-compile",
    "timeout_seconds": "--timeout",
    "pooling.space": "--spatial-type",
    "pooling.time": "--temporal-type",
    "pooling.views": "--views",
    "request.views": "--views",
    "request.scores": "--scores",
    "long_video": "--long-video-mode",
    "long_video.clip_interval": "--clip-interval",
    "long_video.frame_interval": "--frame-interval",
    "grid.stride": "--stride",
    "grid.window": "--window",
    "grid.fps": "--fps",
    "grid.placement": "--grid",
    "grid.tail": "--tail",
    "method": "--map",
    "texts": "TEXT",
}
"""What the library's arguments are called on the command line; after a slash, the flag of the value False."""


def in_flags(error: VidfeatError) -> str:
    """The message of an error with flags in place of the library's arguments, by the rule of `vidfeat.errors`."""
    text = str(error)
    if error.where in FLAGS:
        text = FLAGS[error.where] + text.removeprefix(error.where)
    return spell_as_flags(text)


def spell_as_flags(text: str) -> str:
    """A text with flags in place of the library's arguments in backquotes."""
    return re.sub(r"`([a-z_.]+)(?:=([^`]*))?`", _flag, text)


def _flag(found: re.Match[str]) -> str:
    name, value = found.groups()
    if name not in FLAGS:
        return found[0]
    on, _, off = FLAGS[name].partition("/")
    if value is None:
        return FLAGS[name]
    if value in ("True", "False"):
        return on if value == "True" else off or f"no {on}"
    return f"{on} " + value.strip("'\"")
