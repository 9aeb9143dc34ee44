"""Decode processes that crash, hang, run out of memory or are killed: one video fails, all others are read."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

import av
import faulty_worker
import numpy as np
import pytest

from open_files import open_files, opened_since
from video.video_files import write_video
from vidfeat.engine.decode_pool import DecodePool, PoolOptions, Task, processes_for
from vidfeat.engine.decode_worker import Assignment
from vidfeat.engine.events import ChunkDecoded, Event, PoolFailed, VideoDecoded, VideoFailed, VideoPlanned
from vidfeat.engine.worker_handle import worker_command
from vidfeat.errors import VideoError, VidfeatError
from vidfeat.preprocessing.clips import ClipBatch, PreprocessSpec, read_clips
from vidfeat.preprocessing.sampling import SegmentSampling
from vidfeat.recipe import CenterCrop
from vidfeat.videos import VideoRef

SPEC = PreprocessSpec(SegmentSampling(clip_len=2, num_clips=3), (CenterCrop(32, 32),))
EVERY_FRAME = PreprocessSpec(SegmentSampling(clip_len=1, num_clips=600), (CenterCrop(32, 32),))
LONG = 30.0
"""Seconds within which anything must happen, on however busy a machine."""


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "short.mp4", frames=12)


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 frames in some megabytes, so that no buffer holds all of it."""
    return write_video(tmp_path_factory.mktemp("videos") / "long.mp4", frames=600, options={"qp": "8"})


def tasks_of(paths: Sequence[Path]) -> list[Task]:
    return [Task(VideoRef(path.name, str(path))) for path in paths]


def pool_of(
    spec: PreprocessSpec, paths: Sequence[Path], deliver: Callable[[Event], object], options: PoolOptions
) -> DecodePool:
    return DecodePool(Assignment((spec,)), tasks_of(paths), deliver, options)


def expected(path: Path, spec: PreprocessSpec = SPEC) -> list[ClipBatch]:
    return [batch for _, batch in read_clips([spec], VideoRef(path.name, str(path)))]


def same(some: Sequence[ClipBatch], others: Sequence[ClipBatch]) -> bool:
    return len(some) == len(others) and all(
        np.array_equal(one.pixels, other.pixels)
        and np.array_equal(one.clips, other.clips)
        and np.array_equal(one.start_seconds, other.start_seconds)
        and np.array_equal(one.end_seconds, other.end_seconds)
        and one.first_clip == other.first_clip
        for one, other in zip(some, others, strict=True)
    )


def events(inbox: SimpleQueue[Event], videos: int) -> Iterator[Event]:
    """All events until every video is done."""
    while videos:
        event = inbox.get(timeout=LONG)
        if isinstance(event, PoolFailed):
            raise event.error
        if isinstance(event, VideoFailed):
            event.release()
        videos -= isinstance(event, (VideoDecoded, VideoFailed))
        yield event


def first_chunk(inbox: SimpleQueue[Event]) -> ChunkDecoded:
    planned, chunk = inbox.get(timeout=LONG), inbox.get(timeout=LONG)
    assert isinstance(planned, VideoPlanned)
    assert isinstance(chunk, ChunkDecoded)
    return chunk


def collect(inbox: SimpleQueue[Event], videos: int) -> dict[int, list[ClipBatch] | VideoError]:
    results: dict[int, list[ClipBatch] | VideoError] = {}
    for event in events(inbox, videos):
        if isinstance(event, VideoFailed):
            results[event.index] = event.error
        if isinstance(event, VideoPlanned):
            results[event.index] = []
        if isinstance(event, ChunkDecoded):
            batches = results.setdefault(event.index, [])
            assert isinstance(batches, list)
            batches.append(event.clips)
            event.release()
    return results


def read(
    paths: Sequence[Path],
    spec: PreprocessSpec = SPEC,
    processes: int = 2,
    *,
    timeout: float = LONG,
    budget: int = 1 << 29,
    memory: int = 8 << 30,
    command: Sequence[str] = (),
) -> dict[int, list[ClipBatch] | VideoError]:
    options = PoolOptions(processes, timeout, budget, memory, command=command or faulty_worker.command())
    inbox: SimpleQueue[Event] = SimpleQueue()
    with pool_of(spec, paths, inbox.put, options):
        return collect(inbox, len(paths))


def children(of: int | None = None, ignored_state: str = "Z") -> list[int]:
    """Direct children of a process; left out are zombies, and multiprocessing's own, which stays once it was needed."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            _, state, parent, *_ = stat.read_text().rpartition(")")[2].split(" ", 3)
            tracker = b"multiprocessing.resource_tracker" in stat.with_name("cmdline").read_bytes()
            if int(parent) == (of or os.getpid()) and state != ignored_state and not tracker:
                found.append(int(stat.parent.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def within(seconds: float, condition: object) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After every test: no process, no open file more than before."""
    before = open_files()
    yield
    assert children() == []
    within(10, lambda: not opened_since(before))  # threads may be about to close theirs
    assert opened_since(before) == []


def among_others(short: Path, folder: Path, name: str) -> list[Path]:
    """A video of some name between two harmless ones."""
    return [Path(shutil.copy(short, folder / name)) for name in ("first.mp4", f"{name}.mp4", "last.mp4")]


CRASHES = {
    "abort_0": ("crashed", "SIGABRT"),
    "killed_0": ("crashed", "SIGKILL"),
    "exit_0": ("crashed", "exit code 7"),
    "raise_0": ("crashed", "ZeroDivisionError"),
    "memory_0": ("out_of_memory", "MemoryError"),
    "talk_0": ("crashed", "ValueError"),
}


@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_fails_one_video(name: str, short: Path, tmp_path: Path) -> None:
    paths = among_others(short, tmp_path, name)
    results = read(paths, processes=1)
    assert same(results[0], expected(short))
    assert same(results[2], expected(short))
    error = results[1]
    kind, words = CRASHES[name]
    assert isinstance(error, VideoError)
    assert (error.where, error.stage, error.kind) == (str(paths[1]), "decode", kind)
    assert words in error.found


@pytest.mark.parametrize("name", ["stop_0", "pause_0", "loop_0", "slow_0"])
def test_a_hang_is_a_timeout(name: str, short: Path, tmp_path: Path) -> None:
    results = read(among_others(short, tmp_path, name), timeout=0.7)
    assert same(results[0], expected(short))
    assert same(results[2], expected(short))
    error = results[1]
    assert isinstance(error, VideoError)
    assert (error.stage, error.kind) == ("decode", "timeout")
    assert "0.7 s" in error.expected
    assert "timeout_seconds" in error.hint


@pytest.mark.parametrize("name", ["abort_0", "stop_0", "memory_0", "abort_2"])
def test_a_second_attempt_succeeds(name: str, short: Path, long: Path, tmp_path: Path) -> None:
    (tmp_path / "once").touch()
    (tmp_path / "only_once").touch()
    late = name.endswith("2")
    source, spec = (long, EVERY_FRAME) if late else (short, SPEC)
    results = read(among_others(source, tmp_path, name), spec, timeout=LONG if late else 1.5)
    assert not (tmp_path / "once").exists()
    assert all(same(results[index], expected(source, spec)) for index in range(3))


def test_a_process_killed_by_someone_else(short: Path, long: Path) -> None:
    """In the middle of a video: a chunk of it has not been released yet."""
    inbox: SimpleQueue[Event] = SimpleQueue()
    options = PoolOptions(1, LONG, 1 << 20, command=worker_command())
    with pool_of(EVERY_FRAME, [long, short], inbox.put, options):
        first = first_chunk(inbox)
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        first.release()
        results = collect(inbox, 2)
    assert same(results[0], expected(long, EVERY_FRAME))
    assert same(results[1], expected(short, EVERY_FRAME))


def test_leaving_in_the_middle_of_a_video_leaves_no_zombie(long: Path) -> None:
    inbox: SimpleQueue[Event] = SimpleQueue()
    with pool_of(EVERY_FRAME, [long, long], inbox.put, PoolOptions(2, LONG, 1 << 20)):
        inbox.get(timeout=LONG)
    assert children(ignored_state="none") == []


def test_a_video_that_shrinks_while_it_is_read(short: Path, long: Path, tmp_path: Path) -> None:
    shrinking = Path(shutil.copy(long, tmp_path / "shrinking.mp4"))
    inbox: SimpleQueue[Event] = SimpleQueue()
    with pool_of(EVERY_FRAME, [shrinking, short], inbox.put, PoolOptions(1, LONG, 1 << 20)):
        first = first_chunk(inbox)
        os.truncate(shrinking, long.stat().st_size // 2)
        first.release()
        results = collect(inbox, 2)
    assert isinstance(results[0], VideoError)
    assert results[0].kind in ("corrupt", "truncated")
    assert same(results[1], expected(short, EVERY_FRAME))


def test_a_real_lack_of_memory(short: Path, tmp_path: Path) -> None:
    whole = PreprocessSpec(SPEC.sampling, ())
    with av.open(str(tmp_path / "large.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 4096, 4096, "yuvj420p"
        for _ in range(6):
            container.mux(stream.encode(av.VideoFrame(4096, 4096, "yuvj420p")))
        container.mux(stream.encode(None))
    results = read([tmp_path / "large.avi", short], whole, processes=1, memory=_memory_of_a_process() + (128 << 20))
    assert isinstance(results[0], VideoError)
    assert results[0].kind == "out_of_memory"
    assert same(results[1], expected(short, whole))


def _memory_of_a_process() -> int:
    """Address space of a process that has read a small video, in bytes."""
    script = "import vidfeat.engine.decode_worker, av, resource; print(open('/proc/self/statm').read().split()[0])"
    pages = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    return int(pages) * resource.getpagesize()


def test_without_shared_memory_the_pixels_still_come(short: Path, long: Path) -> None:
    results = read([short, long], command=faulty_worker.command("RLIMIT_FSIZE"))
    assert same(results[0], expected(short))
    assert same(results[1], expected(long))


def test_a_process_that_never_starts_ends_the_run(short: Path) -> None:
    with pytest.raises(VidfeatError, match="exit code 3") as caught:
        read([short], command=(sys.executable, "-c", "raise SystemExit(3)"))
    assert type(caught.value) is VidfeatError


def test_the_budget_holds_the_readers_back_and_waiting_is_no_timeout(long: Path, short: Path) -> None:
    inbox: SimpleQueue[Event] = SimpleQueue()
    chunk = expected(long, EVERY_FRAME)[0].pixels.nbytes
    with pool_of(EVERY_FRAME, [long], inbox.put, PoolOptions(1, 1.0, chunk // 2)):
        assert isinstance(inbox.get(timeout=LONG), VideoPlanned)
        for first_clip in range(0, 640, 128):
            piece = inbox.get(timeout=LONG)
            assert isinstance(piece, ChunkDecoded)
            assert piece.clips.first_clip == first_clip
            if first_clip < 512:
                with pytest.raises(Empty):
                    inbox.get(timeout=1.2 if first_clip == 0 else 0.1)
                piece.release()
        assert inbox.get(timeout=LONG) == VideoDecoded(0)


def test_two_thousand_failures_leave_nothing_behind(tmp_path: Path) -> None:
    inbox: SimpleQueue[Event] = SimpleQueue()
    paths = [tmp_path / f"{number}.mp4" for number in range(2000)]
    sizes = []
    with pool_of(SPEC, paths, inbox.put, PoolOptions(1)):
        for number, event in enumerate(events(inbox, len(paths))):
            assert isinstance(event, VideoFailed)
            assert event.error.kind == "missing"
            if number in (200, 1900):
                (worker,) = children()
                files = (open_files(worker) + open_files()).total()
                sizes.append((_resident(worker), _resident(os.getpid()), files))
    (worker, own, files), (worker_later, own_later, files_later) = sizes
    assert worker_later - worker < 2 << 20
    assert own_later - own < 4 << 20
    assert files_later == files


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


PARENT = """
import sys
sys.path[:] = {path!r}
from queue import SimpleQueue
import faulty_worker
from test_engine_faults import SPEC, PoolOptions, children, pool_of, first_chunk
from pathlib import Path
inbox = SimpleQueue()
try:
    paths = [Path(name) for name in sys.argv[1:]]
    with pool_of(SPEC, paths, inbox.put, PoolOptions(2, command=faulty_worker.command())):
        inbox.get(), inbox.get(), inbox.get()
        print(*children(), flush=True)
        inbox.get()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture
def parent(short: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process with two decode processes, of which one hangs in native code, and their ids."""
    paths = among_others(short, tmp_path, "pause_0")[:2]
    paths = [paths[0], paths[1]]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(path=sys.path), *map(str, paths)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        workers = [int(word) for word in process.stdout.readline().split()]
        yield process, workers
        process.kill()


def test_no_process_outlives_a_killed_parent(parent: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, workers = parent
    assert workers
    process.kill()
    assert within(5, lambda: not any(map(is_alive, workers)))


def test_ctrl_c_is_for_the_parent_alone(parent: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, workers = parent
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=LONG)
    assert (out, err) == ("interrupted\n", "")
    assert not any(map(is_alive, workers))


@pytest.mark.parametrize(
    ("cores", "device", "processes"),
    [(0, "cpu", 1), (1, "cpu", 1), (3, "cpu", 3), (64, "cpu", 16), (16, "cuda", 16), (96, "cuda", 64)],
)
def test_as_many_processes_as_cores_up_to_an_end(cores: int, device: str, processes: int) -> None:
    assert processes_for(cores, device) == processes


def test_decode_processes_do_not_import_torch() -> None:
    script = "import vidfeat.engine.decode_worker, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
