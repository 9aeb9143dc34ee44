"""Videos in object storage: small ones are fetched whole, of large ones only the bytes that are read.

What was fetched of the last video stays until another one is opened, since each is opened several times.
"""

from __future__ import annotations

import functools
import io
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfeat.storage import locate, retried, stamp

STAGED_BYTES = 64 << 20
"""Up to this size an object is fetched whole, with one request, into a temporary file that has no name."""

UNSIZED_BYTES = 1 << 30
"""Most bytes of an object whose size the server does not say. It cannot be read by parts, so it is fetched whole."""

BLOCK_BYTES, MOST_BLOCKS = 1 << 20, 32
"""A larger one is fetched in blocks, of which the last used ones stay in memory."""

LARGEST_PIECE_BYTES, GAP_BYTES = 8 << 20, 1 << 16
"""Where it is known which parts will be read, they are fetched in pieces of up to this size, and nothing else is.
Parts that lie closer together than the gap are fetched with what is between them, which costs less than a request."""

_MOST_PIECES = 4

Ranges = npt.NDArray[np.int64]


class RemoteFile(io.RawIOBase):
    """An object as a file that FFmpeg can read. A read error is kept in `error`, and then its end is reported.

    Args:
        uri: the object.
        fresh: whether to ask the store for its size and time, rather than to read on in the version of the last time.

    Attributes:
        bytes, modified_ns: size and time of the object, as `vidfeat.storage.stamp` gives them.
        error: of the store, while reading.
        name: for FFmpeg, which would take hints from another one.

    Raises:
        OSError: there is no such object, or it cannot be reached.
        UsageError: the scheme is not supported.
    """

    def __init__(self, uri: str, *, fresh: bool) -> None:
        super().__init__()
        self._object = _Fetched.of(uri, fresh=fresh)
        self.bytes, self.modified_ns = self._object.stamp
        self.error: OSError | None = None
        self.name = "video"
        self._position = 0
        self._pieces: Ranges | None = None

    @property
    def in_memory(self) -> bool:
        """Whether all of it was fetched already, so that no byte is worth saving."""
        return self._object.staged

    def only(self, ranges: Ranges) -> None:
        """From here on, fetch these parts alone; all other bytes read as zero.

        Args:
            ranges: int64 `[N, 2]`, start and end of each part in bytes, rising.
        """
        self._pieces = _pieces_of(ranges)

    def read(self, size: int | None = -1, /) -> bytes:
        """The next `size` bytes; none after an error."""
        end = self.bytes if size is None or size < 0 else min(self._position + size, self.bytes)
        start, self._position = self._position, max(self._position, end)
        if self.error is not None or start >= end:
            return b""
        try:
            return retried(self._object.read, start, end) if self._pieces is None else self._read_pieces(start, end)
        except OSError as error:
            self.error = error
            return b""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """The new position, or a negative error number, as FFmpeg expects it."""
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.bytes}[whence]
        if position < 0:
            return -22
        self._position = position
        return position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def _read_pieces(self, start: int, end: int) -> bytes:
        assert self._pieces is not None
        content = bytearray(end - start)
        # The pieces that end after the start, and begin before the end.
        first = np.searchsorted(self._pieces[:, 1], start, side="right")
        last = np.searchsorted(self._pieces[:, 0], end, side="left")
        for begin, stop in self._pieces[first:last].tolist():
            piece = retried(self._object.read_exactly, begin, stop)
            overlap = max(begin, start), min(stop, end)
            content[overlap[0] - start : overlap[1] - start] = piece[overlap[0] - begin : overlap[1] - begin]
        return bytes(content)


def _pieces_of(ranges: Ranges) -> Ranges:
    """int64 `[M, 2]`: what to fetch at once to have these parts, which rise."""
    if not len(ranges):
        return ranges
    starts = np.flatnonzero(np.append(True, ranges[1:, 0] - ranges[:-1, 1] > GAP_BYTES))
    ends = np.append(starts[1:], len(ranges)) - 1
    pieces = [
        (begin, min(begin + LARGEST_PIECE_BYTES, stop))
        for first, stop in zip(ranges[starts, 0].tolist(), ranges[ends, 1].tolist(), strict=True)
        for begin in range(first, stop, LARGEST_PIECE_BYTES)
    ]
    return np.array(pieces, np.int64)


class _Bounded(io.RawIOBase):
    """Writes to a file up to a limit: a server may send more than it says, and a compressed answer expands."""

    def __init__(self, file: Any, limit: int) -> None:
        super().__init__()
        self._file, self._limit = file, limit

    def write(self, data: Any, /) -> int:
        if self._file.tell() + len(data) > self._limit:
            raise ValueError(f"the server sends more than {self._limit} bytes, and did not say so")
        return int(self._file.write(data))


class _Fetched:
    """What was fetched of one object."""

    _last: _Fetched | None = None

    def __init__(self, uri: str, stamp_: tuple[int, int]) -> None:
        self.uri, self.stamp = uri, stamp_
        filesystem, path = locate(uri)
        size = stamp_[0]
        # Sizes are not always known beforehand: a server may not say them.
        self.staged = size <= STAGED_BYTES
        if self.staged:
            self._file: Any = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the next video
            try:
                if uri.startswith("http"):
                    retried(self._stage, filesystem, path, STAGED_BYTES if size else UNSIZED_BYTES)
                else:
                    self._file.write(retried(filesystem.cat_file, path))
            except BaseException:
                self._file.close()
                raise
            self.stamp = self._file.tell(), stamp_[1]
        else:
            self._file = retried(
                filesystem.open,
                path,
                "rb",
                block_size=BLOCK_BYTES,
                cache_type="blockcache",
                cache_options={"maxblocks": MOST_BLOCKS},
            )
        self.read_exactly = functools.lru_cache(_MOST_PIECES)(self._read_exactly)

    @classmethod
    def of(cls, uri: str, *, fresh: bool) -> _Fetched:
        last = _Fetched._last
        if last is not None and last.uri == uri and (not fresh or last.stamp == stamp(uri)):
            return last
        if last is not None:
            last._file.close()
            last.read_exactly.cache_clear()
            _Fetched._last = None
        _Fetched._last = cls(uri, stamp(uri))
        return _Fetched._last

    def _stage(self, filesystem: Any, path: str, limit: int) -> None:
        self._file.truncate(self._file.seek(0))
        filesystem.get_file(path, _Bounded(self._file, limit))

    def read(self, start: int, end: int) -> bytes:
        self._file.seek(start)
        content: bytes = self._file.read(end - start)
        return content

    def _read_exactly(self, start: int, end: int) -> bytes:
        if self.staged:
            return self.read(start, end)
        # Of the version that was opened, as blocks are.
        content: bytes = self._file.cache.fetcher(start, end)
        if len(content) != end - start:
            raise OSError(f"{len(content)} bytes in place of {end - start}")
        return content
