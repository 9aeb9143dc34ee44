"""One download over http(s): complete, verified and at its place, or no file at all."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import glob
import hashlib
import http.client
import io
import os
import secrets
import socket
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib import request

from vidfeat.errors import CheckpointError, reason
from vidfeat.storage import sync_folder

_CHUNK_BYTES = 1 << 20
_DEFAULT_LIMIT_BYTES = 20 << 30
_DEFAULT_TIMEOUT_SECONDS = 60.0
# A download that is slower over a whole timeout has stalled: a server that sends single bytes would never time out.
_SLOWEST_BYTES_PER_SECOND = 1024


def download(url: str, target: Path, *, sha256_prefix: str = "", progress: bool = True) -> str:
    """Download `url` to `target`, through a temporary file in the same folder.

    `target` appears, or is replaced, in one step and only if length, hash and type are right. Processes that download
    the same file at the same time do not disturb each other; each puts the same bytes in place. Temporary files of
    killed processes are removed by the next download of the same file.

    Environment: `VIDFEAT_MAX_DOWNLOAD`, the size limit in bytes (20 GiB); `VIDFEAT_DOWNLOAD_TIMEOUT`, the seconds (60)
    to connect, the seconds to complete the headers, and the span in which at least 1 KiB of content per second has to
    arrive, whatever else the server sends. The proxies in `http_proxy`, `https_proxy` and `no_proxy` are used.

    Args:
        url: an http(s) URL. Redirects are followed to http(s) only, and never from https to http.
        target: the file to write; its folder is created.
        sha256_prefix: hex digits with which the content's SHA-256 has to begin; empty: not checked.
        progress: show a progress bar on standard error.

    Returns:
        The SHA-256 of the content, 64 hex digits.

    Raises:
        CheckpointError: the download failed; the message names the URL, the file and the folder to put it in by hand.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _part_of(target) as (part, out):
            sha256 = _receive(url, out, name=target.name, progress=progress)
            if not sha256.startswith(sha256_prefix):
                raise _RefusedError(
                    expected=f"content whose SHA-256 begins with {sha256_prefix}"
                    + (", as the file name says" if sha256_prefix in target.name else ""),
                    found=f"{sha256[: len(sha256_prefix)]}: a different or altered file",
                )
            out.flush()
            os.fsync(out.fileno())
            part.replace(target)
        sync_folder(target.parent)
    except _RefusedError as error:
        raise _failed(url, target, expected=error.expected, found=error.found) from None
    except urllib.error.HTTPError as error:
        error.close()
        raise _failed(url, target, expected="the file", found=f"HTTP {error.code} {error.msg}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        # URLError, timeouts, name resolution, TLS and a full disk are all OSErrors; a malformed URL is a ValueError.
        raise _failed(url, target, expected="a complete download", found=_reason(error)) from error
    return sha256


@contextlib.contextmanager
def _part_of(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new temporary file beside `target`, locked while it is in use and removed at the end.

    Temporary files of the same target that no process has locked are removed first.
    """
    for other in target.parent.glob(f"{glob.escape(target.name)}.*.part"):
        with contextlib.suppress(OSError), other.open("rb") as orphan:
            fcntl.flock(orphan, fcntl.LOCK_EX | fcntl.LOCK_NB)
            other.unlink()
    part, out = _new_part(target)
    try:
        yield part, out
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        out.close()


def _new_part(target: Path) -> tuple[Path, BinaryIO]:
    while True:
        part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        out = part.open("xb")  # not `tempfile`, so that the file gets the permissions of the user's umask
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(out, fcntl.LOCK_EX)
        if os.fstat(out.fileno()).st_nlink:
            return part, out
        out.close()  # another process removed it before it was locked


class _RefusedError(Exception):
    """The server's answer is not acceptable; `download` adds location and hint."""

    def __init__(self, *, expected: str, found: str) -> None:
        super().__init__(found)
        self.expected = expected
        self.found = found


def _failed(url: str, target: Path, *, expected: str, found: str) -> CheckpointError:
    hint = (
        f"Without a network, copy the file to {target}, or give its path instead of the URL, "
        "or set VIDFEAT_MIRROR to a server that has it."
    )
    return CheckpointError(url, expected=expected, found=found, hint=hint)


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    return reason(error) or type(error).__name__


def _receive(url: str, out: BinaryIO, *, name: str, progress: bool) -> str:
    """Write the content of `url` to `out`; return its SHA-256."""
    from tqdm import tqdm

    timeout = _number_from_environment("VIDFEAT_DOWNLOAD_TIMEOUT", _DEFAULT_TIMEOUT_SECONDS)
    limit = int(_number_from_environment("VIDFEAT_MAX_DOWNLOAD", _DEFAULT_LIMIT_BYTES))
    headers = {"User-Agent": "vidfeat", "Accept-Encoding": "identity"}
    digest = hashlib.sha256()
    deadline = _Deadline(timeout)
    with _opener(deadline).open(request.Request(url, headers=headers), timeout=timeout) as response:
        deadline.begin_content()
        length = response.length
        _check_headers(response, limit)
        received = 0
        with tqdm(total=length, desc=name, unit="B", unit_scale=True, unit_divisor=1024, disable=not progress) as bar:
            # `read` would wait for a full chunk, however long that takes; `read1` returns what has arrived.
            while chunk := response.read1(_CHUNK_BYTES):
                deadline.received(len(chunk))
                received += len(chunk)
                _check_size(received, limit)
                digest.update(chunk)
                out.write(chunk)
                bar.update(len(chunk))
        if length is not None and received != length:
            raise _RefusedError(expected=f"{length} bytes", found=f"only {received}: the connection was cut")
    return digest.hexdigest()


def _check_headers(response: http.client.HTTPResponse, limit: int) -> None:
    if response.status != 200:
        raise _RefusedError(expected="the file", found=f"HTTP {response.status} {response.reason}")
    if response.length is not None:
        _check_size(response.length, limit)
    if response.headers.get_content_type() == "text/html":
        raise _RefusedError(expected="a checkpoint", found="a web page (Content-Type text/html), such as a log-in page")


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise _RefusedError(
            expected=f"at most {limit} bytes (VIDFEAT_MAX_DOWNLOAD in the environment raises the limit)",
            found=f"{size} bytes or more",
        )


def _number_from_environment(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        number = float(text) if text else default
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise CheckpointError(
            f"${name}", expected="a number above 0", found=repr(text), hint="Correct it, or unset it."
        )
    return number


# --- the time limit ---------------------------------------------------------------------------------------------------


class _Deadline:
    """The time limit of an exchange: `timeout` seconds for all headers, then a floor on the content per `timeout`.

    It holds for every read from the socket: `http.client` reads status lines, `100 Continue` answers, headers, chunk
    sizes and trailers in loops of its own, which a server can keep going forever.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._in_content = False
        self._start, self._bytes = time.monotonic(), 0

    def begin_content(self) -> None:
        """The headers are complete."""
        self._in_content = True
        self._start = time.monotonic()

    def received(self, size: int) -> None:
        """Content has arrived, in bytes."""
        self._bytes += size

    def remaining(self) -> float:
        """Seconds until something has to have arrived, above 0.

        Raises:
            TimeoutError: the time is over.
        """
        elapsed = time.monotonic() - self._start
        if elapsed < self._timeout:
            return self._timeout - elapsed
        if not self._in_content:
            raise TimeoutError(f"timed out: no complete answer in {self._timeout:g} seconds")
        if self._bytes < elapsed * _SLOWEST_BYTES_PER_SECOND:
            raise TimeoutError(f"only {self._bytes} bytes in {elapsed:.3g} seconds: the download has stalled")
        self._start, self._bytes = time.monotonic(), 0
        return self._timeout


class _TimedReads(io.RawIOBase):
    """The receiving side of a socket, every read of which is subject to the deadline.

    Args:
        sock: the socket.
        held: the file of the socket, which keeps it open.
        deadline: the time limit.
    """

    def __init__(self, sock: socket.socket, held: io.RawIOBase, deadline: _Deadline) -> None:
        self._sock, self._held, self._deadline = sock, held, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            self._sock.settimeout(self._deadline.remaining())
            with contextlib.suppress(TimeoutError):
                return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._held.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, deadline: _Deadline, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedReads(sock, self.fp.detach(), deadline))


# --- urllib's handlers ------------------------------------------------------------------------------------------------


class _Timed(request.AbstractHTTPHandler):
    """Makes connections whose responses are read under a deadline."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._response_class: Any = functools.partial(_TimedResponse, deadline=deadline)

    def do_open(self, http_class: Any, req: request.Request, **http_conn_args: Any) -> http.client.HTTPResponse:
        def connection(host: str, **options: Any) -> http.client.HTTPConnection:
            made: http.client.HTTPConnection = http_class(host, **options)
            made.response_class = self._response_class
            return made

        return super().do_open(connection, req, **http_conn_args)


class _Http(_Timed, request.HTTPHandler):
    pass


class _Https(_Timed, request.HTTPSHandler):
    pass


class _Redirects(request.HTTPRedirectHandler):
    """Redirects that do not leave encryption. The opener has no handler for other schemes than http(s)."""

    def http_error_302(
        self, req: request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> http.client.HTTPResponse | None:
        fp.close()  # the base class would read the whole body, which may be endless
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self,
        req: request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> request.Request | None:
        scheme = newurl.partition(":")[0].lower()
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise _RefusedError(
                expected=f"a redirect from {req.type} to {'https' if req.type == 'https' else 'http or https'}",
                found=newurl,
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(deadline: _Deadline) -> request.OpenerDirector:
    # `build_opener` would add handlers for file:, ftp: and data: URLs, to which a redirect could lead.
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        _Http(deadline),
        _Https(deadline),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
        request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener
