"""What `probe` says of real files, and which error it gives for those that are none."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from pathlib import Path

import av
import pytest
from av.stream import Disposition

from video.video_files import mux_sound, write_video
from vidfeat.errors import VideoError
from vidfeat.video import Timeline, VideoInfo, count_frames, probe, with_exact_frames


def kind_of(path: str | Path) -> str:
    with pytest.raises(VideoError) as caught:
        probe(path)
    assert caught.value.stage == "open"
    assert caught.value.where == str(path)
    return caught.value.kind


def test_every_field_of_a_plain_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=30, size=(64, 48), options={"bf": "2"}, audio=True)
    assert probe(path) == VideoInfo(
        path=str(path),
        bytes=path.stat().st_size,
        container="mov,mp4,m4a,3gp,3g2,mj2",
        codec="h264",
        pixel_format="yuv420p",
        width=64,
        height=48,
        rotation=0,
        fps=25.0,
        start_seconds=0.0,
        duration_seconds=1.2,
        frames=30,
        frames_from="packets",
        timeline=Timeline.of_rate(30, 25.0, 1.2),
        modified_ns=path.stat().st_mtime_ns,
        length_verified=True,
    )


def test_info_travels_between_processes(tmp_path: Path) -> None:
    info = probe(write_video(tmp_path / "a.mp4", frames=2))
    assert pickle.loads(pickle.dumps(info)) == info
    assert info.packets is not None
    assert VideoInfo.from_json(json.loads(json.dumps(info.to_json()))) == dataclasses.replace(info, packets=None)


def test_a_relative_path_and_one_of_str_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", frames=3)
    monkeypatch.chdir(tmp_path)
    assert probe("a.mp4").frames == 3


def test_uneven_frame_times_give_the_average_rate(tmp_path: Path) -> None:
    ticks = [0, 1, 2, 10, 11, 30]
    info = probe(write_video(tmp_path / "vfr.mp4", frames=6, ticks=ticks))
    assert info.frames == 6
    assert info.frames_exact
    assert info.timeline.pts_seconds.tolist() == [tick / 25 for tick in ticks]
    assert info.fps == pytest.approx(6 / 0.52)  # six frames in 13 ticks: the muxer gives the last one no length


@pytest.mark.parametrize(
    ("name", "codec", "options", "known_from"),
    [
        ("a.mp4", "libx264", {"bf": "2"}, "packets"),
        ("a.mkv", "libx264", {"x264-params": "open-gop=1:keyint=8"}, "packets"),
        ("hevc.mp4", "libx265", {"x265-params": "log-level=none"}, "packets"),
        ("a.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}, "packets"),
        ("vp9.webm", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5"}, "packets"),
        ("a.avi", "libx264", {"bf": "2"}, "estimate"),
        ("mpeg4.avi", "mpeg4", {"bf": "2"}, "estimate"),
        ("mpeg4.mp4", "mpeg4", {"bf": "2"}, "estimate"),
        ("a.ts", "libx264", {"bf": "2"}, "estimate"),
        ("a.flv", "libx264", {"bf": "2"}, "estimate"),
        ("a.mpg", "mpeg2video", {"bf": "2"}, "estimate"),
    ],
)
def test_frames_are_those_that_decode(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], known_from: str
) -> None:
    path = write_video(tmp_path / name, codec, options=options)
    info = probe(path)
    assert info.frames_from == known_from
    exact = with_exact_frames(info)
    assert exact.frames == 30 == count_frames(path)
    assert exact.frames_from == ("packets" if known_from == "packets" else "decoding")


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_frames_before_the_first_key_frame_are_an_estimate_until_counted(tmp_path: Path, container: str) -> None:
    """A copy that starts inside an open group of pictures: its leading pictures refer to what is not there."""
    source = write_video(
        tmp_path / "whole.mkv", options={"bf": "3", "x264-params": "open-gop=1:keyint=10:b-adapt=0:scenecut=0"}
    )
    path = tmp_path / f"cut.{container}"
    with av.open(str(source)) as reading, av.open(str(path), "w") as writing:
        stream = reading.streams.video[0]
        copy = writing.add_stream_from_template(stream)
        packets = [packet for packet in reading.demux(stream) if packet.size]
        second_key = [index for index, packet in enumerate(packets) if packet.is_keyframe][1]
        for packet in packets[second_key:]:
            packet.stream = copy
            writing.mux(packet)
    info = probe(path)
    assert info.frames_from == "estimate"
    with av.open(str(path)) as plain:
        decoded = sum(1 for _ in plain.decode(video=0))
    assert decoded < len(packets) - second_key
    assert with_exact_frames(info).frames == decoded


def test_missing(tmp_path: Path) -> None:
    assert kind_of(tmp_path / "no.mp4") == "missing"
    write_video(tmp_path / "a.mp4", frames=1)
    assert kind_of(tmp_path / "a.mp4" / "b.mp4") == "missing"
    assert kind_of("null\0byte.mp4") == "missing"
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere")
    assert kind_of(tmp_path / "dangling.mp4") == "missing"


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert kind_of(tmp_path / "a.mp4") == "empty"


def test_no_regular_file(tmp_path: Path) -> None:
    assert kind_of(tmp_path) == "io"
    os.mkfifo(tmp_path / "pipe.mp4")
    assert kind_of(tmp_path / "pipe.mp4") == "io"
    assert kind_of("/dev/zero") == "io"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_not_readable(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=1)
    path.chmod(0)
    assert kind_of(path) == "io"


@pytest.mark.parametrize(
    "data", [b"x", b"This is a letter.\n" * 400, bytes(5000), b"\x89PNG\r\n\x1a\n" + bytes(100), b"RIFF1234WEBP" * 90]
)
def test_not_a_video(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    assert kind_of(path) == "corrupt"


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        mux_sound(container, container.add_stream("aac", rate=8000, layout="mono"))
    assert kind_of(path) == "no_video"


def write_with_cover(path: Path, *, video: bool) -> Path:
    """Sound with a cover picture, and with `video` a real stream after it."""
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 512, 512, "yuvj420p"
        cover.disposition = Disposition.attached_pic.value  # PyAV 17 takes only the number
        moving = container.add_stream("libx264", rate=25) if video else None
        if moving is not None:
            moving.width, moving.height, moving.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=8000, layout="mono")
        container.mux(cover.encode(av.VideoFrame(512, 512, "yuvj420p")))
        container.mux(cover.encode(None))
        for index in range(5 if moving is not None else 0):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = index
            container.mux(moving.encode(frame))
        if moving is not None:
            container.mux(moving.encode(None))
        mux_sound(container, sound)
    return path


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    assert kind_of(write_with_cover(tmp_path / "song.mp4", video=False)) == "no_video"


def test_a_cover_picture_does_not_hide_the_video(tmp_path: Path) -> None:
    info = probe(write_with_cover(tmp_path / "song.mp4", video=True))
    assert (info.codec, info.width, info.frames) == ("h264", 64, 5)


def test_of_two_video_streams_ffmpeg_s_best(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for size in (32, 96):
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
            streams.append(stream)
        for index in range(4):
            for stream in streams:
                frame = av.VideoFrame(stream.width, stream.height, "yuv420p")
                frame.pts = index
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        best = container.streams.best("video")
        assert best is not None
        assert probe(path).width == best.codec_context.width
