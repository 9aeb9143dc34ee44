"""Each option that several commands take, once, as a decorator; and the flag of each argument of the library.

Where an option means something else to a command, the command passes its own words; an option of one command alone is
with that command. A parameter has the name of the library's argument that it becomes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vidfeat.cli.process import ctrl_c
from vidfeat.errors import UsageError, VidfeatError

if TYPE_CHECKING:
    from vidfeat import FeatureRequest
    from vidfeat.videos import VideoRef

Function = TypeVar("Function", bound=Callable[..., Any])

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
"""The settings of a command that is run by `main.execute`."""

DEBUG = "vidfeat.debug"
"""Whether tracebacks are shown, in `click.Context.meta`."""

FLAGS = {
    "videos": "VIDEO_OR_FOLDER",
    "video_root": "--video-root",
    "out": "--out",
    "checkpoint": "--checkpoint",
    "cfg_options": "--cfg-options",
    "device": "--device",
    "precision": "--precision",
    "decoder": "--decoder",
    "compiled": "--compile/--no-compile",
    "on_error": "--on-error",
    "on_corrupt": "--on-corrupt",
    "timeout_seconds": "--timeout",
    "launcher": "--launcher",
    "executor": "--executor",
    "address": "--address",
    "workers": "--workers",
    "cpus_per_worker": "--cpus-per-worker",
    "gpus_per_worker": "--gpus-per-worker",
    "restart": "--restart",
    "retry_failed": "--retry-failed",
    "quiet": "--quiet",
    "pooling.space": "--spatial-type",
    "pooling.time": "--temporal-type",
    "pooling.views": "--views",
    "request.views": "--views",
    "long_video": "--long-video-mode",
    "long_video.clip_interval": "--clip-interval",
    "long_video.frame_interval": "--frame-interval",
    "family": "--family",
    "dataset": "--dataset",
    "labels": "--labels",
    "page": "--page",
    "method": "--map",
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


class Command(click.Command):
    """A command with `--debug`, and with `--cfg-options` as MMAction2's users type it: several values after one flag.

    Args:
        interrupted: what Ctrl-C says, where the command has words of its own for what then becomes of the work.
        settings: as for `click.Command`.
    """

    def __init__(self, *args: Any, interrupted: str = "interrupted", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.interrupted = interrupted
        self.params.append(
            click.Option(
                ["--debug"], is_flag=True, expose_value=False, callback=_remember_debug, help="Show tracebacks."
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words, of which those after `--cfg-options` that look like KEY=VALUE all belong to it."""
        return super().parse_args(ctx, _one_flag_a_value("--cfg-options", args))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        ctrl_c.words = self.interrupted
        return super().invoke(ctx)


def _remember_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.meta[DEBUG] = value


_KEY_VALUE = re.compile(r"[A-Za-z_][\w.]*=")


def _one_flag_a_value(flag: str, words: Sequence[str]) -> list[str]:
    """The words, with the flag again before each KEY=VALUE that follows one of its values."""
    spread: list[str] = []
    for position, word in enumerate(words):
        if word == "--":
            return [*spread, *words[position:]]
        is_after_value = spread[-2:-1] == [flag] or (spread and spread[-1].startswith(f"{flag}="))
        if is_after_value and _KEY_VALUE.match(word):
            spread.append(flag)
        spread.append(word)
    return spread


def together(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Several decorators as one, in the order of `--help`."""

    def decorate(function: Function) -> Function:
        return functools.reduce(lambda inner, option: option(inner), reversed(options), function)

    return decorate


def choice(flag: str, *values: str, help: str) -> Callable[[Function], Function]:  # noqa: A002
    """One of some words, the first of them by default."""
    return click.option(flag, type=click.Choice(values), default=values[0], help=help)


# --- the videos and the model -----------------------------------------------------------------------------------------


def model(*, required: bool = True) -> Callable[[Function], Function]:
    """MODEL."""
    return click.argument("model", metavar="MODEL" if required else "[MODEL]", required=required)


video_list = click.option("--video-list", metavar="FILE", help="Text file with one video path per line.")
"""A list of videos."""

video_root = click.option(
    "--video-root", type=Path, metavar="DIR", help="Folder that the list's paths start from, and may not leave."
)
"""The folder of the videos of a list."""

videos = together(click.argument("videos", nargs=-1, metavar="[VIDEO_OR_FOLDER]..."), video_list, video_root)
"""The videos: paths, a list, or both. `find_videos` takes what they become."""


def find_videos(paths: Sequence[str], list_file: str | None, root: Path | None) -> tuple[VideoRef, ...]:
    """The videos of the options `videos`; cheap.

    Raises:
        UsageError: there are none, or what is given cannot be read.
    """
    from vidfeat.videos import expand, read_list

    if list_file is None and not paths:
        raise UsageError(
            "videos", expected="videos, folders of them, or --video-list", found="none of them", hint="Name some."
        )
    if list_file is None:
        return expand(paths, root)
    return expand([*read_list(Path(list_file), root), *paths])  # whatever the list's name is


def require_model_first(model: str) -> None:
    """Refuse a video, a folder or a list in the place of MODEL.

    Raises:
        UsageError: it is one of them.
    """
    if are_videos(model):
        raise UsageError(
            "MODEL",
            expected="a model before the videos",
            found=repr(model),
            hint="See the names with `vidfeat models`.",
        )


def are_videos(word: str) -> bool:
    """Whether a word names a video, a folder or a list rather than a model."""
    from vidfeat.videos import VIDEO_SUFFIXES

    return Path(word).is_dir() or Path(word).suffix.lower() in {".txt", *VIDEO_SUFFIXES}


def out(words: str, *, required: bool = False) -> Callable[[Function], Function]:
    """The output of extracting. It stays text, in which a trailing slash means a folder."""
    return click.option("-o", "--out", required=required, metavar="OUT", help=words)


def checkpoint(words: str) -> Callable[[Function], Function]:
    """The weights."""
    return click.option("--checkpoint", metavar="PATH_OR_URL", help=words)


cfg_options = click.option(
    "--cfg-options", multiple=True, metavar="KEY=VALUE...", help="Config values to override, with dotted keys."
)
"""Overrides of the config: see `overrides`."""


def overrides(items: Sequence[str]) -> dict[str, Any]:
    """Dotted key to value, of the option `cfg_options`.

    Raises:
        ConfigError: an item is not KEY=VALUE.
    """
    from vidfeat.mmaction.config import parse_override

    return dict(parse_override(item) for item in items)


# --- how it is computed -----------------------------------------------------------------------------------------------


def device(
    words: str = "cpu, cuda or cuda:i, several with commas, or auto (default): every GPU, the CPU where there is none.",
) -> Callable[[Function], Function]:
    """Where the network runs."""
    return click.option("--device", default="auto", metavar="NAME", help=words)


def compiled(words: str) -> Callable[[Function], Function]:
    """Whether torch.compile is used; None where nothing is said."""
    return click.option("--compile/--no-compile", "compiled", default=None, help=words)


def as_json(words: str) -> Callable[[Function], Function]:
    """JSON on stdout, in place of words."""
    return click.option("--json", "as_json", is_flag=True, help=words)


def quiet(words: str = "Print nothing.") -> Callable[[Function], Function]:
    """Less to read."""
    return click.option("-q", "--quiet", is_flag=True, help=words)


def count(text: str | int) -> int:
    """A whole number above 0, as typed."""
    number = int(text) if str(text).isascii() and str(text).isdigit() else 0
    if number < 1:
        raise click.BadParameter(f"expected a whole number above 0; found {text!r}")
    return number


def seconds(text: str | float) -> float:
    """A finite number of seconds above 0, as typed."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise click.BadParameter(f"expected a number of seconds above 0; found {text!r}")
    return number


@dataclass(frozen=True)
class RequestFlags:
    """Poolings, views and windows, as typed.

    Raises:
        UsageError: the flags of windows are not there together, or two flags say different things about views.
    """

    spatial_type: str = "avg"
    temporal_type: str = "avg"
    views: str = "mean"
    multi_view: bool = False
    long_video_mode: bool = False
    clip_interval: int | None = None
    frame_interval: int | None = None

    def __post_init__(self) -> None:
        if self.long_video_mode is not (self.clip_interval is not None):
            raise UsageError(
                "--long-video-mode",
                expected="--long-video-mode together with --clip-interval",
                found="one of them",
                hint="--clip-interval says how many frames lie between the centres of windows.",
            )
        if self.frame_interval is not None and not self.long_video_mode:
            raise UsageError(
                "--frame-interval",
                expected="--long-video-mode with it",
                found="none",
                hint="Elsewhere the config says it: --cfg-options changes `frame_interval` there.",
            )
        if self.multi_view and self.views not in ("mean", "keep"):
            raise UsageError("--multi-view", expected="no other --views than keep", found=f"--views {self.views}")

    def request(self) -> FeatureRequest:
        """What they ask the library for."""
        from vidfeat import FeatureRequest, LongVideo, Pooling

        long_video = None
        if self.clip_interval is not None:
            long_video = LongVideo(self.clip_interval, self.frame_interval)
        views = "keep" if self.multi_view else self.views
        few = views == "few" or (long_video is not None and views == "mean")
        # A long video has a row for every window: the mean is that over the crops of each.
        kept: Any = ("per_clip" if long_video else "mean") if few else views
        space: Any = self.spatial_type
        time: Any = self.temporal_type
        pooling = Pooling(space=space, time=time, views=kept)
        return FeatureRequest(pooling=pooling, views="few" if few else "all", long_video=long_video)


_request_options = together(
    choice("--spatial-type", "avg", "max", "keep", help="Pooling over height and width (default: avg)."),
    choice("--temporal-type", "avg", "max", "keep", help="Pooling over time (default: avg)."),
    choice(
        *("--views", "mean", "keep", "per_clip", "few"),
        help="The mean of all views (default), one row per view, one row per clip, or the mean of the few views that "
        "MMAction2 1.x's script takes by default.",
    ),
    click.option("--multi-view", is_flag=True, help="The same as --views keep."),
    click.option("--long-video-mode", is_flag=True, help="One row per window of a video, in place of one vector."),
    click.option("--clip-interval", type=int, metavar="N", help="Frames between the centres of windows."),
    click.option("--frame-interval", type=int, metavar="N", help="Frames between the frames of a window."),
)


def _request(function: Callable[..., Any]) -> Callable[..., Any]:
    """Poolings, views and windows, as one parameter `request` of the type `RequestFlags`."""

    @functools.wraps(function)
    def with_request(**options: Any) -> Any:
        flags = {field.name: options.pop(field.name) for field in fields(RequestFlags)}
        return function(request=RequestFlags(**flags), **options)

    return _request_options(with_request)


computation = together(
    cfg_options,
    device(),
    choice(
        *("--precision", "fp32", "bf16", "fp16"),
        help="Arithmetic of the network (default: fp32, exact). The others are checked against it on the first batch.",
    ),
    _request,
    click.option(
        "--timeout",
        "timeout_seconds",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="Time that decoding any video may take (default: 60); more is added for large files and long videos.",
    ),
    quiet("Show failures only."),
)
"""What is computed, on what and how long that may take: what `extract` does and `estimate` predicts."""
