"""Jobs that are run: what is computed, what is kept, and what is said, from Python."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vidfeat
from video.video_files import cut, write_video
from vidfeat import (
    Encoder,
    Extractor,
    Job,
    UsageError,
    VideoError,
    VideoFailure,
    VideoFeatures,
    VideoRef,
    load,
    run,
    stream,
    verify,
)
from vidfeat.execution import LocalExecutor, worker_for


@pytest.fixture(scope="module")
def tiny(repository: Path) -> Encoder:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    return vidfeat.encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("a.mp4", "b.mp4", "more/c.mp4")):
        write_video(folder / name, frames=20 + number, size=(96, 72))
    return folder


@pytest.mark.parametrize(
    "name", ["features.pkl", "features.json", "features.yaml", "features.npz", "features.h5", "out"]
)
def test_every_format_from_python(name: str, tiny: Encoder, videos: Path, tmp_path: Path) -> None:
    job = Job(videos=videos, encoders=tiny, out=tmp_path / name)
    summary = run(job, quiet=True)
    assert summary is not None
    assert (summary.videos, summary.computed, summary.kept, summary.failed) == (3, 3, 0, 0)
    stored = load(tmp_path / name)
    assert list(stored) == ["a.mp4", "b.mp4", "more/c.mp4"]
    with Extractor(tiny) as extractor:
        for key, features in stored.items():
            alone = extractor.extract(videos / key)
            assert np.asarray(features).tobytes() == np.asarray(alone).tobytes()
            assert features.info is not None
            assert alone.info is not None
            assert (features.info.frames, features.info.fps) == (alone.info.frames, alone.info.fps)
    assert verify(tmp_path / name) == []
    again = run(job, quiet=True)
    assert again is not None
    assert (again.videos, again.computed, again.kept, again.failed) == (3, 0, 3, 0)


def test_a_stream_writes_nothing(tiny: Encoder, videos: Path, tmp_path: Path) -> None:
    (videos / "broken.mp4").write_bytes(b"no video")
    before = sorted(tmp_path.rglob("*"))
    found = {outcome.key: outcome for outcome in stream(Job(videos=videos, encoders=tiny))}
    assert sorted(tmp_path.rglob("*")) == before
    assert isinstance(found.pop("broken.mp4"), VideoFailure)
    assert all(isinstance(outcome, VideoFeatures) for outcome in found.values())
    assert len(found) == 3


def test_a_list_may_grow_shrink_and_be_reordered(
    tiny: Encoder, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "features.pkl"
    names = [videos / "a.mp4", videos / "b.mp4"]
    run(Job(videos=names, encoders=tiny, out=out), quiet=True)
    grown = run(Job(videos=[videos / "more/c.mp4", *names], encoders=tiny, out=out))
    assert grown is not None
    assert (grown.computed, grown.kept) == (1, 2)
    assert "1 video" in capsys.readouterr().err
    assert list(load(out)) == ["c.mp4", "a.mp4", "b.mp4"]
    shrunk = run(Job(videos=[videos / "b.mp4"], encoders=tiny, out=out), quiet=True)
    assert shrunk is not None
    assert (shrunk.videos, shrunk.computed, shrunk.kept) == (1, 0, 1)
    assert list(load(out)) == ["b.mp4"]


def test_a_replaced_file_is_computed_again_and_reported(
    tiny: Encoder, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(videos=videos, encoders=tiny, out=tmp_path / "features.npz")
    run(job, quiet=True)
    before = {key: features.values for key, features in load(tmp_path / "features.npz").items()}
    write_video(videos / "a.mp4", frames=40, size=(96, 72))
    summary = run(job)
    assert summary is not None
    assert (summary.computed, summary.kept) == (1, 2)
    assert re.search(r"1 video.* changed", capsys.readouterr().err)
    after = load(tmp_path / "features.npz")
    assert not np.array_equal(after["a.mp4"].values, before["a.mp4"])
    assert np.array_equal(after["b.mp4"].values, before["b.mp4"])


def test_another_precision_is_computed_again_and_reported(
    tiny: Encoder, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "features.npz"
    run(Job(videos=videos, encoders=tiny, out=out), quiet=True)
    summary = run(Job(videos=videos, encoders=tiny, out=out, precision="bf16"))
    assert summary is not None
    assert (summary.computed, summary.kept) == (3, 0)
    assert "precision" in capsys.readouterr().err


def test_several_encoders_write_an_output_each(tiny: Encoder, videos: Path, repository: Path, tmp_path: Path) -> None:
    import dataclasses

    other = dataclasses.replace(tiny, name="other")  # type: ignore[type-var]
    summary = run(Job(videos=videos, encoders=[tiny, other], out=tmp_path / "f-{encoder}.npz"), quiet=True)
    assert summary is not None
    assert (summary.videos, summary.computed) == (6, 6)
    (tmp_path / "f-other.npz").unlink()
    (tmp_path / "f-other.npz.manifest.jsonl").unlink()
    again = run(Job(videos=videos, encoders=[tiny, other], out=tmp_path / "f-{encoder}.npz"), quiet=True)
    assert again is not None
    assert (again.computed, again.kept) == (3, 3)
    both = [load(tmp_path / f"f-{name}.npz") for name in (tiny.name, "other")]
    assert all(both[0][key].values.tobytes() == both[1][key].values.tobytes() for key in both[0])


def test_the_first_failure_of_the_list_ends_a_run_that_is_to_fail(tiny: Encoder, videos: Path, tmp_path: Path) -> None:
    broken = [cut(videos / "a.mp4", tmp_path / f"{number}.mp4", 0.5) for number in range(4)]
    job = Job(videos=[videos / "b.mp4", *broken], encoders=tiny, out=tmp_path / "out", on_error="fail")
    with pytest.raises(VideoError, match=r"/0\.mp4"):
        run(job, quiet=True)
    assert list(load(tmp_path / "out")) == ["b.mp4"]


def test_a_name_that_the_file_system_cannot_take_fails_that_video_alone(
    tiny: Encoder, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refs = [VideoRef("a.mp4", str(videos / "a.mp4")), VideoRef("x" * 300 + ".mp4", str(videos / "b.mp4"))]
    summary = run(Job(videos=refs, encoders=tiny, out=tmp_path / "out"))
    assert summary is not None
    assert (summary.computed, summary.failed) == (1, 1)
    assert "1 of 2 videos" in capsys.readouterr().err
    assert [failure.error.stage for failure in load(tmp_path / "out").failures.values()] == ["write"]
    with pytest.raises(VideoError, match="xxx"):
        run(Job(videos=refs, encoders=tiny, out=tmp_path / "other", on_error="fail"), quiet=True)


def test_a_segment_outside_of_its_video_is_refused_before_any_work(tiny: Encoder, videos: Path, tmp_path: Path) -> None:
    inside = VideoRef("inside", str(videos / "a.mp4"), segment=(0.2, 0.6))
    for segment in ((5.0, 6.0), (0.5, 0.5), (-2.0, 0.5)):
        outside = VideoRef("outside", str(videos / "a.mp4"), segment=segment)
        with pytest.raises(UsageError, match="segment of 'outside'"):
            run(Job(videos=[inside, outside], encoders=tiny, out=tmp_path / "out"), quiet=True)
    assert not (tmp_path / "out").exists()
    summary = run(Job(videos=inside, encoders=tiny, out=tmp_path / "out"), quiet=True)
    assert summary is not None
    assert summary.failed == 0


def test_a_flag_of_the_backend_holds_for_the_whole_output(tiny: Encoder, videos: Path, tmp_path: Path) -> None:
    (videos / "broken.mp4").write_bytes(b"no video")  # so that the output is not finished
    run(Job(videos=videos, encoders=tiny, out=tmp_path / "out", compiled=False), quiet=True)
    with pytest.raises(UsageError) as caught:
        run(Job(videos=videos, encoders=tiny, out=tmp_path / "out", compiled=True), quiet=True, retry_failed=True)
    assert caught.value.where == "compiled"


def test_probed_videos_are_those_that_open(videos: Path) -> None:
    (videos / "broken.mp4").write_bytes(b"no video")
    found = {probed.video.key: probed for probed in vidfeat.probe_all(vidfeat.videos.expand(str(videos)))}
    assert found["broken.mp4"].error is not None
    assert [found[name].info.frames for name in ("a.mp4", "b.mp4")] == [20, 21]  # type: ignore[union-attr]


FIELD = "    sample_aspect: str = 'unknown'\n"


def test_a_field_of_video_info_is_added_where_it_is_defined_and_where_it_is_set(
    repository: Path, videos: Path, tmp_path: Path
) -> None:
    """In a copy of the sources: it then travels from the decode process into the manifest and back."""
    source = tmp_path / "src"
    shutil.copytree(repository / "src", source)
    replace(source / "vidfeat/video/info.py", "    frames_declared: int | None = None\n", "{}" + FIELD)
    replace(source / "vidfeat/video/probe.py", "        rotation=turns * 90,\n", "{}        sample_aspect='1:1',\n")
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    script = (
        "import sys, vidfeat\n"
        "config, checkpoint, videos, out = sys.argv[1:]\n"
        "encoder = vidfeat.encoder(config, checkpoint=checkpoint)\n"
        "vidfeat.run(vidfeat.Job(videos=videos, encoders=encoder, out=out), quiet=True)\n"
        "print({features.info.sample_aspect for features in vidfeat.load(out).values()})\n"
    )
    arguments = [repository / "examples/tiny_slowonly.py", checkpoint, videos, tmp_path / "out.npz"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("{'1:1'}\n", "")
    assert '"sample_aspect": "1:1"' in (tmp_path / "out.npz.manifest.jsonl").read_text()


def replace(path: Path, text: str, by: str) -> None:
    before = path.read_text()
    assert before.count(text) == 1
    path.write_text(before.replace(text, by.format(text)))


def test_an_executor_may_be_given_a_worker(tiny: Encoder, videos: Path, tmp_path: Path) -> None:
    job = Job(videos=videos, encoders=tiny, device="cpu")
    expected = {outcome.key: np.asarray(outcome).tobytes() for outcome in stream(job)}
    with worker_for(job, videos_ahead=1) as worker:
        executor = LocalExecutor(worker)
        found = {outcome.key: np.asarray(outcome).tobytes() for outcome in stream(job, executor=executor)}
        networks = worker.runners
        summary = run(dataclasses.replace(job, out=tmp_path / "features.npz"), executor=executor, quiet=True)
        assert worker.runners is networks
        with pytest.raises(UsageError, match="executor: expected a worker with the encoders and options of the job"):
            list(stream(dataclasses.replace(job, precision="bf16"), executor=executor))
    assert found == expected
    assert summary is not None
    assert summary.computed == 3
    assert {key: np.asarray(one).tobytes() for key, one in load(tmp_path / "features.npz").items()} == expected


def test_the_backend_of_a_worker_is_that_of_the_run(tiny: Encoder, videos: Path) -> None:
    job = Job(videos=videos, encoders=tiny, device="cpu")
    proposed: list[tuple[int, str | None]] = []
    with worker_for(job) as worker:
        worker.pin(lambda position, proposal: proposed.append((position, proposal)))
        assert proposed == []  # nothing is selected yet
        for _ in stream(job, executor=LocalExecutor(worker)):
            pass
        assert worker.runners[0][0].backend == "eager"
        with pytest.raises(UsageError, match="compiled: expected the backend that the run was started with: compiled"):
            worker.pin(lambda position, proposal: proposed.append((position, proposal)) or "compiled")
    assert proposed == [(0, "eager")]
