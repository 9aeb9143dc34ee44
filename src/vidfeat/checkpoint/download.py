"""One download over http(s): whole, verified and in its place, or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import time
import urllib.error
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO
from urllib import request

from vidfeat.errors import CheckpointError

_CHUNK_BYTES = 1 << 20
_DEFAULT_LIMIT_BYTES = 20 << 30
_DEFAULT_TIMEOUT_SECONDS = 60.0
# Slower than this over a whole timeout counts as stalled: a server that drips a byte at a time would never time out.
_SLOWEST_BYTES_PER_SECOND = 1024


def download(url: str, target: Path, *, sha256_prefix: str = "", progress: bool = True) -> str:
    """Download `url` to `target`, through a temporary file of its own in the same folder.

    `target` appears, or is replaced, in one step and only when everything fits: length, hash and type. Processes that
    download the same file at once do not disturb each other; the last one to finish puts the same bytes in place again.

    Environment: `VIDFEAT_MAX_DOWNLOAD`, the size limit in bytes (20 GiB); `VIDFEAT_DOWNLOAD_TIMEOUT`, seconds (60) to
    wait for a connection or for data, also the span in which at least 1 KiB per second has to arrive. The proxies that
    `http_proxy`, `https_proxy` and `no_proxy` name are used.

    Args:
        url: an http(s) URL. Redirects are followed to http(s) only, and never from https to http.
        target: the file to write; its folder is created.
        sha256_prefix: hex digits with which the content's SHA-256 has to begin; empty: not checked.
        progress: show a progress bar on standard error.

    Returns:
        The SHA-256 of the content, 64 hex digits.

    Raises:
        CheckpointError: anything went wrong; it names the URL, the file and the folder to put it in by hand.
    """
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sha256 = _download_to(url, temporary, name=target.name, progress=progress)
        if not sha256.startswith(sha256_prefix):
            raise _failed(
                url, target, expected=f"content whose SHA-256 begins with {sha256_prefix}, as the file name says",
                found=f"{sha256[: len(sha256_prefix)]}: another file, or one altered on its way",
            )  # fmt: skip
        temporary.replace(target)
        _sync_folder(target.parent)
    except _RefusedError as error:
        raise _failed(url, target, expected=error.expected, found=error.found) from None
    except urllib.error.HTTPError as error:
        error.close()
        raise _failed(url, target, expected="the file", found=f"HTTP {error.code} {error.msg}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        # URLError, timeouts, name resolution, TLS and a full disk are all OSErrors; a malformed URL is a ValueError.
        raise _failed(url, target, expected="a download", found=_reason(error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return sha256


class _RefusedError(Exception):
    """The server's answer is not acceptable; `download` adds where and what to do."""

    def __init__(self, *, expected: str, found: str) -> None:
        super().__init__(found)
        self.expected = expected
        self.found = found


def _failed(url: str, target: Path, *, expected: str, found: str) -> CheckpointError:
    hint = (
        f"Without a network, put the file by hand at {target} (file name {target.name}, folder {target.parent}), "
        "or give its path instead of the URL, or set VIDFEAT_MIRROR to a server that has it."
    )
    return CheckpointError(url, expected=expected, found=found, hint=hint)


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    return str(error) or type(error).__name__


def _download_to(url: str, temporary: Path, *, name: str, progress: bool) -> str:
    """Write the body of `url` to the new file `temporary`, flushed to the disk; return its SHA-256."""
    from tqdm import tqdm

    timeout = _number_from_environment("VIDFEAT_DOWNLOAD_TIMEOUT", _DEFAULT_TIMEOUT_SECONDS)
    limit = int(_number_from_environment("VIDFEAT_MAX_DOWNLOAD", _DEFAULT_LIMIT_BYTES))
    headers = {"User-Agent": "vidfeat", "Accept-Encoding": "identity"}
    digest = hashlib.sha256()
    with _opener().open(request.Request(url, headers=headers), timeout=timeout) as response:
        length = response.length
        _check_headers(response, limit)
        # `open` rather than `tempfile`, so that the file gets the permissions that the user's umask gives.
        with (
            temporary.open("xb") as out,
            tqdm(total=length, desc=name, unit="B", unit_scale=True, unit_divisor=1024, disable=not progress) as bar,
        ):
            received = 0
            for chunk in _chunks(response, timeout):
                received += len(chunk)
                _check_size(received, limit)
                digest.update(chunk)
                out.write(chunk)
                bar.update(len(chunk))
            if length is not None and received != length:
                raise _RefusedError(expected=f"{length} bytes", found=f"only {received}: the connection was cut")
            _sync(out)
    return digest.hexdigest()


def _chunks(response: http.client.HTTPResponse, timeout: float) -> Iterator[bytes]:
    window_start, window_bytes = time.monotonic(), 0
    # `read` would wait for a full chunk, however long that takes; `read1` returns with whatever has come.
    while chunk := response.read1(_CHUNK_BYTES):
        yield chunk
        window_bytes += len(chunk)
        elapsed = time.monotonic() - window_start
        if elapsed >= timeout:
            if window_bytes < elapsed * _SLOWEST_BYTES_PER_SECOND:
                raise TimeoutError(f"only {window_bytes} bytes in {elapsed:.0f} seconds: the download has stalled")
            window_start, window_bytes = time.monotonic(), 0


def _check_headers(response: http.client.HTTPResponse, limit: int) -> None:
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


class _Redirects(request.HTTPRedirectHandler):
    """Redirects that do not leave encryption. Other schemes than http(s) are refused by the opener, which has none."""

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


def _opener() -> request.OpenerDirector:
    # `build_opener` would add handlers for file:, ftp: and data: URLs, to which a redirect could lead.
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
        request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _sync(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the system lets a folder be flushed."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
