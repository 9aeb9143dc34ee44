"""The time of every frame, against the times that PyAV's own linear decode gives."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from video.video_files import write_video
from vidfeat.video import FrameCountError, VideoInfo, decode, probe, recount, salvage, with_exact_frames

SHARED = Path(os.environ.get("VIDFEAT_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
REAL = sorted(p for p in (SHARED / "videos").glob("*/*") if p.suffix != ".md" and p.stem != "corrupted")

STREAMS: dict[str, tuple[str, dict[str, object]]] = {
    "constant.mp4": ("libx264", {}),
    "b_frames.mp4": ("libx264", {"options": {"bf": "3", "g": "8"}}),
    "hevc.mkv": ("libx265", {"options": {"x265-params": "log-level=none:keyint=8"}}),
    "vp9.webm": ("libvpx-vp9", {"options": {"cpu-used": "8", "g": "10"}}),
    "vp8.webm": ("libvpx", {"options": {"auto-alt-ref": "1", "lag-in-frames": "16"}}),
    "uneven.mp4": ("libx264", {"ticks": np.cumsum([1, 3, 2, 5, 1] * 6).tolist(), "options": {"bf": "2", "g": "8"}}),
    "uneven.mkv": ("libx264", {"ticks": np.cumsum([1, 3, 2, 5, 1] * 6).tolist()}),
    "late.mkv": ("libx264", {"ticks": list(range(250, 280)), "options": {"bf": "2"}}),
    "late.mp4": ("libx264", {"ticks": list(range(250, 280)), "options": {"bf": "2"}}),
    "a.ts": ("libx264", {"options": {"bf": "2"}}),
    "a.mpg": ("mpeg2video", {"options": {"bf": "2"}}),
    "a.flv": ("libx264", {"options": {"bf": "2"}}),
    "mpeg4.mp4": ("mpeg4", {"options": {"bf": "2"}}),
    "a.gif": ("gif", {"pix_fmt": "rgb8"}),
}


def plain_times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        return [float(frame.pts * stream.time_base) for frame in container.decode(stream)]


def assert_times(info: VideoInfo, times: list[float]) -> None:
    """Of all frames, and of some, which are decoded in different ways."""
    assert len(times) == info.frames == len(info.timeline)
    assert np.diff(info.timeline.pts_seconds).min(initial=1) > 0
    np.testing.assert_allclose(info.timeline.pts_seconds, times, rtol=0, atol=1e-9)
    last = info.frames - 1
    for wanted in (range(info.frames), [0], [last], [last // 2, last // 2 + 1], range(1, last, 9)):
        frames = list(decode(info.path, [index for index in wanted if index <= last], info))
        assert [frame.pts_seconds for frame in frames] == pytest.approx([times[f.index] for f in frames], abs=1e-9)


@pytest.mark.parametrize("name", STREAMS)
def test_frames_have_the_times_of_a_plain_decode(tmp_path: Path, name: str) -> None:
    codec, options = STREAMS[name]
    path = write_video(tmp_path / name, codec, **options)  # type: ignore[arg-type]
    times = plain_times(path)
    info = probe(path)
    assert_times(info, times)
    assert_times(recount(info), times)
    assert salvage(path).timeline == info.timeline
    if name.startswith("late"):
        assert info.timeline.pts_seconds[0] == 10.0
    if name.startswith("uneven"):
        assert np.diff(times).tolist() == pytest.approx([gap / 25 for gap in ([1, 3, 2, 5, 1] * 6)[1:]])


def write_with_edit_list(path: Path) -> Path:
    """An MP4 whose edit list discards the frames before time 0."""
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * index, np.uint8), format="rgb24")
            frame.pts = index - 5
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return path


def test_frames_that_an_edit_list_discards_have_no_time(tmp_path: Path) -> None:
    path = write_with_edit_list(tmp_path / "a.mp4")
    info = probe(path)
    assert (info.frames, info.frames_from) == (25, "estimate")
    assert info.timeline.pts_seconds.tolist() == pytest.approx([index / 25 for index in range(25)])
    assert_times(info, plain_times(path))
    assert len(list(decode(path, range(25), info, to_end=True))) == 25


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.avi", "libx264", {"bf": "2"}),
        ("mpeg4.avi", "mpeg4", {"bf": "2"}),
        ("a.h264", "libx264", {"bf": "2"}),
        ("a.hevc", "libx265", {"x265-params": "log-level=none"}),
    ],
)
def test_streams_without_presentation_times(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    path = write_video(tmp_path / name, codec, options=options)
    for info in (probe(path), with_exact_frames(probe(path)), salvage(path)):
        assert_times(info, [index / 25 for index in range(30)])
    assert len(list(decode(path, [7], probe(path), to_end=True))) == 1  # what was estimated holds


def test_times_that_fall_back_are_continued_at_the_average_rate(tmp_path: Path) -> None:
    """Two transport streams, one after the other: the second begins where the first began."""
    ticks = np.cumsum([1, 3, 2, 5, 1] * 4).tolist()
    part = write_video(tmp_path / "part.ts", frames=20, ticks=ticks).read_bytes()
    path = tmp_path / "twice.ts"
    path.write_bytes(part + part)
    info = probe(path)
    assert info.frames == 40
    with pytest.raises(FrameCountError, match="as its packets say") as caught:
        list(decode(path, range(40), info, to_end=True))
    exact = recount(info, caught.value.timeline)
    assert exact == recount(info)
    first = plain_times(path)[:20]
    assert info.fps is not None
    continued = [first[-1] + number / info.fps for number in range(1, 21)]
    assert_times(exact, first + continued)
    assert salvage(path).timeline == exact.timeline


@pytest.mark.skipif(not REAL, reason=f"no videos in {SHARED / 'videos'}; set VIDFEAT_SHARED")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_videos(path: Path) -> None:
    info = probe(path)
    times = [index / info.fps for index in range(info.frames)] if path.suffix == ".avi" and info.fps else None
    assert_times(info, times or plain_times(path))
    exact = with_exact_frames(info)
    assert np.allclose(exact.timeline.pts_seconds, info.timeline.pts_seconds, rtol=0, atol=1e-9)
    if path.name == "test_non_zero_start.mp4":
        assert info.timeline.pts_seconds[0] == pytest.approx(8.3330078125)
