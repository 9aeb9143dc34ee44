"""From a path or a URL to a verified local file."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

from vidfeat.checkpoint.download import download
from vidfeat.errors import CheckpointError, reason, system_errors

_log = logging.getLogger(__name__)

_NAME_HASH = re.compile(r"-([0-9a-f]{8,64})(?=\.)")
# `run-20240131.pth` carries a date. A true hash of this form would be one in sixty thousand.
_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class CheckpointFile:
    """A local checkpoint file.

    Attributes:
        path: the file.
        sha256: SHA-256 over its bytes, 64 lower-case hex digits; with the recipe's digest, the identity of a run.
        source: the path or URL as given.
    """

    path: Path
    sha256: str
    source: str


def find(ref: str, *, sha256: str = "", progress: bool = True) -> CheckpointFile:
    """Find a checkpoint; if `ref` is a URL, download it once.

    If the file name ends in a hash, as MMAction2's do (`...-cc665e2a.pth`: the first 8 or more hex digits of the file's
    SHA-256), the file is verified every time, so a truncated or altered file is never used.

    Downloads go to PyTorch's cache, `$TORCH_HOME/hub/checkpoints`, under the URL's last path part. A URL without a hash
    in its name gets its own folder there, so that `best.pth` of two sites are different files.

    Args:
        ref: a path, or a `file://`, `http://` or `https://` URL. The environment variable `VIDFEAT_MIRROR` (an http(s)
            URL) replaces scheme and host of http(s) URLs.
        sha256: the SHA-256 of what an http(s) URL leads to, in place of the hash in its name.
        progress: show a progress bar on standard error while downloading.

    Returns:
        The file, with the SHA-256 of the whole of it.

    Raises:
        CheckpointError: there is no such file, the download failed, or the content does not match the hash in the name.
    """
    expected = "a path, or a file://, http:// or https:// URL"
    try:
        scheme = _scheme(ref)
        if scheme in ("http", "https"):
            return _find_remote(ref, sha256, progress=progress)
        if scheme == "file":
            return _find_local(_path_of_file_url(ref), ref)
        if not scheme:
            return _find_local(_expanded(ref), ref)
    except (OSError, ValueError) as error:  # a name that is too long, a URL that cannot be parsed
        raise CheckpointError(ref, expected=expected, found=reason(error)) from error
    raise CheckpointError(ref, expected=expected, found=f"a URL of type {scheme}://")


def _expanded(ref: str) -> Path:
    try:
        return Path(ref).expanduser()
    except RuntimeError as error:  # no such user, or no home folder
        raise ValueError(f"{error}") from error


def _scheme(ref: str) -> str:
    """The scheme of a URL in lower case; empty for a path."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", ref)
    return match.group(1).lower() if match else ""


def _path_of_file_url(ref: str) -> Path:
    parts = urlsplit(ref)
    if parts.netloc not in ("", "localhost"):
        raise CheckpointError(
            ref,
            expected="a file URL with three slashes: file:///folder/name.pth",
            found=f"the host name {parts.netloc!r}",
        )
    return Path(url2pathname(parts.path))


def _find_local(path: Path, source: str) -> CheckpointFile:
    if not path.is_file():
        found = "no such file"
        if path.is_dir():
            found = "a folder"
        elif path.exists():
            found = "something that is not a regular file"
        hint = "" if source == str(path) else f"It was given as {source!r}."
        raise CheckpointError(str(path), expected="a checkpoint file", found=found, hint=hint)
    sha256 = _sha256_of(path)
    wanted = name_hash(path.name)
    if wanted and not sha256.startswith(wanted):
        raise CheckpointError(
            str(path),
            expected=f"content whose SHA-256 begins with {wanted}, as the file name says",
            found=f"{sha256[: len(wanted)]} in {path.stat().st_size} bytes",
            hint="The file is truncated or altered: download it again. "
            f"If you changed it yourself, remove -{wanted} from its name.",
        )
    return CheckpointFile(path=path, sha256=sha256, source=source)


def _find_remote(url: str, sha256: str, *, progress: bool) -> CheckpointFile:
    path = _cache_path(url)
    wanted = sha256 or name_hash(path.name)
    if path.is_file():
        sha256 = _sha256_of(path)
        if sha256.startswith(wanted):
            return CheckpointFile(path=path, sha256=sha256, source=url)
        _log.warning(
            "%s: its SHA-256 begins with %s, and not with %s; downloading it again from %s",
            path, sha256[: len(wanted)], wanted, url,
        )  # fmt: skip
    sha256 = download(_mirrored(url), path, sha256_prefix=wanted, progress=progress)
    return CheckpointFile(path=path, sha256=sha256, source=url)


def _cache_path(url: str) -> Path:
    name = urlsplit(url).path.rpartition("/")[2]
    if name in ("", ".", "..") or re.search(r'[\\:*?"<>|]', name) or not url.isprintable():
        raise CheckpointError(
            url, expected="a URL whose last path part is a file name, such as .../name.pth", found=f"{name!r}"
        )
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not name_hash(name):
        folder = folder / f"url-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    return folder / name


def _mirrored(url: str) -> str:
    mirror = os.environ.get("VIDFEAT_MIRROR", "")
    if not mirror:
        return url
    base = urlsplit(mirror)
    if base.scheme not in ("http", "https") or not base.netloc:
        raise CheckpointError(
            "VIDFEAT_MIRROR",
            expected="a base URL such as https://mirror.example/openmmlab",
            found=repr(mirror),
            hint="Correct the environment variable, or unset it.",
        )
    parts = urlsplit(url)
    return urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + parts.path, parts.query, ""))


def name_hash(name: str) -> str:
    """The hash that a file name ends in: `x-cc665e2a.pth` gives `cc665e2a`; empty where there is none."""
    found = [digits for digits in _NAME_HASH.findall(name) if not _DATE.fullmatch(digits)]
    return found[-1] if found else ""


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with system_errors(CheckpointError, path, expected="a readable file"), path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
