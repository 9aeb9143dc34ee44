"""A video of 8K and one of ten hours among short ones: every video gets its features, and they are the right ones."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from video.video_files import write_video
from vidfeat import Encoder, Extractor, Job, encoder, load, run

HOURS = 10
PACKETS_PER_SECOND = 2.5


@pytest.fixture(scope="module")
def tiny(repository: Path) -> Encoder:
    (checkpoint,) = (repository / "examples").glob("*.safetensors")
    return encoder(repository / "examples" / "tiny_slowonly.py", checkpoint=checkpoint)


def write_large(path: Path) -> Path:
    """Eight frames of 7680x4320, each of one colour: 100 MB each once they are decoded to RGB."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuv420p"
        for number in range(8):
            frame = av.VideoFrame(7680, 4320, "yuv420p")
            for plane, value in zip(frame.planes, (20 * number, 100, 150), strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_long(path: Path, short: Path) -> Path:
    """The packets of a short video over and over, for ten hours."""
    with av.open(str(short)) as source, av.open(str(path), "w") as sink:
        stream = source.streams.video[0]
        copy = sink.add_stream_from_template(stream)
        assert stream.time_base is not None
        packets = [bytes(packet) for packet in source.demux(stream) if packet.size]
        for number in range(int(HOURS * 3600 * PACKETS_PER_SECOND)):
            packet = av.Packet(packets[number % len(packets)])
            packet.stream, packet.time_base = copy, stream.time_base
            packet.pts = packet.dts = int(number / PACKETS_PER_SECOND / stream.time_base)
            packet.is_keyframe = number % len(packets) == 0
            sink.mux(packet)
    return path


def test_among_short_ones(tiny: Encoder, tmp_path: Path) -> None:
    short = write_video(tmp_path / "0.mp4", frames=50, size=(160, 128), options={"bf": "0"})
    long, large = write_long(tmp_path / "long.mp4", short), write_large(tmp_path / "large.mp4")
    paths = [short, long, write_video(tmp_path / "1.mp4", frames=30, size=(160, 128)), large]
    summary = run(Job(videos=paths, encoders=tiny, out=tmp_path / "out"), quiet=True)
    assert summary is not None
    assert (summary.videos, summary.computed, summary.kept, summary.failed) == (4, 4, 0, 0)
    stored = load(tmp_path / "out")
    with Extractor(tiny) as extractor:
        for path in paths:
            assert stored[path.name].values.tobytes() == extractor.extract(path).values.tobytes()
    info = stored["long.mp4"].info
    assert info is not None
    assert info.frames == HOURS * 3600 * PACKETS_PER_SECOND
    assert info.frames / (info.fps or 0) == pytest.approx(HOURS * 3600, rel=1e-3)
