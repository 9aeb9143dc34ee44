"""A real S3 server for tests: moto's, as a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib import request

_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Yields the environment variables with which libraries find it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_clean()) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url)
            yield {**_ENVIRONMENT, "AWS_ENDPOINT_URL": url}
        finally:
            server.kill()


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _wait(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with request.urlopen(f"{url}/moto-api/data.json"):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
