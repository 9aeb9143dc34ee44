"""Each option that several commands take, once, as a decorator.

Where an option means something else to a command, the command passes its own words; an option of one command alone is
with that command. A parameter has the name of the library's argument that it becomes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from vidfeat.cli.process import echo
from vidfeat.errors import UsageError

if TYPE_CHECKING:
    from vidfeat import FeatureRequest
    from vidfeat.recipe import TimeGrid
    from vidfeat.videos import VideoRef

Function = TypeVar("Function", bound=Callable[..., Any])


def together(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Several decorators as one, in the order of `--help`."""

    def decorate(function: Function) -> Function:
        return functools.reduce(lambda inner, option: option(inner), reversed(options), function)

    return decorate


def _as_one(name: str, kind: type[Any], decorate: Callable[[Any], Any]) -> Callable[[Callable[..., Any]], Any]:
    """Options as one parameter: a dataclass that has them by their names."""

    def decorated(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def with_one(**options: Any) -> Any:
            values = {field.name: options.pop(field.name) for field in fields(kind) if field.name in options}
            return function(**{name: kind(**values)}, **options)

        return decorate(with_one)

    return decorated


def choice(
    flag: str,
    *values: str,
    help: str,  # noqa: A002
    name: str | None = None,
) -> Callable[[Function], Function]:
    """One of some words, the first of them by default."""
    return click.option(flag, *filter(None, [name]), type=click.Choice(values), default=values[0], help=help)


class _FileName(click.types.FuncParamType):  # type: ignore[type-arg]  # generic since click 8.5
    """The name of a file or folder, which the shell completes."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell look."""
        return [CompletionItem(incomplete, type="file")]


PATH, PATH_TEXT = _FileName(Path), _FileName(str)
"""As a path; and as it was typed, where it may be a URI or a trailing slash counts."""


def _complete_model(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """The released models whose name begins so, or files where there is none."""
    from vidfeat.mmaction.zoo import table

    names = [CompletionItem(row.name) for row in table(None, None) if word and row.name.startswith(word)]
    return names or PATH_TEXT.shell_complete(context, parameter, word)


# --- the videos and the model -----------------------------------------------------------------------------------------


def model(*, required: bool = True) -> Callable[[Function], Function]:
    """MODEL."""
    metavar = "MODEL" if required else "[MODEL]"
    return click.argument("model", metavar=metavar, required=required, shell_complete=_complete_model)


video_list = click.option(
    "--video-list",
    metavar="FILE",
    type=PATH_TEXT,
    help="List of videos: one path per line, optionally with a label after a comma or a tab; or a CSV or Parquet file "
    "with a column 'video' or 'path'; or - for standard input.",
)
"""A list of videos."""


def _folder(text: str | Path) -> Path | str:
    """A folder, or the URI of one, as typed."""
    from vidfeat.storage import is_uri

    return str(text) if is_uri(text) else Path(text)


video_root = click.option(
    "--video-root",
    type=_FileName(_folder),
    metavar="DIR",
    help="Folder that the paths of the list are relative to and must not leave.",
)
"""The folder of the videos of a list."""

follow_links = click.option(
    "--follow-links", is_flag=True, help="Follow symbolic links that lead out of DIR or out of a folder of videos."
)
"""Whether links are trusted."""


@dataclass(frozen=True)
class VideoFlags:
    """The videos, as typed: paths, a list, or both."""

    videos: tuple[str, ...] = ()
    video_list: str | None = None
    video_root: Path | str | None = None
    follow_links: bool = False

    def find(self, segments: Path | None = None, *, quiet: bool = False) -> tuple[VideoRef, ...]:
        """The videos, with their segments where a table of those is given; cheap.

        Unless quiet, files that are no videos are counted on stderr.

        Raises:
            UsageError: there are none, or what is given cannot be read.
        """
        from vidfeat.videos import expand, read_list, read_segments

        root = self.video_root
        if segments is not None:
            found = self.find(quiet=quiet) if self else None
            if isinstance(root, str):
                raise UsageError("--video-root", expected="a folder on this machine, with --segments", found=repr(root))
            return read_segments(segments, found, root)
        self._require_any()
        note: Callable[[str], object] = (lambda line: None) if quiet else functools.partial(echo, err=True)
        if self.video_list is None:
            return expand(self.videos, root, follow_links=self.follow_links, note=note)
        listed = read_list(self.video_list, root, follow_links=self.follow_links)  # whatever the list's name is
        return expand([*listed, *self.videos], follow_links=self.follow_links, note=note)

    def named(self) -> tuple[str, ...]:
        """The videos as they were typed, for a job that reads its list line by line.

        Raises:
            UsageError: there are none, or the list does not have the name of one.
        """
        from vidfeat.videos import LIST_SUFFIXES

        self._require_any()
        if self.video_list is None:
            return self.videos
        if Path(self.video_list).suffix.lower() not in LIST_SUFFIXES:
            expected = f"a name that ends in {', '.join(sorted(LIST_SUFFIXES))}, with --executor ray"
            raise UsageError("--video-list", expected=expected, found=repr(self.video_list))
        return (self.video_list, *self.videos)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.videos or self.video_list)

    def _require_any(self) -> None:
        if not self:
            raise UsageError("videos", expected="at least one video, folder or --video-list", found="none")


listed_videos = _as_one("videos", VideoFlags, together(video_list, video_root, follow_links))
"""The videos of a list, as one parameter `videos` of the type `VideoFlags`."""

videos = together(click.argument("videos", nargs=-1, metavar="[VIDEO_OR_FOLDER]...", type=PATH_TEXT), listed_videos)
"""The same with paths before the list."""


def require_model_first(model: str) -> None:
    """Refuse a video, a folder or a list in the place of MODEL.

    Raises:
        UsageError: it is one of them.
    """
    if are_videos(model):
        raise UsageError(
            "MODEL",
            expected="MODEL before the videos",
            found=repr(model),
            hint="See the names with `vidfeat models`.",
        )


def are_videos(word: str) -> bool:
    """Whether a word names a video, a folder or a list rather than a model."""
    from vidfeat.videos import LIST_SUFFIXES, VIDEO_SUFFIXES

    is_folder = Path(word).is_dir() and not Path(word, "config.json").is_file()  # which a model of transformers is
    return is_folder or Path(word).suffix.lower() in LIST_SUFFIXES | VIDEO_SUFFIXES


def out(words: str, *, required: bool = False) -> Callable[[Function], Function]:
    """The output of extracting. It stays text, in which a trailing slash means a folder."""
    return click.option("-o", "--out", required=required, metavar="OUT", type=PATH_TEXT, help=words)


LAYOUTS = (
    "actionformer actionformer-epic opentad tridet tridet-hacs bmn gtad moment-detr lighthouse lstr ms-tcn rtfm "
    "howto100m videomae-tad mmaction2"
).split()
"""The names of `vidfeat.formats.layouts.LAYOUTS`, which is not imported for `--help`."""

layout = click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    metavar="NAME",
    help=f"Write a folder that some training code can read, and print the lines for its config: {', '.join(LAYOUTS)}.",
)
"""The code that an output is for."""


def checkpoint(words: str) -> Callable[[Function], Function]:
    """The weights."""
    return click.option("--checkpoint", metavar="PATH_OR_URL", type=PATH_TEXT, help=words)


cfg_options = click.option(
    "--cfg-options", multiple=True, metavar="KEY=VALUE...", help="Config values to override, by dotted keys."
)
"""Overrides of the config: see `overrides`."""


trust_remote_code = click.option(
    "--trust-remote-code", is_flag=True, help="Run Python code of an hf: repository that defines its network."
)
"""Whether a model's own code may run."""


def overrides(items: Sequence[str]) -> dict[str, Any]:
    """Dotted key to value, of the option `cfg_options`.

    Raises:
        ConfigError: an item is not KEY=VALUE.
    """
    from vidfeat.mmaction.config import parse_override

    return dict(parse_override(item) for item in items)


# --- how it is computed -----------------------------------------------------------------------------------------------


def device(
    words: str = "cpu, cuda or cuda:i, also several with commas, or auto (default): all GPUs, else the CPU.",
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


def _rate(text: str | float) -> float:
    """Frames per second above 0, as typed."""
    try:
        number = float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise click.BadParameter(f"expected frames per second, as 25, 29.97 or 30000/1001; found {text!r}")
    return number


def _limit_cores(context: click.Context, parameter: click.Parameter, value: int | None) -> None:
    if value is not None:
        from vidfeat.hardware import limit_cores

        limit_cores(value)


cores = click.option(
    "--cores",
    type=count,
    metavar="N",
    expose_value=False,
    callback=_limit_cores,
    help="Number of CPU cores to use at most (default: all). It does not change the features.",
)
"""How many cores the command may use."""


@dataclass(frozen=True)
class RequestFlags:
    """Poolings, views and what rows stand for, as typed.

    Raises:
        UsageError: flags that belong together are not there together, or two say different things.
    """

    spatial_type: str = "avg"
    temporal_type: str = "avg"
    views: str = "mean"
    multi_view: bool = False
    long_video_mode: bool = False
    clip_interval: int | None = None
    frame_interval: int | None = None
    stride: str | None = None
    window: str | None = None
    fps: float | None = None
    placement: str = "start"
    tail: str = "drop"
    segments: Path | None = None
    scores: bool = False

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
                expected="--long-video-mode as well",
                found="none",
                hint="Elsewhere the config says it: --cfg-options changes `frame_interval` there.",
            )
        with_stride = {"--window": self.window, "--fps": self.fps}
        with_stride |= {"--grid": self.placement != "start" or None, "--tail": self.tail != "drop" or None}
        for flag, value in with_stride.items():
            if value is not None and self.stride is None:
                raise UsageError(flag, expected="--stride as well, for rows over time", found="none")
        rows = {"--long-video-mode": self.long_video_mode, "--stride": self.stride, "--segments": self.segments}
        said = [flag for flag, value in rows.items() if value]
        if len(said) > 1:
            raise UsageError(said[1], expected="only one of the options that define rows", found=" and ".join(said))
        if self.multi_view and self.views not in ("mean", "keep"):
            raise UsageError("--multi-view", expected="--views keep, or none", found=f"--views {self.views}")

    def grid(self) -> TimeGrid | None:
        """The time grid that they ask for; None for the encoders' own.

        Raises:
            UsageError: a length is none.
        """
        from vidfeat import Segments, Windows

        if self.segments is not None:
            return Segments()
        if self.stride is None:
            return None
        placement: Any = self.placement
        tail: Any = self.tail
        return Windows(stride=self.stride, window=self.window, fps=self.fps, placement=placement, tail=tail)

    def request(self) -> FeatureRequest:
        """What they ask the library for beside the grid."""
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
        return FeatureRequest(pooling, "few" if few else "all", long_video, self.scores)


_request_options = together(
    choice(
        "--spatial-type",
        "avg",
        "mean",
        "max",
        "keep",
        help="Pooling over height and width (default: avg, the same as mean).",
    ),
    choice(
        "--temporal-type",
        "avg",
        "mean",
        "max",
        "keep",
        help="Pooling over time within a clip (default: avg, the same as mean).",
    ),
    choice(
        *("--views", "mean", "max", "keep", "per_clip", "few"),
        help="The mean of all views (default), the maximum, one row per view, one row per clip, or the mean of the few "
        "views that MMAction2 1.x's script takes by default. With --stride or --segments, of each row.",
    ),
    click.option("--multi-view", is_flag=True, help="The same as --views keep."),
    click.option(
        "--stride", metavar="S", help="Time from one row to the next: frames, such as 16, or seconds, such as 2s."
    ),
    click.option("--window", metavar="W", help="Time that each row stands for (default: the model's own clip)."),
    click.option(
        "--fps",
        type=_rate,
        metavar="F",
        help="Resample first, as ffmpeg's fps filter does, to a rate such as 25 or 30000/1001.",
    ),
    choice(
        "--grid",
        "start",
        "centre",
        name="placement",
        help="Row k starts at k * S (default), or is centred in the k-th interval of length S.",
    ),
    choice(
        *("--tail", "drop", "pad", "clamp"),
        help="Windows that extend past the end: left out (default), or filled with black frames or the last frame.",
    ),
    click.option(
        "--segments",
        type=PATH,
        metavar="FILE",
        help="One row per line of a CSV table video,start,end[,label], with times in seconds.",
    ),
    click.option("--long-video-mode", is_flag=True, help="Rows over time as MMAction2 1.x has them."),
    click.option(
        "--clip-interval",
        type=int,
        metavar="N",
        help="Frames from the centre of one window to the next, with --long-video-mode.",
    ),
    click.option(
        "--frame-interval",
        type=int,
        metavar="N",
        help="Frames from one frame of a window to the next, with --long-video-mode.",
    ),
    click.option("--scores", is_flag=True, help="Class scores of the model's head, in place of features."),
)


computation = together(
    cfg_options,
    device(),
    cores,
    choice(
        *("--precision", "fp32", "bf16", "fp16"),
        help="Arithmetic of the network (default: fp32, exact). Others are checked against it on the first batch.",
    ),
    choice("--dtype", "float32", "float16", help="Number format of the output (default: float32)."),
    _as_one("request", RequestFlags, _request_options),
    click.option(
        "--timeout",
        "timeout_seconds",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="Time limit for decoding one video (default: 60); large files and long videos get more.",
    ),
    quiet("Print failures only."),
)
"""What is computed, on what and how long that may take: what `extract` does and `estimate` predicts."""
