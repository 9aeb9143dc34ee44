"""Objects behind URIs, such as `s3://bucket/a.mp4`, through fsspec. Knows nothing of videos."""

from vidfeat.storage.filesystem import (
    SCHEMES,
    Found,
    as_os_errors,
    find,
    is_uri,
    locate,
    open_lines,
    require_scheme,
    stamp,
)

__all__ = [
    "SCHEMES",
    "Found",
    "as_os_errors",
    "find",
    "is_uri",
    "locate",
    "open_lines",
    "require_scheme",
    "stamp",
]
