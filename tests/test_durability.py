"""The real command, killed and starved: nothing finished is lost, nothing is computed twice, nothing is left behind.

VIDFEAT_KILLS says how often it is killed (6 by default), VIDFEAT_FAILURES how many broken videos there are (1000). With
VIDFEAT_SLOW=1 also folders are killed and starved, not only single files.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vidfeat.store.records import Done, read_records

from vidfeat.store import verify

if sys.platform != "linux":
    pytest.skip("looks into /proc", allow_module_level=True)

KILLS = int(os.environ.get("VIDFEAT_KILLS", "6"))
OUTPUTS = ["out.pkl", "out"] if os.environ.get("VIDFEAT_SLOW") else ["out.pkl"]
FAILURES = int(os.environ.get("VIDFEAT_FAILURES", "1000"))
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
    """Keeps every journal of an output readable after it was removed, and so counts what was computed."""

    def __init__(self, out: Path, keep: Path) -> None:
        self._journals = out.with_name(f"{out.name}.journal")
        self._keep = keep
        keep.mkdir()

    def look(self) -> None:
        """A second name for each journal that has none yet."""
        for path in self._journals.glob("*.vfj"):
            try:
                os.link(path, self._keep / str(path.stat().st_ino))
            except (FileExistsError, FileNotFoundError):
                continue

    def done(self) -> Counter[int]:
        """How often each video was committed as done."""
        counts: Counter[int] = Counter()
        for path in self._keep.iterdir():
            with path.open("rb") as file:
                records = read_records(file, 0, size=path.stat().st_size)
                counts.update(record.body.index for record in records if isinstance(record.body, Done))
        return counts


# --- kills ------------------------------------------------------------------------------------------------------------


def moments(chance: random.Random, out: Path, seconds: float) -> Iterator[Callable[[], bool]]:
    """When to kill: at a random time; after a random number of commits; as soon as the output is being written."""
    journals = out.with_name(f"{out.name}.journal")
    while True:
        end = time.monotonic() + chance.random() * seconds
        yield lambda end=end: time.monotonic() >= end
        before = sum(path.stat().st_size for path in journals.glob("*.vfj"))
        more = chance.randrange(1, 3000)
        yield lambda least=before + more: sum(path.stat().st_size for path in journals.glob("*.vfj")) >= least
        end = time.monotonic() + chance.random() * seconds / 4  # Python, torch, the config, the checkpoint
        yield lambda end=end: time.monotonic() >= end
        yield lambda: bool(list(out.parent.glob(".vidfeat-*.tmp")))


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
        witness = Witness(out, tmp_path / f"journals{rounds}")
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
        assert verify(out) == []
        assert set(witness.done().values()) == {1}
        assert len(witness.done()) == CLIPS
        assert "Traceback" not in stderr_of(out, place)
        assert not list(folder.rglob("*.tmp")) + list(folder.rglob(".*"))
        assert list((place / "tmp").iterdir()) == []
        rounds += 1
    if KILLS > 6:
        print(f"\n{name}: {kills} kills in {rounds} runs", end="")


def test_killed_alone_the_command_takes_its_helpers_with_it(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pkl"
    process = start(out, place)
    witness = Witness(out, tmp_path / "journals")
    while not witness.done():
        witness.look()
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
@pytest.mark.parametrize("share", [0.05, 0.5, 0.98] if len(OUTPUTS) > 1 else [0.5])
def test_a_limit_on_file_sizes(name: str, share: float, place: Path, tmp_path: Path) -> None:
    out = tmp_path / name
    limit = int((place / "whole" / f"{name}.manifest.jsonl").stat().st_size * share)

    def starve() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    witness = Witness(out, tmp_path / "journals")
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
    assert set(witness.done().values()) == {1}


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
    journal = tmp_path / "failures.pkl.journal" / "rank-00000.vfj"
    while process.poll() is None:
        if journal.exists():
            samples.append((journal.stat().st_size, *usage_of(in_group(process.pid))))
        time.sleep(0.05)
    assert process.returncode == 3, stderr_of(out, tmp_path / "place")
    lines = [json.loads(line) for line in Path(f"{out}.manifest.jsonl").read_text().splitlines()]
    assert lines[0]["failed"] == FAILURES
    full = max(size for size, *_ in samples)
    # The good video is begun second, and done before the failures are half done.
    early = [sample for sample in samples if 0.45 * full < sample[0] < 0.6 * full]
    late = [sample for sample in samples if 0.8 * full < sample[0] < full]
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
