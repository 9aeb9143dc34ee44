"""Shared by the fuzz targets: random changes of bytes, and an audit of what a reader must never do."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import vidfeat
from vidfeat.errors import VidfeatError

SECONDS_PER_INPUT = 20
"""Of this process, as machines are shared; ten times as many on the clock, since who waits uses none."""

KIB_PER_INPUT = 600_000

_FORBIDDEN = frozenset(
    "os.system os.exec os.fork os.forkpty os.posix_spawn os.spawn subprocess.Popen os.remove os.rename os.mkdir "
    "os.rmdir os.link os.symlink os.truncate os.putenv os.kill shutil.rmtree shutil.copyfile socket.connect "
    "socket.bind urllib.Request ctypes.dlopen sys.setprofile sys.settrace".split()
)
"""Audit events of code that runs, files that change and connections that open."""

_INSTALLED = tuple({str(Path(os.__file__).parent), sys.prefix, str(Path(vidfeat.__file__).parent)})


class Finding(Exception):
    """An input for which the reader did what it must not do."""


class Target(Protocol):
    """A reader of files under test."""

    name: str
    suffix: str

    def prepare(self, folder: Path) -> None:
        """Put into the folder what the reader needs beside its input."""

    def seeds(self) -> list[bytes]:
        """Valid inputs to begin with."""

    def mutate(self, rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
        """A changed copy of an input."""

    def read(self, path: Path) -> str:
        """Read the file; returns a word for how it went, raises `VidfeatError` for a refusal."""


@dataclass
class Tally:
    """The result of a fuzzing session: inputs tried, how many of them were accepted, and the different answers."""

    inputs: int = 0
    accepted: int = 0
    answers: set[str] = field(default_factory=set)


def fuzz(target: Target, folder: Path, *, seed: int, goes_on: Callable[[Tally], bool]) -> Tally:
    """Feed changed inputs to a target while `goes_on` says so. Inputs that bring a new answer are changed further.

    The input in progress is always in `folder`, so that it is there for whoever looks after a crash.

    Raises:
        Finding: the target did what it must not do.
    """
    rng = random.Random(seed)
    target.prepare(folder)
    pool = target.seeds()
    valid = len(pool)
    path = folder / f"input{target.suffix}"
    tally = Tally()
    for data in pool:
        path.write_bytes(data)
        if not (answer := _answer(target, path)).startswith("accepted"):
            raise Finding(f"a valid input was refused: {answer}")
    while goes_on(tally):
        data = target.mutate(rng, rng.choice(pool if rng.random() < 0.5 else pool[:valid]), pool)
        path.write_bytes(data)
        answer = _answer(target, path)
        tally.inputs += 1
        tally.accepted += answer.startswith("accepted")
        if answer not in tally.answers:
            tally.answers.add(answer)
            pool.append(data)
    return tally


def _answer(target: Target, path: Path) -> str:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _watched(path), _deadline():
            answer = f"accepted: {target.read(path)}"
    except VidfeatError as error:
        answer = f"{type(error).__name__}: {shape_of(error.expected)}; {shape_of(error.found)}"
        if len(str(error)) > 4000:
            raise Finding(f"a message of {len(str(error))} characters") from error
    except Finding:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise Finding(f"{type(error).__name__}: {error}") from error
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if grown > KIB_PER_INPUT:
        raise Finding(f"{grown} KiB of memory for {path.stat().st_size} bytes")
    return answer


def shape_of(text: str) -> str:
    """A message without what varies from input to input."""
    words = re.findall(r"(?<![\w.'\"`])[a-z]{3,}(?![\w.'\"`])", text[:200])
    return " ".join(words[:6])


# --- the watch --------------------------------------------------------------------------------------------------------

_watching: list[str] = []
_seen: list[str] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "open":
        forbidden = _writes(arguments)
    elif event == "exec":
        forbidden = not _is_installed(arguments[0]) and not _makes_classes(sys._getframe(1).f_code.co_filename)
    else:
        forbidden = event in _FORBIDDEN
    if forbidden:
        _seen.append(f"{event}{arguments!r:.200}")


def _makes_classes(caller: str) -> bool:
    """Whether the caller is Python's own writer of methods or reader of annotations, of a module imported late."""
    return caller.startswith(_INSTALLED) and caller.endswith(("collections/__init__.py", "dataclasses.py", "typing.py"))


def _is_installed(code: Any) -> bool:
    """Whether code is the body of an installed module, which may be imported only when it is needed."""
    return code.co_name == "<module>" and code.co_filename.startswith(_INSTALLED)


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


_installed: list[bool] = []


@contextmanager
def _watched(path: Path) -> Iterator[None]:
    if not _installed:
        sys.addaudithook(_hook)
        _installed.append(True)
    _seen.clear()
    _watching.append(str(path))
    try:
        yield
    finally:
        _watching.pop()
        if _seen:
            raise Finding(f"forbidden: {_seen[:3]}")


class _TooSlowError(BaseException):
    """Past the deadline; no `Exception`, which the reader's own seam would take for damage of the file."""


@contextmanager
def _deadline() -> Iterator[None]:
    def late(*_: object) -> None:
        raise _TooSlowError(f"not done after {SECONDS_PER_INPUT} s")

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, 1), (signal.ITIMER_REAL, signal.SIGALRM, 10))
    before = [signal.signal(number, late) for _, number, _ in timers]
    for timer, _, times in timers:
        signal.setitimer(timer, SECONDS_PER_INPUT * times)
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


# --- random changes ---------------------------------------------------------------------------------------------------


def change_bytes(rng: random.Random, data: bytes, words: Sequence[bytes], others: Sequence[bytes]) -> bytes:
    """One to a few changes: bits, bytes, cut, doubled and swapped pieces, words of the format, a piece of another."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        at = rng.randrange(len(changed) + 1)
        size = min(rng.choice([1, 2, 4, 16, 200]), len(changed) - at)
        kind = rng.randrange(8)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = rng.choice([0, 1, 10, 32, 39, 127, 128, 255])
        elif kind == 2:
            del changed[at : at + size]
        elif kind == 3:
            changed[at:at] = changed[at : at + size] * rng.choice([1, 1, 2, 50])
        elif kind == 4:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            changed[at:at] = other[start : start + rng.choice([4, 40, 400])]
        elif kind == 5 and words:
            changed[at : at + rng.choice([0, size])] = rng.choice(words)
        elif kind == 6:
            changed[at : at + size] = rng.randbytes(size)
        else:
            target = rng.randrange(len(changed) + 1)
            piece = changed[at : at + size]
            del changed[at : at + size]
            changed[target:target] = piece
    return bytes(changed[:200_000])


def change_parquet_footer(rng: random.Random, data: bytes) -> bytes:
    """Changed bytes in the description at the end of a Parquet file, without changing its length."""
    made = bytearray(data)
    size = min(int.from_bytes(data[-8:-4], "little"), len(data) - 8)
    for _ in range(rng.choice([1, 1, 2, 4]) if size > 0 else 0):
        at = len(made) - 8 - rng.randrange(size) - 1
        made[at] = rng.choice([made[at] ^ 1 << rng.randrange(8), 0, 1, 2, 0x15, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    return bytes(made)
