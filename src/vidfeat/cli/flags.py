"""Each flag that several commands take, once: a function adds it to a parser.

Where a flag means something else to a command, the command passes its own words; a flag of one command alone is with
that command. `vidfeat.cli.values` turns what they say into what the library takes.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def model(parser: argparse.ArgumentParser, *, default: str = "") -> None:
    """MODEL, which may be left out where there is a default; the text says what that is."""
    parser.add_argument(
        "model",
        nargs="?" if default else None,
        metavar="MODEL",
        help="name of a released model, or path of an MMAction2 config" + _says(default),
    )


def videos(parser: argparse.ArgumentParser, *, default: str = "") -> None:
    """The videos themselves; the text says what is taken where there are none."""
    parser.add_argument(
        "videos",
        nargs="*",
        type=Path,
        metavar="VIDEO_OR_FOLDER",
        help="videos, or folders of them" + _says(default),
    )


def _says(default: str) -> str:
    return f" (default: {default})" if default else ""


def video_list(parser: argparse.ArgumentParser) -> None:
    """A list of videos, in place of the videos themselves."""
    parser.add_argument("--video-list", type=Path, metavar="FILE", help="text file with one video path per line")


def video_root(parser: argparse.ArgumentParser, words: str = "folder that the list's paths start from") -> None:
    """The folder of the videos."""
    parser.add_argument("--video-root", type=Path, metavar="DIR", help=words)


def out(parser: argparse.ArgumentParser, words: str, *, required: bool = False) -> None:
    """The output of extracting. It stays text, in which a trailing slash means a folder."""
    parser.add_argument("-o", "--out", required=required, metavar="OUT", help=words)


def extracted(parser: argparse.ArgumentParser, *, others: str = "") -> None:
    """OUT, an output that is there already; the text names what else may be given."""
    parser.add_argument("out", metavar="OUT", type=Path, help="an output of vidfeat extract" + others)


def checkpoint(parser: argparse.ArgumentParser, words: str) -> None:
    """The weights."""
    parser.add_argument("--checkpoint", metavar="PATH_OR_URL", help=words)


def cfg_options(parser: argparse.ArgumentParser) -> None:
    """Overrides of the config: `values.overrides`."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="config values to override, dotted keys",
    )


def device(
    parser: argparse.ArgumentParser,
    words: str = "cpu, cuda or cuda:i, several with commas, or auto (default): every GPU, the CPU where there is none",
) -> None:
    """Where the network runs."""
    parser.add_argument("--device", default="auto", metavar="NAME", help=words)


def kernels(parser: argparse.ArgumentParser, words: str) -> None:
    """Who runs the network, and None where nobody says: `values.kernels`."""
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help=words)


def as_json(parser: argparse.ArgumentParser, words: str) -> None:
    """JSON on stdout, in place of words."""
    parser.add_argument("--json", action="store_true", help=words)


def quiet(parser: argparse.ArgumentParser, words: str = "print nothing") -> None:
    """Less to read."""
    parser.add_argument("-q", "--quiet", action="store_true", help=words)


def debug(parser: argparse.ArgumentParser) -> None:
    """Tracebacks, for every command: `guarded` reads it."""
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def computation(parser: argparse.ArgumentParser) -> None:
    """All that says what is computed, on what and how long that may take: what `extract` does and `plan` foresees."""
    video_root(parser)
    cfg_options(parser)
    device(parser)
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "fp16"),
        default="fp32",
        help="arithmetic of the network (default: fp32, exact); the others are checked against it on the first batch",
    )
    _request(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="time that reading any video may take (default: 60); more is added for large files and long videos",
    )
    quiet(parser, "show failures only")
    debug(parser)


def _request(parser: argparse.ArgumentParser) -> None:
    """Poolings, views and windows: `values.request`."""
    parser.add_argument(
        "--spatial-type", choices=("avg", "max", "keep"), default="avg", help="pooling over height and width"
    )
    parser.add_argument("--temporal-type", choices=("avg", "max", "keep"), default="avg", help="pooling over time")
    parser.add_argument(
        "--views",
        choices=("mean", "keep", "per_clip", "few"),
        default="mean",
        help="the mean of all views (default), one row per view, one row per clip, or the mean of the few views that "
        "MMAction2 1.x's script takes by default",
    )
    parser.add_argument("--multi-view", action="store_true", help="the same as --views keep")
    parser.add_argument(
        "--long-video-mode", action="store_true", help="a row for every window of a video, in place of one vector"
    )
    parser.add_argument("--clip-interval", type=int, metavar="N", help="frames between the centres of windows")
    parser.add_argument("--frame-interval", type=int, metavar="N", help="frames between the frames of a window")


def seconds(text: str) -> float:
    """A finite number of seconds above 0, as typed."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0; found {text!r}")
    return number


def count(text: str) -> int:
    """A whole number above 0, as typed."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0; found {text!r}")
    return number
