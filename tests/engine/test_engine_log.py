"""What a run shows and logs while a long video is under way."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import vidfeat
from video.video_files import write_video
from vidfeat.engine import progress
from vidfeat.preprocessing.sampling import WindowSampling


@pytest.fixture
def job(repository: Path, tmp_path: Path) -> vidfeat.Job:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    encoder = vidfeat.encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "long.mp4", frames=1500)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"")
    return vidfeat.Job(
        videos=tmp_path / "videos",
        encoders=encoder,
        out=tmp_path / "out.npz",
        grid=WindowSampling(clip_len=8, clip_interval=8),
        pooling=vidfeat.Pooling(views="per_clip"),
        device="cpu",
    )


@pytest.mark.parametrize("quiet", [False, True])
def test_a_long_video_shows_how_far_it_is(
    quiet: bool,
    job: vidfeat.Job,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY_SECONDS", 0.0)
    vidfeat.run(job, quiet=quiet, verbose=True, log_json=tmp_path / "log.jsonl")
    lines = capsys.readouterr().err
    shown = [float(seconds) for seconds in re.findall(r"long\.mp4: (\d+) of 60 s", lines)]
    assert (len(set(shown)) > 3, "long.mp4: 187 x 32 numbers" in lines) == (not quiet, not quiet)
    assert "broken.mp4: expected" in lines

    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events if event["event"] in ("start", "end")] == ["start", "end"]
    assert events[-1].items() >= {"event": "end", "done": 2, "videos": 2, "failed": 1, "error": None}.items()
    videos = {event["key"]: event for event in events if event["event"] == "video"}
    assert (videos["long.mp4"]["status"], videos["long.mp4"]["shape"]) == ("done", [187, 32])
    assert videos["long.mp4"]["encoder"] == "tiny_slowonly"
    assert (videos["broken.mp4"]["status"], videos["broken.mp4"]["error"]["kind"]) == ("failed", "empty")
    footage = [event["longest"] for event in events if event["event"] == "progress" and event["longest"]]
    seconds = [one["seconds"] for one in footage if one["key"] == "long.mp4"]
    assert seconds == sorted(seconds)
    assert len(set(seconds)) > 3
    assert {one["of_seconds"] for one in footage if one["key"] == "long.mp4"} == {60.0}
    assert 0 <= seconds[0] < seconds[-1] <= 60.0
    documented = set(re.findall(r"`(\w+)`", (repository / "docs" / "log.md").read_text()))
    assert {key for event in events for key in (*event, *(event.get("error") or ()))} <= documented


def test_what_ended_a_run_is_logged(job: vidfeat.Job, tmp_path: Path) -> None:
    failing = vidfeat.Job(**{**vars(job), "on_error": "fail", "videos": [str(tmp_path / "videos" / "broken.mp4")]})
    with pytest.raises(vidfeat.VideoError):
        vidfeat.run(failing, quiet=True, log_json=tmp_path / "log.jsonl")
    end = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert end["error"].startswith("VideoError: ")


def test_a_log_that_cannot_be_written_is_refused(job: vidfeat.Job, tmp_path: Path) -> None:
    with pytest.raises(
        vidfeat.UsageError, match=r"log_json: expected a file that can be written; found .*No such file"
    ):
        vidfeat.run(job, quiet=True, log_json=tmp_path / "absent" / "log.jsonl")
