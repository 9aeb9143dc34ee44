"""Jobs on a real Ray cluster of several nodes on this machine, and what happens when parts of it are lost."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vidfeat
from video.video_files import cut, write_video
from vidfeat import DeviceError, Encoder, Job, Ray, UsageError, VideoFeatures, load, run, stream, verify
from vidfeat.cluster import ray_executor
from vidfeat.store.part_files import PartFolder, parts_of

ray = pytest.importorskip("ray")
pytest.importorskip("pyarrow")

VIDEOS = 24

LONGEST_SECONDS = 300


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    """No test waits for a cluster for ever."""

    def give_up(*_: object) -> None:
        raise AssertionError(f"not done after {LONGEST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LONGEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster whose head computes nothing, and two nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    source = str(Path(vidfeat.__file__).parents[1])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = source  # workers import what is tested
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        found.add_node(num_cpus=1)
    yield found
    ray.shutdown()
    found.shutdown()
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def tiny(repository: Path) -> Encoder:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    return vidfeat.encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(VIDEOS - 1):
        write_video(folder / f"{number:02d}.mp4", frames=20 + number)
    cut(write_video(folder.parent / "whole.mp4", frames=60), folder / "broken.mp4", 0.6)
    return folder


@pytest.fixture(scope="module")
def expected(videos: Path, tiny: Encoder) -> dict[str, np.ndarray]:
    outcomes = stream(Job(videos=videos, encoders=tiny, decode_processes=1))
    return {one.key: one.values for one in outcomes if isinstance(one, VideoFeatures)}


def assert_complete(out: Path, expected: dict[str, np.ndarray]) -> None:
    assert verify(out) == []
    with load(out) as found:
        assert set(found) == set(expected)
        for key, values in expected.items():
            assert np.array_equal(found[key].values, values), key
        assert set(found.failures) == {"broken.mp4"}


def commits_of(out: Path) -> dict[str, int]:
    """How often each video was committed."""
    counts: dict[str, int] = {}
    for part in parts_of(PartFolder(str(out))):
        for key in part.keys:
            counts[key] = counts.get(key, 0) + 1
    return counts


def actors() -> list[int]:
    """Processes of actors."""
    found = subprocess.run(["pgrep", "-f", "ray::Actor"], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in found.split()]


def once_begun(out: Path, do: Callable[[], object]) -> threading.Thread:
    """A thread that does something once the first part is there."""

    def watch() -> None:
        while not list(out.glob("parts/*.parquet")):
            time.sleep(0.02)
        do()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_the_rows_are_those_of_one_machine(
    cluster: Any, videos: Path, tiny: Encoder, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    job = Job(videos=videos, encoders=tiny, out=f"{tmp_path}/out/")
    summary = run(job, executor=Ray(cluster.address, workers=2), quiet=True)
    assert (summary.videos, summary.computed, summary.failed) == (VIDEOS, VIDEOS - 1, 1)
    assert_complete(tmp_path / "out", expected)
    assert set(commits_of(tmp_path / "out").values()) == {1}
    about = [one for part in parts_of(PartFolder(str(tmp_path / "out"))) for one in part.about]
    assert all(one["node"] for one in about)
    assert run(job, executor=Ray(cluster.address), quiet=True).kept == VIDEOS - 1


def test_a_killed_worker_costs_nothing_but_time(
    cluster: Any, videos: Path, tiny: Encoder, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    killed = once_begun(tmp_path / "out", lambda: os.kill(actors()[0], signal.SIGKILL))
    job = Job(videos=videos, encoders=tiny, out=f"{tmp_path}/out/")
    run(job, executor=Ray(cluster.address, workers=2), quiet=True)
    killed.join(0)
    assert not killed.is_alive()
    assert_complete(tmp_path / "out", expected)


def test_a_node_leaves_and_another_joins(
    cluster: Any, videos: Path, tiny: Encoder, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    leaving = cluster.add_node(num_cpus=1)
    job = Job(videos=videos, encoders=tiny, out=f"{tmp_path}/out/")
    with ThreadPoolExecutor(1) as pool:  # nodes are added and removed in the main thread alone
        running = pool.submit(run, job, executor=Ray(cluster.address), quiet=True)
        once_begun(tmp_path / "out", int).join(120)
        joining = cluster.add_node(num_cpus=1)
        cluster.remove_node(leaving, allow_graceful=False)
        running.result()
    cluster.remove_node(joining)
    assert_complete(tmp_path / "out", expected)


DRIVER = """
import sys, vidfeat
job = vidfeat.Job.from_json(__import__("json").load(open(sys.argv[1])))
vidfeat.run(job, executor=vidfeat.Ray(sys.argv[2], workers=2), quiet=True)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_after_the_loss_of_the_driver_the_same_command_finishes_the_rest(
    sent: signal.Signals, cluster: Any, videos: Path, tiny: Encoder, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    job = Job(videos=videos, encoders=tiny, out=f"{tmp_path}/out/")
    (tmp_path / "job.json").write_text(json.dumps(job.to_json()))
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "job.json"), cluster.address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as driver:
        once_begun(tmp_path / "out", lambda: driver.send_signal(sent)).join(120)
        _, printed = driver.communicate(timeout=120)
    assert driver.returncode == -sent
    assert "***" not in printed  # Ray's own handlers print stack traces
    before = set(commits_of(tmp_path / "out"))
    assert before
    summary = run(job, executor=Ray(cluster.address, workers=2), quiet=True)
    assert summary.kept + summary.computed == VIDEOS - 1
    assert_complete(tmp_path / "out", expected)
    # Calls that were under way when the driver was lost may have been committed after it was counted here.
    assert all(commits_of(tmp_path / "out")[key] == 1 for key in before)


def test_a_failure_names_its_node(cluster: Any, videos: Path, tiny: Encoder, tmp_path: Path) -> None:
    with (videos / "00.mp4").open("rb") as file:
        only_here = Path(f"/proc/self/fd/{os.dup2(file.fileno(), 999)}")  # of this process, and of no worker
        assert only_here.is_file()
        (tmp_path / "list.txt").write_text(f"{videos}/01.mp4\n{only_here}\n")
        job = Job(videos=tmp_path / "list.txt", encoders=tiny, out=f"{tmp_path}/out/")
        summary = run(job, executor=Ray(cluster.address, workers=2), quiet=True)
    os.close(999)
    assert (summary.computed, summary.failed) == (1, 1)
    with load(tmp_path / "out") as found:
        ((key, failure),) = found.failures.items()
        assert key == "/proc/self/fd/999"
        assert failure.error.kind == "missing"
        assert failure.error.found == f"no file of that name (on {platform.node()})"
        assert platform.node() in json.dumps(found.line(key)["error"])


def test_a_file_that_one_of_two_machines_lacks_is_computed_on_the_other(
    cluster: Any,
    videos: Path,
    tiny: Encoder,
    expected: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    names = [f"{number:02d}.mp4" for number in range(8)]
    (tmp_path / "list.txt").write_text("".join(f"/proc/self/cwd/{name}\n" for name in names))
    job = Job(videos=tmp_path / "list.txt", encoders=tiny, out=f"{tmp_path}/out/")
    # Processes of a node start in the folder in which it was started: these paths are there on one node alone.
    monkeypatch.chdir(videos)
    node = cluster.add_node(num_cpus=1, resources={"here": 1})
    try:
        summary = run(job, executor=Ray(cluster.address, workers=3))
    finally:
        cluster.remove_node(node, allow_graceful=False)
    assert (summary.computed, summary.failed) == (len(names), 0)
    with load(tmp_path / "out") as found:
        for name in names:
            assert np.array_equal(found[f"/proc/self/cwd/{name}"].values, expected[name])
    assert "is missing on" in capfd.readouterr().err
    assert set(commits_of(tmp_path / "out").values()) == {1}


def test_another_version_on_the_driver_is_refused(cluster: Any, videos: Path, tiny: Encoder, tmp_path: Path) -> None:
    package = tmp_path / "other" / "vidfeat"
    shutil.copytree(Path(vidfeat.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    init = package / "__init__.py"
    assert vidfeat.__version__ in init.read_text()
    init.write_text(init.read_text().replace(vidfeat.__version__, "99.0"))
    job = Job(videos=videos, encoders=tiny, out=f"{tmp_path}/out/")
    (tmp_path / "job.json").write_text(json.dumps(job.to_json()))
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "job.json"), cluster.address]
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    expected = f"expected vidfeat 99.0 on all machines, as on the driver; found {vidfeat.__version__} on "
    assert expected in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "out").glob("parts/*"))


@pytest.mark.parametrize(
    ("option", "words"), [("dtype", "dtype: expected float32"), ("layout", "layout: expected none")]
)
def test_an_output_of_a_cluster_has_rows_of_float32_and_no_layout(
    option: str, words: str, videos: Path, tiny: Encoder, tmp_path: Path
) -> None:
    """Neither is ignored; it is refused before a cluster is looked for."""
    given: dict[str, Any] = {"dtype": "float16"} if option == "dtype" else {"layout": "opentad"}
    job = Job(videos=videos, encoders=tiny, out=f"{tmp_path}/out/", grid=vidfeat.Windows(stride=16, window=16), **given)
    with pytest.raises(UsageError, match=f"{words} with an output in object storage or of a cluster"):
        run(job, executor=Ray("127.0.0.1:1"), quiet=True)
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_with_a_cluster_is_said(
    cluster: Any,
    videos: Path,
    tiny: Encoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = Job(videos=videos, encoders=tiny, out=f"{tmp_path}/out/")
    monkeypatch.setattr(ray_executor, "_SAY_WAITING_SECONDS", 0.5)
    with pytest.raises(UsageError, match="room for a worker with 1 CPU and 1 GPU"):
        run(job, executor=Ray(cluster.address, gpus_per_worker=1, wait_seconds=2))
    assert "waiting up to 2 s for room for a worker with 1 CPU and 1 GPU, in a cluster" in capsys.readouterr().err
    lying = cluster.add_node(num_cpus=1, num_gpus=1)
    with pytest.raises(DeviceError, match=f"the GPU that {platform.node()} announces to Ray; found none"):
        run(job, executor=Ray(cluster.address, gpus_per_worker=1), quiet=True)
    cluster.remove_node(lying)
    with pytest.raises(UsageError, match="workers"):
        Ray(workers=0)
    ray.shutdown()
    with pytest.raises(UsageError, match="a Ray cluster that can be reached"):
        run(job, executor=Ray("127.0.0.1:1"), quiet=True)
