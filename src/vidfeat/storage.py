"""Objects behind URIs, such as `s3://bucket/a.mp4`, through fsspec: locating, listing, describing and reading them.

Knows nothing of videos. Libraries are imported when the first URI is met.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import io
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from vidfeat.errors import UsageError, shorten
from vidfeat.lazy_import import import_extra

SCHEMES: dict[str, str] = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "az": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "file": "fsspec",
}
"""The package that fsspec needs for each scheme."""

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LISTED_SECONDS = 60
"""So long a listing stands for the sizes and times of the objects in a folder: a request for a thousand of them."""

EXCHANGE_SECONDS = 300.0
"""How long a request over HTTP may take in all, whatever arrives meanwhile."""

ATTEMPTS = 5
"""How often a request is made that fails in a way that may pass: a busy store, a lost connection, a timeout."""

TIMEOUT_SECONDS = 20
"""So long a request to S3 or HTTP waits for a connection, and for each piece of the answer."""

_FIRST_WAIT_SECONDS = 0.5
"""Before the second attempt; each further wait is twice as long."""

_FINAL = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""What another attempt would not change."""

_MODIFIED = ("LastModified", "last_modified", "updated", "mtime", "modified")
"""What filesystems of fsspec call the time at which an object was written."""


def is_uri(text: object) -> bool:
    """Whether a text begins with a scheme and `://`."""
    return isinstance(text, str) and _URI.match(text) is not None


@dataclass(frozen=True)
class Found:
    """An object that was listed.

    Attributes:
        name: its path relative to the folder that was listed, or its own name.
        uri: where it is.
        bytes: its size; 0 where the store does not say.
    """

    name: str
    uri: str
    bytes: int


def require_scheme(uri: str, where: str = "videos") -> None:
    """Refuse a URI of a scheme that is not supported, or whose package is not installed.

    Args:
        uri: the URI.
        where: the argument it was given for.

    Raises:
        UsageError: it is one.
    """
    scheme = uri.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise UsageError(
            where, expected=f"a path, or a URI of {', '.join(SCHEMES)}", found=repr(shorten(uri)), hint="Copy it first."
        )
    for name in ("fsspec", SCHEMES[scheme]):
        import_extra(name, "http" if scheme == "https" else scheme, where, f"{scheme}://")


def locate(uri: str, where: str = "videos") -> tuple[Any, str]:
    """The filesystem of a URI, and the path in it.

    Raises:
        UsageError: as `require_scheme`.
    """
    require_scheme(uri, where)
    filesystem = _filesystem(uri.partition("://")[0].lower())
    return filesystem, filesystem._strip_protocol(uri)


@functools.lru_cache(maxsize=len(SCHEMES))
def _filesystem(scheme: str) -> Any:
    import fsspec

    options: dict[str, Any] = {}
    if scheme == "s3":  # `retried` is the only one that repeats requests: attempts of several layers would multiply
        options["config_kwargs"] = {
            "connect_timeout": TIMEOUT_SECONDS,
            "read_timeout": TIMEOUT_SECONDS,
            "retries": {"total_max_attempts": 1},
        }
    if scheme.startswith("http"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(EXCHANGE_SECONDS, sock_connect=TIMEOUT_SECONDS, sock_read=TIMEOUT_SECONDS)
        # A redirect could lead to an address that nobody named.
        options |= {"allow_redirects": False, "client_kwargs": {"timeout": timeout}}
    filesystem = fsspec.filesystem(scheme, listings_expiry_time=_LISTED_SECONDS, **options)
    if scheme == "s3":
        filesystem.retries = 1
    return filesystem


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Turn what storage libraries raise into `OSError`: a `FileNotFoundError` where there is no such object."""
    try:
        yield
    except TimeoutError as error:
        raise TimeoutError(str(error) or "no answer in time") from error
    except FileNotFoundError as error:
        cause = error.__cause__  # fsspec takes any failure of an HTTP request for a missing object
        if cause is None or isinstance(cause, OSError) or getattr(cause, "status", 404) in (404, 410):
            raise
        raise OSError(f"{type(cause).__name__}: {cause}") from cause
    except OSError:  # among them what fsspec itself raises
        raise
    except IndexError as error:
        if not isinstance(error.__context__, OSError):
            raise
        # s3fs looks for a number in the error of a read, which a timeout does not have.
        raise TimeoutError(str(error.__context__) or "no answer in time") from error
    except (ValueError, NotImplementedError) as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    except Exception as error:  # of botocore, aiohttp, google.auth, azure ..., which have no common base
        if type(error).__module__.partition(".")[0] in ("builtins", "vidfeat"):
            raise
        kind = PermissionError if "Credential" in type(error).__name__ else OSError
        raise kind(f"{type(error).__name__}: {error}") from error


_Result = TypeVar("_Result")


def retried(operation: Callable[..., _Result], *args: Any, **options: Any) -> _Result:
    """The result of an operation on a store. It is repeated, with growing waits, while its errors may pass.

    Raises:
        OSError: as of `_as_os_errors`: the error will not pass, or is still there after `ATTEMPTS`.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _as_os_errors():
                return operation(*args, **options)
        except OSError as error:
            if attempt == ATTEMPTS or not _may_pass(error):
                raise
        pause(attempt)
    raise AssertionError("unreachable")


def pause(attempt: int) -> None:
    """Wait after the attempt of this number, from 1."""
    # Processes that were refused at the same moment come back at different ones.
    time.sleep(_FIRST_WAIT_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))


def _may_pass(error: OSError) -> bool:
    if isinstance(error, _FINAL) or isinstance(error.__cause__, ValueError | NotImplementedError):
        return False
    status = getattr(error.__cause__, "status", None)  # of aiohttp
    return not isinstance(status, int) or status >= 500 or status in (408, 429)


def stamp(uri: str, *, listed: bool = False) -> tuple[int, int]:
    """Size in bytes, and time of the last change in nanoseconds since 1970; 0 where the store does not say it.

    Args:
        uri: of an object.
        listed: whether to list its folder, which may have been done up to a minute ago: for many objects of few
            folders. Otherwise the store is asked for this object, now.

    Raises:
        OSError: there is no such object, or it cannot be reached.
    """
    filesystem, path = locate(uri)
    if listed and not uri.startswith("http"):
        # A store may list an object some time after it was written.
        with contextlib.suppress(FileNotFoundError):
            retried(filesystem.ls, filesystem._parent(path))
            return _stamp(retried(filesystem.info, path))
    filesystem.invalidate_cache(path)
    return _stamp(retried(filesystem.info, path))


def sync_folder(folder: Path) -> None:
    """Make new names in a local folder survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def bytes_on_disk(status: os.stat_result) -> int:
    """The bytes of a local file that lie on the disk, which of a sparse one are few."""
    blocks = getattr(status, "st_blocks", 0)  # 0 also where the file system does not say it, as some on a network
    return min(status.st_size, 512 * blocks) if blocks else status.st_size


def _stamp(info: Mapping[str, Any]) -> tuple[int, int]:
    modified = next((info[name] for name in _MODIFIED if info.get(name) is not None), None)
    if isinstance(modified, str):
        modified = datetime.fromisoformat(modified.replace("Z", "+00:00"))
    if isinstance(modified, datetime):
        modified = modified if modified.tzinfo else modified.replace(tzinfo=timezone.utc)
        modified = modified.timestamp()
    return _in_64_bits(int(info.get("size") or 0), int((modified or 0) * 1_000_000_000))


def stamp_of_status(status: os.stat_result) -> tuple[int, int]:
    """The same as `stamp` of a local file."""
    return _in_64_bits(status.st_size, status.st_mtime_ns)


def _in_64_bits(size: int, modified_ns: int) -> tuple[int, int]:
    """As databases have integers: a server may claim any size, and a file may be dated after the year 2262."""
    most = 2**63 - 1
    return min(size, most), max(-most, min(modified_ns, most))


def find(uri: str, suffixes: frozenset[str]) -> list[Found]:
    """The objects that a URI means.

    Args:
        uri: of one object; of a folder, which stands for the objects below it that end in one of `suffixes`; or a
            pattern with `*`, `?` or `[`, which stands for those that match and end so. Hidden ones are skipped.
        suffixes: in lower case.

    Returns:
        In the order of their names.

    Raises:
        UsageError: as `require_scheme`; there is no such object, or it cannot be listed.
    """
    filesystem, path = locate(uri)
    scheme = uri.partition("://")[0]
    if scheme.startswith("http"):  # has neither folders nor patterns
        return [Found(uri.partition("?")[0].rstrip("/").rpartition("/")[2], uri, 0)]
    try:
        fixed = re.split(r"[*?[]", path, maxsplit=1)[0]
        try:
            info: Mapping[str, Any] | None = retried(filesystem.info, path)
        except FileNotFoundError:
            info = None
        is_pattern = fixed != path and info is None
        if info is not None and info["type"] == "file":
            return [Found(path.rpartition("/")[2], uri, int(info.get("size") or 0))]
        folder = fixed.rpartition("/")[0] if is_pattern else path.rstrip("/")
        listed = retried(filesystem.find, folder, detail=True)
    except OSError as error:
        raise UsageError(uri, expected="a store that can be listed", found=str(error) or "no such folder") from error
    found = []
    for name in sorted(listed):
        relative = name.removeprefix(folder).lstrip("/")
        visible = not any(part.startswith(".") for part in relative.split("/"))
        matches = not is_pattern or fnmatch.fnmatchcase(name, path)
        if visible and matches and any(name.lower().endswith(suffix) for suffix in suffixes):
            found.append(Found(relative, f"{scheme}://{name}", int(listed[name].get("size") or 0)))
    if not found:
        raise UsageError(
            uri, expected=f"an object, or at least one that ends in {' '.join(sorted(suffixes))}", found="none"
        )
    return found


def open_object(uri: str, where: str = "videos", **options: Any) -> io.BufferedReader:
    """An object as a file. Only the blocks that are read are fetched.

    Args:
        uri: the object.
        where: the argument it was given for.
        options: how to fetch it, as fsspec has them.

    Raises:
        UsageError: as `require_scheme`.
        OSError: there is no such object, or it cannot be reached; also from its methods.
    """
    filesystem, path = locate(uri, where)
    filesystem.invalidate_cache(path)
    return io.BufferedReader(_Object(retried(filesystem.open, path, "rb", **options)))


class _Object(io.RawIOBase):
    """A file of fsspec whose reads are retried."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def readinto(self, buffer: Any, /) -> int:
        start = self._file.tell()
        content = retried(self._read, start, len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _read(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        content: bytes = self._file.read(size)
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()
