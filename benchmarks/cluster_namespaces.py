"""Runs jobs on `ray start` processes in network namespaces: a node is killed, one joins, one lacks files.

    sudo python benchmarks/cluster_namespaces.py [CLIPS]

Needs root, and the commands `ip` and `unshare`.
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cluster_overhead import write_clips

from vidfeat.store.part_files import PartFolder, parts_of

BRIDGE, NETWORK, PORT = "vfbr", "10.77.0", 6379
NODES = 4
RAY = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats"]


def ip(*words: str) -> str:
    """Run the command of that name."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def end(node: int) -> None:
    """Kill all processes of a node at once."""
    for word in ip("netns", "pids", f"vf{node}").split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(word), signal.SIGKILL)


@contextlib.contextmanager
def namespaces() -> Iterator[None]:
    """Namespaces `vf0` to `vf3` with addresses in one network."""
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("link", "set", BRIDGE, "up")
        for node in range(NODES):
            name = f"vf{node}"
            ip("netns", "add", name)
            ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
            ip("link", "set", f"{name}a", "master", BRIDGE, "up")
            ip("-n", name, "addr", "add", f"{NETWORK}.1{node}/24", "dev", f"{name}b")
            ip("-n", name, "link", "set", f"{name}b", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for node in range(NODES):
            with contextlib.suppress(subprocess.CalledProcessError):
                end(node)
                ip("netns", "del", f"vf{node}")
        ip("link", "del", BRIDGE)


def start(node: int, *, without: Path | None = None) -> None:
    """`ray start` in a namespace; 0 is the head. Of `without` it sees an empty folder."""
    head = ["--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false"]
    role = head if node == 0 else [f"--address={NETWORK}.10:{PORT}", "--num-cpus=1"]
    command = [*RAY, *role, f"--node-ip-address={NETWORK}.1{node}"]
    if without is not None:
        script = f'mount -t tmpfs none "{without}" && hostname without-files && exec "$@"'
        command = ["unshare", "--mount", "--uts", "sh", "-c", script, "sh", *command]
    subprocess.Popen(
        ["ip", "netns", "exec", f"vf{node}", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    if node == 0:
        connect = ["ip", "netns", "exec", "vf0", "bash", "-c", f"</dev/tcp/{NETWORK}.10/{PORT}"]
        while subprocess.run(connect, stderr=subprocess.DEVNULL, check=False).returncode:
            time.sleep(0.2)
    time.sleep(8)


def extract(clips: Path, out: Path) -> subprocess.Popen[bytes]:
    """The job, in the namespace of the head."""
    examples = Path(__file__).resolve().parents[1] / "examples"
    (checkpoint,) = examples.glob("*.safetensors")
    model = [str(examples / "tiny_slowonly.py"), "--checkpoint", str(checkpoint)]
    ray = ["--executor", "ray", "--address", f"{NETWORK}.10:{PORT}"]
    command = [sys.executable, "-m", "vidfeat", "extract", *model, str(clips), "-o", f"{out}/", *ray]
    return subprocess.Popen(["ip", "netns", "exec", "vf0", *command])


def report(clips: Path, out: Path, code: int) -> None:
    """What is in the output."""
    counts = collections.Counter(key for part in parts_of(PartFolder(str(out))) for key in part.keys)
    failed = sum(about["status"] == "failed" for part in parts_of(PartFolder(str(out))) for about in part.about)
    wanted = {path.name for path in clips.iterdir()}
    print(
        f"exit code {code}: {len(wanted)} clips, {len(counts)} committed, {len(wanted - set(counts))} lost, "
        f"{sum(count > 1 for count in counts.values())} twice, {failed} failed",
        flush=True,
    )


def main() -> None:
    """Print what came of both jobs."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    os.environ["RAY_AUTH_MODE"] = "disabled"  # nobody else is in this network
    with tempfile.TemporaryDirectory() as name, namespaces():
        clips = Path(name) / "clips"
        write_clips(clips, count)
        for node in (0, 1, 2):
            start(node)
        out = Path(name) / "killed"
        job = extract(clips, out)
        while len(list(out.glob("parts/*.parquet"))) < 2 and job.poll() is None:
            time.sleep(0.05)
        done = sum(len(part.keys) for part in parts_of(PartFolder(str(out))))
        end(2)
        print(f"node 2 was killed after {done} clips; node 3 joins", flush=True)
        start(3)
        report(clips, out, job.wait())
        end(3)
        print("node 3 is replaced by one without the clips", flush=True)
        start(3, without=clips)
        report(clips, Path(name) / "without", extract(clips, Path(name) / "without").wait())


if __name__ == "__main__":
    main()
