"""Every error that vidfeat raises on purpose.

A message has four parts, in this order: *where* it happened, what was *expected*, what was *found*, and a *hint*: the
next step. An argument of the call is named as in Python, because the same error reaches a program and a command line:

- `where` may be the plain name: `UsageError("device", ...)`, `UsageError("long_video.frame_interval", ...)`;
- in any of the parts a name, or a name with its value, is in backquotes: "Give `checkpoint`.", "Pass `restart=True`.",
  "Use `device='cpu'`.".

A member of an argument has a dotted name. The command line shows the flags instead, by the table
`vidfeat.cli.flags.FLAGS`: "Pass --restart."; backquoted words that are not in it stay as they are.

The tree is small, so that callers can catch one thing:

- `VidfeatError`: anything below.
    - `UsageError`: the call itself: flags, lists, output paths.
    - `ConfigError`: a config file, or a value in it.
    - `CheckpointError`: a checkpoint could not be had, trusted or matched.
    - `DeviceError`: the device asked for is not there.
    - `OutputError`: an output could not be written or does not fit the run.
        - `WriteError`: the disk refused; what was finished before is kept.
    - `VideoError`: one video; a run goes on to the next.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Literal

Stage = Literal["open", "decode", "sample", "model", "write"]
"""The step of the main path at which a video failed."""

Kind = Literal[
    "missing",
    "empty",
    "no_video",
    "truncated",
    "corrupt",
    "timeout",
    "crashed",
    "blocked_format",
    "too_large",
    "too_small",
    "outside",
    "variable_rate",
    "out_of_memory",
    "io",
]
"""What was wrong with a video, as the manifest spells it. `too_small`: a crop does not fit into its frames. `outside`:
no frame is shown in the segment asked for. `variable_rate`: its rows are not at equal distances, which a layout needs.
`io`: a read error that is none of the others."""


class VidfeatError(Exception):
    """Base of all errors raised on purpose.

    Args:
        where: the file, key path or frame concerned. The message shows a long one in part, the attribute is in full.
        expected: what would have been right.
        found: what was there instead.
        hint: the next step for the reader; empty where there is none.
    """

    exit_code = 1

    def __init__(self, where: str, *, expected: str, found: str, hint: str = "") -> None:
        self.where = where
        self.expected = expected
        self.found = found
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{shorten(self.where)}: expected {self.expected}; found {self.found}."
        return printable(f"{text} {self.hint}" if self.hint else text)

    def __reduce__(self) -> tuple[object, ...]:
        # Crosses process boundaries, where exceptions travel pickled and keyword-only arguments would be lost.
        return (_rebuild, (type(self), self.where, self.expected, self.found, self.hint))


def _rebuild(kind: type[VidfeatError], where: str, expected: str, found: str, hint: str) -> VidfeatError:
    return kind(where, expected=expected, found=found, hint=hint)


def shorten(text: str, limit: int = 200) -> str:
    """A name as a message can hold it: its start and its end, with an ellipsis between, where it is long."""
    if len(text) <= limit:
        return text
    half = (limit - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def quote(name: str) -> str:
    """A name in quotes, as a message can hold it."""
    return shorten(repr(name))


def printable(text: str) -> str:
    """The text on one line, with escapes for what a terminal would obey: names in it may come from strangers."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


def reason(error: BaseException) -> str:
    """What the system says of an error, without its number; the error's own words where it is not the system's."""
    return str(getattr(error, "strerror", None) or error)


@contextlib.contextmanager
def system_errors(
    kind: type[VidfeatError], where: str | os.PathLike[str], *, expected: str, hint: str = ""
) -> Iterator[None]:
    """Turn an `OSError` of the block into an error of this kind; what was found is what the system says."""
    try:
        yield
    except OSError as error:
        raise kind(os.fspath(where), expected=expected, found=reason(error), hint=hint) from error


class UsageError(VidfeatError):
    """The call itself is wrong: a flag, a list, an output path."""

    exit_code = 2


class ConfigError(VidfeatError):
    """A config cannot be read, or asks for something that is not supported."""

    exit_code = 2


class CheckpointError(VidfeatError):
    """A checkpoint cannot be found, downloaded, trusted, read or matched with the model."""

    exit_code = 2


class DeviceError(VidfeatError):
    """The compute device asked for does not exist or cannot do what was asked."""

    exit_code = 2


class OutputError(VidfeatError):
    """An output cannot be written, or what stands there belongs to another run."""

    exit_code = 2


class WriteError(OutputError):
    """The system refused a write: a full disk, a quota, a faulty device. Finished work is kept; run again to go on."""

    exit_code = 4


class VideoError(VidfeatError):
    """One video cannot be turned into features; others can.

    Args:
        where: the video's path.
        stage: the step that failed.
        kind: what was wrong with the video.
        expected, found, hint: as in `VidfeatError`.
    """

    def __init__(self, where: str, *, stage: Stage, kind: Kind, expected: str, found: str, hint: str = "") -> None:
        self.stage: Stage = stage
        self.kind: Kind = kind
        super().__init__(where, expected=expected, found=found, hint=hint)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_video_error, (self.where, self.stage, self.kind, self.expected, self.found, self.hint))


def _rebuild_video_error(where: str, stage: Stage, kind: Kind, expected: str, found: str, hint: str) -> VideoError:
    return VideoError(where, stage=stage, kind=kind, expected=expected, found=found, hint=hint)
