"""Locating, listing and describing objects. Libraries are imported when the first URI is met."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from vidfeat.errors import UsageError, shorten

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

_NO_REDIRECTS = {"allow_redirects": False}
"""A redirect could lead to an address that nobody named."""
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
    package = SCHEMES[scheme]
    for name in ("fsspec", package):
        try:
            __import__(name)
        except ImportError:
            raise UsageError(
                where,
                expected=f"the package {name} for {scheme}://",
                found="none",
                hint=f"Install it with: pip install fsspec {package}",
            ) from None


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

    options = _NO_REDIRECTS if scheme.startswith("http") else {}
    return fsspec.filesystem(scheme, listings_expiry_time=_LISTED_SECONDS, **options)


@contextlib.contextmanager
def as_os_errors() -> Iterator[None]:
    """Turn what storage libraries raise into `OSError`: a `FileNotFoundError` where there is no such object."""
    try:
        yield
    except OSError:  # among them what fsspec itself raises
        raise
    except (ValueError, NotImplementedError) as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    except Exception as error:  # of botocore, aiohttp, google.auth, azure ..., which have no common base
        if type(error).__module__.partition(".")[0] in ("builtins", "vidfeat"):
            raise
        raise OSError(f"{type(error).__name__}: {error}") from error


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
    with as_os_errors():
        if listed and not uri.startswith("http"):
            filesystem.ls(filesystem._parent(path))
        else:
            filesystem.invalidate_cache(path)
        return _stamp(filesystem.info(path))


def _stamp(info: Mapping[str, Any]) -> tuple[int, int]:
    modified = next((info[name] for name in _MODIFIED if info.get(name) is not None), None)
    if isinstance(modified, str):
        modified = datetime.fromisoformat(modified.replace("Z", "+00:00"))
    if isinstance(modified, datetime):
        modified = modified if modified.tzinfo else modified.replace(tzinfo=timezone.utc)
        modified = modified.timestamp()
    return int(info.get("size") or 0), int((modified or 0) * 1_000_000_000)


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
        with as_os_errors():
            fixed = re.split(r"[*?[]", path, maxsplit=1)[0]
            is_pattern = fixed != path and not filesystem.exists(path)
            if not is_pattern and filesystem.isfile(path):
                return [Found(path.rpartition("/")[2], uri, int(filesystem.info(path).get("size") or 0))]
            folder = fixed.rpartition("/")[0] if is_pattern else path.rstrip("/")
            listed = filesystem.find(folder, detail=True)
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


@contextlib.contextmanager
def open_lines(uri: str) -> Iterator[io.BufferedReader]:
    """A text object, opened in binary mode to be read line by line.

    Raises:
        UsageError: as `require_scheme`.
        OSError: it cannot be read.
    """
    filesystem, path = locate(uri)
    filesystem.invalidate_cache(path)
    with as_os_errors(), filesystem.open(path, "rb") as file:
        yield io.BufferedReader(file)  # whose `readline` has a limit
