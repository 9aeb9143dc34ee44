"""Messages between two processes over a Unix socket: JSON objects, and blocks of pixels that are not copied.

Pixels lie in an anonymous file in memory (Linux's `memfd`), of which only the descriptor travels. Such a file has no
name, so there is nothing to clean up: it is gone with the last process that holds it, however that ends. Where there
are none, or no memory for one, the pixels themselves travel.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import socket
import sys
import time
from typing import Any

_LENGTH_BYTES = 4
_LONGEST_MESSAGE = 1 << 28
_LONGEST_WAIT = 1e6


class ClosedError(Exception):
    """The other side is gone."""


class Channel:
    """One end of a connection. Every method may be given a deadline.

    A deadline is a value of `time.monotonic()`; past it, `TimeoutError` is raised and the channel is of no more use.
    All methods raise `ClosedError` where the other side is gone.

    Args:
        connection: one of a pair of Unix stream sockets.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def close(self) -> None:
        """Hang up; harmless when repeated."""
        self._connection.close()

    def wake(self) -> None:
        """Have whatever waits on this end, in any thread, raise `ClosedError`."""
        with contextlib.suppress(OSError):  # the other side is gone, or this one closed
            self._connection.shutdown(socket.SHUT_RDWR)

    def send(self, message: dict[str, Any], deadline: float | None = None) -> None:
        """Send one JSON object."""
        self.send_bytes(json.dumps(message).encode(), deadline)

    def receive(self, deadline: float | None = None) -> dict[str, Any]:
        """The next JSON object.

        Raises:
            ValueError: something else was sent.
        """
        message = json.loads(self.receive_bytes(deadline))
        if not isinstance(message, dict):
            raise ValueError(f"a JSON object was expected; {message = }")
        return message

    def send_bytes(self, data: bytes, deadline: float | None = None) -> None:
        """Send bytes, to be taken by `receive_bytes`."""
        self._send(len(data).to_bytes(_LENGTH_BYTES, "big") + data, deadline)

    def receive_bytes(self, deadline: float | None = None) -> bytearray:
        """What one `send_bytes` sent.

        Raises:
            ValueError: something else was sent.
        """
        length = int.from_bytes(self._receive(_LENGTH_BYTES, deadline), "big")
        if length > _LONGEST_MESSAGE:
            raise ValueError(f"a message is at most {_LONGEST_MESSAGE} bytes long; {length = }")
        return self._receive(length, deadline)

    def send_pixels(self, pixels: memoryview) -> None:
        """Send a contiguous block of bytes, to be taken by `receive_pixels`; returns when they are taken."""
        file = memory_file(pixels)
        self.send({"shared": file is not None})
        if file is not None:
            with os.fdopen(file), _gone_when_broken():
                socket.send_fds(self._connection, [b"."], [file])
                if self.receive()["mapped"]:
                    return
        self._send(pixels, None)

    def receive_pixels(self, size: int, deadline: float | None = None) -> mmap.mmap | bytearray:
        """A block of `size` bytes, in shared memory where possible."""
        if self.receive(deadline)["shared"]:
            self._expect(deadline)
            with _gone_when_broken():
                _, files, _, _ = socket.recv_fds(self._connection, 1, 1, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
            shared = _map(files, size)
            self.send({"mapped": shared is not None}, deadline)
            if shared is not None:
                return shared
        return self._receive(size, deadline)

    def _send(self, data: bytes | memoryview, deadline: float | None) -> None:
        self._expect(deadline)
        with _gone_when_broken():
            self._connection.sendall(data)

    def _receive(self, size: int, deadline: float | None) -> bytearray:
        data = bytearray(size)
        left = memoryview(data)
        while left:
            self._expect(deadline)
            with _gone_when_broken():
                received = self._connection.recv_into(left)
            if received == 0:
                raise ClosedError
            left = left[received:]
        return data

    def _expect(self, deadline: float | None) -> None:
        """Let the next call on the socket wait until the deadline."""
        seconds = None if deadline is None else min(deadline - time.monotonic(), _LONGEST_WAIT)
        if seconds is not None and seconds <= 0:
            raise TimeoutError
        self._connection.settimeout(seconds)


class _gone_when_broken(contextlib.AbstractContextManager[None]):  # noqa: N801
    """Errors of a socket, other than a timeout, mean that nobody is at its other end."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            raise ClosedError from error


def memory_file(data: memoryview) -> int | None:
    """The descriptor of an anonymous file in memory that holds `data`; None where the system has none, or no room.

    It is filled by writing, so that a lack of memory is an error here, and not a SIGBUS when it is first touched.
    """
    if sys.platform != "linux":
        return None
    try:
        file = os.memfd_create("vidfeat-views", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return None
    try:
        left = data.cast("B")
        while left:
            left = left[os.write(file, left) :]
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    except OSError:
        os.close(file)
        return None
    return file


def _map(files: list[int], size: int) -> mmap.mmap | None:
    """The one received file mapped into memory.

    None where it did not arrive (no descriptors left), has no place, or could shrink later: touching what lies past the
    end of a file would be the end of this process.
    """
    if not files:
        return None
    (file,) = files
    try:
        stays = bool(fcntl.fcntl(file, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK) and os.fstat(file).st_size >= size
        return mmap.mmap(file, size, access=mmap.ACCESS_READ) if stays else None
    except (OSError, ValueError, MemoryError):
        return None
    finally:
        os.close(file)
