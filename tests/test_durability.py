"""The real command, killed and starved: nothing finished is lost, nothing is computed twice, nothing is left behind.

VIDFEAT_KILLS says how often it is killed (6 by default), VIDFEAT_FAILURES how many broken videos there are (1000). With
VIDFEAT_SLOW=1 also folders are killed and starved, not only single files.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vidfeat.store import verify
from vidfeat.store.files import RunFiles

if sys.platform != "linux":
    pytest.skip("looks into /proc", allow_module_level=True)

KILLS = int(os.environ.get("VIDFEAT_KILLS", "6"))
OUTPUTS = ["out.pkl", "out"] if os.environ.get("VIDFEAT_SLOW") else ["out.pkl"]
FAILURES = int(os.environ.get("VIDFEAT_FAILURES", "1000"))
NUMERICS = {"backend", "samples_per_batch", "cosine_to_fp32"}
CLIPS = 30
BROKEN = "clips/broken.mp4"


@pytest.fixture(scope="session")
def place(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with thirty rendered clips, one broken file among them, and an uninterrupted run's output."""
    folder = tmp_path_factory.mktemp("durability")
    renderer = repository / "examples" / "render_clips.py"
    subprocess.run([sys.executable, renderer, folder / "clips", str(CLIPS)], check=True, capture_output=True)
    (folder / BROKEN).write_bytes((folder / "clips" / "slide" / "000.mp4").read_bytes()[:20_000])
    (folder / "whole").mkdir()
    for name in OUTPUTS:
        assert start(folder / "whole" / name, folder).wait(300) == 3
    return folder


def start(out: Path, place: Path, **options: object) -> subprocess.Popen[bytes]:
    """`vidfeat extract` over the clips, in a process group of its own; stderr goes to a file beside OUT."""
    repository = Path(__file__).resolve().parents[1]
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    temporary = place / "tmp"
    temporary.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "vidfeat", "extract", repository / "examples" / "tiny_slowonly.py"]
    command += [place / "clips", "--checkpoint", checkpoint, "-o", out, "--device", "cpu"]
    with (place / f"{out.parent.name}-{out.name}.stderr").open("ab") as errors:
        return subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "TMPDIR": str(temporary), "VIDFEAT_TEST_PLACE": str(place)},
            start_new_session=True,
            **options,  # type: ignore[call-overload]
        )


def stderr_of(out: Path, place: Path) -> str:
    return (place / f"{out.parent.name}-{out.name}.stderr").read_text()


def in_group(group: int) -> list[int]:
    """Living processes of a process group; the dead that nobody waited for do not count."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, leader = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # gone meanwhile
            continue
        if int(leader) == group and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def files_of(out: Path) -> dict[str, bytes]:
    """The output and its manifest, whatever else is in the folder."""
    there = [out, *out.rglob("*"), out.with_name(f"{out.name}.manifest.jsonl")]
    return {path.relative_to(out.parent).as_posix(): path.read_bytes() for path in there if path.is_file()}


class Witness:
    """Keeps the database of an output readable after it was removed, and so counts what was computed."""

    def __init__(self, out: Path, keep: Path) -> None:
        self._database = RunFiles(out).database(0)
        self._keep = keep
        keep.mkdir()

    def look(self) -> None:
        """A second name for each database that has none yet."""
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.link(self._database, self._keep / str(self._database.stat().st_ino))

    def committed(self) -> list[tuple[int, int, int]]:
        """Of each database: commits of videos, videos, and those that are done. To be asked when no process runs."""
        counts = []
        for path in self._keep.iterdir():
            with contextlib.closing(sqlite3.connect(path)) as connection:
                if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    continue  # of a process that could not even begin it
                (commits,) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'videos'").fetchone()
                statuses = [status for (status,) in connection.execute("SELECT status FROM videos")]
            counts.append((commits, len(statuses), statuses.count("done")))
        return counts


# --- kills ------------------------------------------------------------------------------------------------------------


def moments(chance: random.Random, out: Path, seconds: float) -> Iterator[Callable[[], bool]]:
    """When to kill: at a random time; after a random number of commits; as soon as the output is being written."""
    database = RunFiles(out).database(0)
    while True:
        end = time.monotonic() + chance.random() * seconds
        yield lambda end=end: time.monotonic() >= end
        least = size_of(database) + chance.randrange(1, 20_000)
        yield lambda least=least: size_of(database) >= least
        end = time.monotonic() + chance.random() * seconds / 4  # Python, torch, the config, the checkpoint
        yield lambda end=end: time.monotonic() >= end
        yield lambda: bool(list(out.parent.glob(".vidfeat-*.tmp")))


def size_of(path: Path) -> int:
    """In bytes; 0 where there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def kill_at(process: subprocess.Popen[bytes], due: Callable[[], bool], witness: Witness) -> bool:
    """SIGKILL to the whole group when it is due; False if the process ended before."""
    while process.poll() is None:
        witness.look()
        if due():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)
            break
        time.sleep(0.001)
    for _ in range(100):
        if not in_group(process.pid):
            return process.returncode == -signal.SIGKILL
        time.sleep(0.05)
    raise AssertionError(f"left behind: {in_group(process.pid)}")


@pytest.mark.parametrize("name", OUTPUTS)
def test_killed_at_random_moments_the_run_goes_on_to_the_same_bits(name: str, place: Path, tmp_path: Path) -> None:
    chance = random.Random(name)
    kills = rounds = 0
    while kills < KILLS / len(OUTPUTS):
        folder = tmp_path / str(rounds)
        folder.mkdir()
        out = folder / name
        witness = Witness(out, tmp_path / f"databases{rounds}")
        begin = time.monotonic()
        due = moments(chance, out, 8.0)
        while True:
            process = start(out, place)
            if not kill_at(process, next(due), witness):
                break
            kills += 1
            assert time.monotonic() - begin < 900
        assert process.returncode == 3, stderr_of(out, place)
        assert files_of(out) == files_of(place / "whole" / name)
        header = json.loads(files_of(out)[f"{name}.manifest.jsonl"].partition(b"\n")[0])
        assert [set(session["numerics"]) for session in header["sessions"]] == [NUMERICS]
        assert verify(out) == []
        assert witness.committed() == [(CLIPS + 1, CLIPS + 1, CLIPS)]  # each once
        assert not RunFiles(out).folder.exists()
        assert "Traceback" not in stderr_of(out, place)
        assert not list(folder.rglob("*.tmp")) + list(folder.rglob(".*"))
        assert list((place / "tmp").iterdir()) == []
        rounds += 1
    if KILLS > 6:
        print(f"\n{name}: {kills} kills in {rounds} runs", end="")


def test_killed_alone_the_command_takes_its_helpers_with_it(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pkl"
    process = start(out, place)
    while not size_of(RunFiles(out).database(0)):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    for _ in range(200):
        if not in_group(process.pid):
            break
        time.sleep(0.05)
    assert in_group(process.pid) == []


# --- a disk that takes no more ----------------------------------------------------------------------------------------


def assert_refused_and_resumable(out: Path, place: Path, failed: int) -> None:
    """The first run ended with the code of a write error and one message; the next one goes on."""
    assert failed == 4, stderr_of(out, place)
    (message,) = [line for line in stderr_of(out, place).splitlines() if line.startswith("vidfeat: error:")]
    assert "Free space" in message
    assert "Traceback" not in stderr_of(out, place)
    assert not list(out.parent.rglob("*.tmp"))


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("share", [0.05, 1.0, 2.0] if len(OUTPUTS) > 1 else [2.0])
def test_a_limit_on_file_sizes(name: str, share: float, place: Path, tmp_path: Path) -> None:
    out = tmp_path / name
    limit = int((place / "whole" / f"{name}.manifest.jsonl").stat().st_size * share)

    def starve() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    witness = Witness(out, tmp_path / "databases")
    process = start(out, place, preexec_fn=starve)
    while process.poll() is None:
        witness.look()
        time.sleep(0.002)
    assert_refused_and_resumable(out, place, process.returncode)
    process = start(out, place)
    while process.poll() is None:
        witness.look()
        time.sleep(0.002)
    assert process.returncode == 3
    assert files_of(out) == files_of(place / "whole" / name)
    assert witness.committed() == [(CLIPS + 1, CLIPS + 1, CLIPS)]


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_full_disk(name: str, place: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20k", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("may not mount a small file system")
    try:
        out = disk / name
        assert_refused_and_resumable(out, place, start(out, place).wait(300))
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True, capture_output=True)
        assert start(out, place).wait(300) == 3
        assert files_of(out) == files_of(place / "whole" / name)
        assert verify(out) == []
    finally:
        subprocess.run(["umount", disk], check=True, capture_output=True)


# --- many failures ----------------------------------------------------------------------------------------------------


def test_memory_and_open_files_stay_flat_over_many_failures(place: Path, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    good = (place / "clips" / "slide" / "000.mp4").read_bytes()
    contents = [b"", b"words\n" * 50, good[:20_000], b"#EXTM3U\n#EXTINF:1,\na.ts\n", good[:40] + bytes(900), good[:-9]]
    for number, content in enumerate(contents):
        (sources / str(number)).write_bytes(content)
    clips = tmp_path / "place" / "clips"
    clips.mkdir(parents=True)
    (clips / "000000.mp4").write_bytes(good)  # the longest: soon, so that the network's own memory is there
    for number in range(1, FAILURES + 1):
        os.link(sources / str(number % len(contents)), clips / f"{number:06d}.mp4")
    out = tmp_path / "failures.pkl"
    process = start(out, tmp_path / "place")
    samples = []
    database = RunFiles(out).database(0)
    while process.poll() is None:
        if size_of(database):
            samples.append((size_of(database), *usage_of(in_group(process.pid))))
        time.sleep(0.01)
    assert process.returncode == 3, stderr_of(out, tmp_path / "place")
    lines = [json.loads(line) for line in Path(f"{out}.manifest.jsonl").read_text().splitlines()]
    assert lines[0]["failed"] == FAILURES
    full = max(size for size, *_ in samples)
    # The good video is begun second, and done before the failures are half done.
    early = [sample for sample in samples if 0.4 * full < sample[0] < 0.65 * full]
    late = [sample for sample in samples if 0.75 * full < sample[0] < full]
    assert early
    assert late
    grown_kib = max(kib for _, kib, _ in late) - max(kib for _, kib, _ in early)
    more_files = max(files for *_, files in late) - max(files for *_, files in early)
    if FAILURES > 1000:
        print(f"\n{max(kib for _, kib, _ in late)} KiB, {grown_kib:+} KiB, {more_files:+} files", end="")
    assert grown_kib < 8_000
    assert more_files <= 2


def usage_of(processes: list[int]) -> tuple[int, int]:
    """Their own resident memory in KiB, pages of files and shared ones left out, and their open files."""
    kib = files = 0
    for process in processes:
        try:
            status = Path(f"/proc/{process}/status").read_text()
            files += len(list(Path(f"/proc/{process}/fd").iterdir()))
        except OSError:  # gone meanwhile
            continue
        kib += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:"))
    return kib, files
