"""Paths, file URLs and the cache of downloads."""

from __future__ import annotations

import functools
import hashlib
import http.server
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vidfeat.checkpoint import CheckpointFile, find
from vidfeat.checkpoint.files import name_hash
from vidfeat.errors import CheckpointError

BODY = b"weights of a model" * 999
SHA256 = hashlib.sha256(BODY).hexdigest()
NAME = f"tsn_r50_20200614-{SHA256[:8]}.pth"


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("VIDFEAT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


@pytest.fixture
def server(site: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("tsn_r50_1x1x3_100e_kinetics400_rgb_20200614-e508be42.pth", "e508be42"),
        ("slowonly_r50-cc665e2a.pth", "cc665e2a"),
        ("x-0123456789abcdef.pth", "0123456789abcdef"),
        ("x-12345678.pth", "12345678"),
        ("x-cc665e2a.pth.tar", "cc665e2a"),
        (f"x-{'a' * 64}.pth", "a" * 64),
        (f"x-{'a' * 65}.pth", ""),
        ("best-deadbeef-cc665e2a.pth", "cc665e2a"),
        ("x-cc665e2.pth", ""),
        ("x-CC665E2A.pth", ""),
        ("x-cc665e2a", ""),
        ("run-20240131.pth", ""),
        ("run-20241331.pth", "20241331"),
        ("epoch_10.pth", ""),
    ],
)
def test_the_hash_in_a_name(name: str, digits: str) -> None:
    assert name_hash(name) == digits


@pytest.mark.parametrize("name", [NAME, "epoch_10.pth", "with a space.pth", f"x-{SHA256}.pth"])
def test_a_local_file_by_path_and_by_url(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    path.write_bytes(BODY)
    assert find(str(path)) == CheckpointFile(path=path, sha256=SHA256, source=str(path))
    assert find(path.as_uri()) == CheckpointFile(path=path, sha256=SHA256, source=path.as_uri())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert find(f"~/{name}").path == path
    assert find(name).path == Path(name)


def test_a_local_file_that_is_not_what_its_name_says(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(BODY[:-1])
    with pytest.raises(CheckpointError, match="truncated or altered") as caught:
        find(str(path))
    assert caught.value.where == str(path)
    assert SHA256[:8] in caught.value.expected
    assert f"in {len(BODY) - 1} bytes" in caught.value.found


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found no such file"):
        find(str(tmp_path / "x.pth"))
    with pytest.raises(CheckpointError, match="found a folder"):
        find(str(tmp_path))
    with pytest.raises(CheckpointError, match="found a folder"):
        find("")
    with pytest.raises(CheckpointError, match="found something that is not a regular file"):
        find(os.devnull)


@pytest.mark.parametrize("ref", ["s3://bucket/x.pth", "ftp://host/x.pth", "data:/x.pth"])
def test_other_schemes_are_refused(ref: str) -> None:
    with pytest.raises(CheckpointError, match="a URL of type"):
        find(ref)


def test_a_file_url_of_another_host() -> None:
    with pytest.raises(CheckpointError, match=r"three slashes.*'server'"):
        find("file://server/x.pth")


def test_a_url_is_downloaded_once(server: str, site: Path, cache: Path) -> None:
    (site / NAME).write_bytes(BODY)
    url = f"{server}/{NAME}"
    expected = CheckpointFile(path=cache / NAME, sha256=SHA256, source=url)
    assert find(url, progress=False) == expected
    assert left_in(cache) == [NAME]
    (site / NAME).unlink()
    assert find(url, progress=False) == expected


def test_a_file_put_there_by_hand_is_used(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(BODY)
    assert find(f"https://nowhere.invalid/mmaction/{NAME}").sha256 == SHA256


def test_a_wrong_file_in_the_cache_is_replaced_and_said(
    server: str, site: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (site / NAME).write_bytes(BODY)
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(BODY[:100])
    with caplog.at_level(logging.WARNING):
        assert find(f"{server}/{NAME}", progress=False).sha256 == SHA256
    assert "downloading it again" in caplog.text
    assert (cache / NAME).read_bytes() == BODY


def test_a_wrong_file_on_the_server_never_lands(server: str, site: Path, cache: Path) -> None:
    (site / NAME).write_bytes(BODY + b"!")
    with pytest.raises(CheckpointError, match="as the file name says"):
        find(f"{server}/{NAME}", progress=False)
    assert left_in(cache) == []


def test_names_without_a_hash_do_not_meet(server: str, site: Path, cache: Path) -> None:
    for folder, body in (("a", b"one"), ("b", b"two")):
        (site / folder).mkdir()
        (site / folder / "best.pth").write_bytes(body)
    one, two = (find(f"{server}/{folder}/best.pth", progress=False) for folder in "ab")
    assert (one.path.read_bytes(), two.path.read_bytes()) == (b"one", b"two")
    assert one.path.name == two.path.name == "best.pth"
    assert one.path.parent.parent == two.path.parent.parent == cache


def test_the_mirror_replaces_scheme_and_host(
    server: str, site: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "base" / "mmaction" / "v1").mkdir(parents=True)
    (site / "base" / "mmaction" / "v1" / NAME).write_bytes(BODY)
    monkeypatch.setenv("VIDFEAT_MIRROR", f"{server}/base/")
    url = f"https://nowhere.invalid/mmaction/v1/{NAME}"
    assert find(url, progress=False) == CheckpointFile(path=cache / NAME, sha256=SHA256, source=url)


@pytest.mark.parametrize("mirror", ["mirror.example", "ftp://mirror.example", "http://", "/srv/mirror"])
def test_a_mirror_that_is_none(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDFEAT_MIRROR", mirror)
    with pytest.raises(CheckpointError, match="VIDFEAT_MIRROR: expected a base URL"):
        find(f"https://nowhere.invalid/{NAME}")


def test_without_a_network_the_error_says_what_to_put_where(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDFEAT_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError) as caught:
        find(f"https://download.example/{NAME}", progress=False)
    message = str(caught.value)
    assert f"127.0.0.1:9/{NAME}" in message
    assert str(cache / NAME) in message


@pytest.mark.parametrize("path", ["", "/", "/folder/..", "/a\\b.pth", "/c:x.pth", "/x%00.pth/."])
def test_urls_without_a_file_name(path: str, cache: Path) -> None:
    with pytest.raises(CheckpointError):
        find(f"http://127.0.0.1:9{path}", progress=False)
    assert not cache.exists() or left_in(cache) == []


def test_pytorch_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, vidfeat.checkpoint; sys.exit('torch' in sys.modules or 'tqdm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
