"""Objects behind URIs, such as `s3://bucket/a.mp4`, through fsspec. Knows nothing of videos."""

from vidfeat.storage.filesystem import (
    ATTEMPTS,
    SCHEMES,
    Found,
    bytes_on_disk,
    find,
    is_uri,
    locate,
    open_object,
    pause,
    require_scheme,
    retried,
    stamp,
    stamp_of_status,
)

__all__ = [
    "ATTEMPTS",
    "SCHEMES",
    "Found",
    "bytes_on_disk",
    "find",
    "is_uri",
    "locate",
    "open_object",
    "pause",
    "require_scheme",
    "retried",
    "stamp",
    "stamp_of_status",
]
