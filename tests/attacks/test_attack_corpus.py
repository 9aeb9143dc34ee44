"""Hundreds of broken and odd videos: of each either the frames of a plain linear decode, or a typed failure.

About sixty of them here; all with VIDFEAT_SLOW=1. `scripts/make_broken_corpus.py` makes them.
"""

from __future__ import annotations

import collections
import faulthandler
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest

from vidfeat import Extractor
from vidfeat.errors import Kind, VideoError
from vidfeat.mmaction import compile_file
from vidfeat.preprocessing.clips import OnCorrupt, PreprocessSpec, read_clips
from vidfeat.preprocessing.transforms import FrameTransformer
from vidfeat.recipe import Recipe
from vidfeat.store import verify
from vidfeat.video import VideoInfo, probe
from vidfeat.video.probe import to_upright, upright
from vidfeat.videos import VideoRef

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts"))
from make_broken_corpus import Case, make  # noqa: E402

SLOW = bool(os.environ.get("VIDFEAT_SLOW"))
EVERY = 1 if SLOW else 18
SECONDS_PER_VIDEO = 20
CONFIG = REPOSITORY / "examples" / "tiny_slowonly.py"
(CHECKPOINT,) = (REPOSITORY / "examples").glob("*.safetensors")
MUST_WORK = frozenset(
    "variable rate;late start;b-pyramid;open GOP;sound;rotation;odd size;10 bits;full range;grey;interlaced;"
    "other codecs;few frames;packed B-frames".split(";")
)
"""Groups of intact videos: not one of them may fail."""


@dataclass(frozen=True)
class Truth:
    """What the few lines that anybody would write find in a file.

    Attributes:
        frames: uint8 RGB, upright, up to the first error.
        whole: whether the decoder got to the end without an error and without a frame that it marks as damaged.
    """

    frames: list[np.ndarray]
    whole: bool


def linear_decode(path: Path, *, keep: bool = False) -> Truth:
    """`keep` holds on to the decoder's own frames, so that it gets new memory for each."""
    frames: list[np.ndarray] = []
    kept: list[av.VideoFrame] = []
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            stream = container.streams.best("video")
            stream.codec_context.thread_count = 1  # what some decoders make of damage depends on it
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    return Truth(frames, False)
                kept += [frame] * keep
                frames.append(upright(frame.to_ndarray(format="rgb24"), *to_upright(frame)))
    except (av.error.FFmpegError, ValueError, AttributeError):  # not a video, or one without a stream that is known
        return Truth(frames, False)
    return Truth(frames, True)


UNVERIFIED = {
    "GIF": "animation.gif",
    "MPEG-TS": "h264.ts second_h264.ts mpeg2.ts h264.m2ts",
    "MPEG-PS": "mpeg1.mpg mpeg2.mpg",
    "NUT": "h264.nut",
    "DV": "raw.dv",
    "YUV4MPEG": "raw.y4m",
    "streams of a codec without a container": "raw.h263 raw.h264 raw.hevc raw.m1v raw.m2v raw.mjpeg raw.obu",
    "fragmented MP4 without an index": "no_index.mp4",
    "Matroska, WebM, AVI, ASF, FLV, IVF and MXF whose writer did not finish them": (
        "live.mkv live.webm open_mpeg4.avi open_wmv2.wmv live.flv open_vp8.ivf open_mpeg2.mxf"
    ),
    "uncompressed video whose last picture is black": "black.mov",
}
"""What SECURITY.md says of which the length is not verified, and the files of the corpus that are of this kind."""


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:
    folder = tmp_path_factory.mktemp("corpus")
    renderer = REPOSITORY / "examples" / "render_clips.py"
    subprocess.run([sys.executable, renderer, folder / "clips", "2"], check=True, capture_output=True)
    clips = sorted((folder / "clips").rglob("*.mp4"))
    cases = make(folder / "broken", folder / "intact", clips, every=EVERY)
    return folder / "broken", cases


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return compile_file(CONFIG)


@pytest.fixture
def patience() -> Iterator[None]:
    """A hang inside a decoder cannot be interrupted: it ends the test run, and names the place."""
    faulthandler.dump_traceback_later(1800 if SLOW else 300, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def problem_of(path: Path, recipe: Recipe, intact: int | None = None) -> tuple[str, str]:
    """What is wrong with how a file was read, or "", and the outcome in a word.

    With `intact` it is a part of a video of so many frames: either all of them are there, or its length is unverified.

    `undefined` is said of files of which FFmpeg itself makes different frames from one time to the next.
    """
    start = time.monotonic()
    infos: list[VideoInfo] = []
    try:
        *_, (_, batch) = read_clips(
            [PreprocessSpec.of(recipe)],
            VideoRef(path.name, str(path)),
            sys.maxsize,
            on_plan=lambda info, plans: infos.append(info),
        )
    except VideoError as error:
        complete = error.kind in get_args(Kind) and error.where == str(path) and "found" in str(error)
        return ("" if complete else f"an error without its cause: {error}"), error.kind
    if time.monotonic() - start > SECONDS_PER_VIDEO:
        return "too slow", "done"
    truth = linear_decode(path)
    frames = infos[-1].frames
    if intact is not None and frames < intact and infos[-1].length_verified:
        return f"{frames} of {intact} frames, taken for all of them", "done"
    if truth.whole and frames != len(truth.frames):
        return f"{frames} frames instead of {len(truth.frames)}", "done"
    if len(infos[-1].timeline) != frames or (np.diff(infos[-1].timeline.pts_seconds) <= 0).any():
        return "times that do not rise", "done"
    wanted = np.unique(recipe.sampling.frame_index(frames))
    if wanted[-1] >= len(truth.frames):
        return f"frame {wanted[-1]} of {len(truth.frames)}, whole: {truth.whole}", "done"
    transform = FrameTransformer(recipe.transforms)
    for pixels, index in zip(batch.pixels, wanted, strict=True):
        if not np.array_equal(pixels, transform(truth.frames[index], where=str(path))):
            again = linear_decode(path, keep=True)
            if np.array_equal(again.frames[index], truth.frames[index]):
                return f"frame {index} differs", "done"
            return "", "undefined"
    return "", "done"


def test_each_gives_the_right_frames_or_a_typed_failure(
    corpus: tuple[Path, list[Case]], recipe: Recipe, patience: None, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, cases = corpus
    problems, outcomes = {}, collections.defaultdict(collections.Counter)
    descriptors = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0  # noqa: PTH208
    for case in cases:
        problem, outcome = problem_of(folder / case.name, recipe, case.frames)
        if not problem and outcome != "done" and case.group in MUST_WORK and "x1." not in case.name:
            problem = f"an intact video is {outcome}"
        if problem:
            problems[case.name] = problem
        outcomes[case.group][outcome] += 1
    noise = capfd.readouterr()
    if SLOW:
        with capfd.disabled():
            for group, counts in outcomes.items():
                print(f"\n{group}: {dict(counts)}", end="")
    assert not problems
    # FFmpeg's VP8 decoder leaves a part of a damaged picture uninitialised, without an error.
    assert sum(counts["undefined"] for counts in outcomes.values()) <= len(cases) // 200
    assert (noise.out, noise.err) == ("", "")
    assert len(cases) >= (500 if SLOW else 50)
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208


def test_security_names_the_videos_of_unverified_length(corpus: tuple[Path, list[Case]]) -> None:
    """The list is exact: intact files of these kinds are unverified, and those of all others are verified."""
    sentence = (REPOSITORY / "SECURITY.md").read_text().partition("`length_verified`:")[2].partition(".")[0]
    assert [" ".join(kind.split()) for kind in sentence.split(";")] == list(UNVERIFIED)
    infos = {path.name: probe(path) for path in (corpus[0].parent / "intact").iterdir()}
    unverified = {name for name, info in infos.items() if not info.length_verified}
    assert unverified == set(" ".join(UNVERIFIED.values()).split())
    assert len(infos) - len(unverified) > 25


def test_the_manifest_says_that_a_length_is_unverified(corpus: tuple[Path, list[Case]], tmp_path: Path) -> None:
    intact = corpus[0].parent / "intact"
    files = [Case(name, "", lambda path: None) for name in ("h264.mp4", "h264.ts")]
    done, out = extract(intact, files, tmp_path, "fail")
    assert done.returncode == 0, done.stderr
    assert [video["info"]["length_verified"] for video in manifest(out)] == [True, False]


@pytest.fixture(scope="session")
def strict_run(corpus: tuple[Path, list[Case]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the command over the whole corpus."""
    folder, cases = corpus
    done, out = extract(folder, cases, tmp_path_factory.mktemp("strict"), "fail")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    return out


def test_the_command_gets_through_all_of_them(corpus: tuple[Path, list[Case]], strict_run: Path) -> None:
    folder, cases = corpus
    out = strict_run
    videos = manifest(out)
    assert [video["name"] for video in videos] == [case.name for case in cases]
    assert verify(out) == []
    rows = pickle.loads(out.read_bytes())
    with Extractor(CONFIG, checkpoint=CHECKPOINT, device="cpu", threads=1) as extractor:
        for video, row in zip(videos, rows, strict=True):
            assert (row is None) == (video["status"] == "failed") == (video["error"] is not None)
            expected = outcome_alone(extractor, folder / video["name"], "fail")
            assert (video["error"] or {}).get("kind") == (expected if isinstance(expected, str) else None), video
            assert isinstance(expected, str) or row.tobytes() == expected.tobytes(), video


def test_salvage_loses_nothing_and_marks_what_it_saves(
    corpus: tuple[Path, list[Case]], strict_run: Path, tmp_path: Path
) -> None:
    folder, cases = corpus
    out = strict_run
    done, saved = extract(folder, cases, tmp_path, "salvage")
    assert done.returncode == 3, done.stderr
    rows, saved_rows = pickle.loads(out.read_bytes()), pickle.loads(saved.read_bytes())
    salvaged = 0
    for strict, lax, row, saved_row in zip(manifest(out), manifest(saved), rows, saved_rows, strict=True):
        if strict["status"] == "done":
            assert lax == strict
            assert row.tobytes() == saved_row.tobytes()
        elif lax["status"] == "done":
            salvaged += 1
            assert f"{lax['name']}: broken, and salvaged" in done.stderr
            assert strict["error"]["kind"] in ("truncated", "corrupt")
            assert (lax["salvaged"], lax["frames"] > 0) == (True, True)
            assert np.isfinite(saved_row).all()
        else:
            assert lax["error"]["kind"] == strict["error"]["kind"]
    assert salvaged > len(cases) // 10
    assert verify(saved) == []


def outcome_alone(extractor: Extractor, path: Path, on_corrupt: OnCorrupt) -> str | np.ndarray:
    """The features of one video in this process, or the kind of its failure."""
    try:
        return extractor.extract(path, on_corrupt=on_corrupt).values
    except VideoError as error:
        return error.kind


def extract(
    folder: Path, cases: list[Case], where: Path, on_corrupt: str
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run the command in a session of its own, with nothing left over afterwards: no process, no temporary file."""
    (where / "tmp").mkdir()
    listed = where / "list.txt"
    listed.write_text("".join(f"{case.name}\n" for case in cases))
    out = where / "out.pkl"
    command = [
        *(sys.executable, "-m", "vidfeat", "extract", CONFIG, "--checkpoint", CHECKPOINT, "-o", out, "-q"),
        *("--video-list", listed, "--video-root", folder, "--on-corrupt", on_corrupt, "--device", "cpu"),
    ]
    environment = {**os.environ, "TMPDIR": str(where / "tmp"), "VIDFEAT_TEST_RUN": str(where)}
    done = subprocess.run(
        list(map(str, command)),
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800 if SLOW else 300,
        check=False,
        start_new_session=True,
    )
    assert processes_with(f"VIDFEAT_TEST_RUN={where}") == []
    assert list((where / "tmp").iterdir()) == []
    left = {"tmp", "list.txt", "out.pkl", "out.pkl.manifest.jsonl", "out.pkl.journal"}
    assert {path.name for path in where.iterdir()} <= left, done.stderr
    return done, out


def processes_with(variable: str) -> list[str]:
    """The processes, zombies aside, that were started with an environment variable; Linux only."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if variable.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().decode())
        except OSError:  # gone meanwhile, or another user's
            continue
    return found


def manifest(out: Path) -> list[dict]:
    return [json.loads(line) for line in Path(f"{out}.manifest.jsonl").read_text().splitlines()][1:]


def test_the_shared_odd_videos(shared: Path, recipe: Recipe) -> None:
    problems = {}
    for path in sorted((shared / "videos" / "edge").iterdir()):
        problem, _ = problem_of(path, recipe)
        if problem:
            problems[path.name] = problem
    assert not problems
