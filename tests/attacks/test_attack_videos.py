"""Files that call themselves videos and want something else: other files, the network, or all memory."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from vidfeat.errors import VideoError
from vidfeat.video import count_frames, decode, probe

CANARY_PICTURE = 77


def write_clip(path: Path | str, frames: int = 3) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for index in range(frames):
            picture = np.full((32, 32, 3), CANARY_PICTURE + 10 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def kind_of(path: str | Path) -> str:
    """Every way in gives the same answer."""
    with pytest.raises(VideoError) as caught:
        probe(path)
    with pytest.raises(VideoError):
        count_frames(path)
    with pytest.raises(VideoError):
        list(decode(path, [0]))
    return caught.value.kind


# --- playlists --------------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Serves one real video and notes every request."""

    def __init__(self, video: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.video = video
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret.mp4"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.video)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    write_clip(tmp_path / "served.mp4")
    serving = Server((tmp_path / "served.mp4").read_bytes())
    thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
    "hls after a byte order mark": "\ufeff#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
    "hls master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{}\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "dash": (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        '<AdaptationSet contentType="video"><Representation id="1" codecs="avc1" mimeType="video/mp4">'
        "<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ),
    "imf": (
        '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
        "<Id>{}</Id></CompositionPlaylist>"
    ),
    "asx": '<asx version="3.0"><entry><ref href="{}"/></entry></asx>',
    "pls": "[playlist]\nFile1={}\nNumberOfEntries=1\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
}


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".avi", ""])
@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_is_blocked_and_the_network_is_not_asked(
    tmp_path: Path, server: Server, name: str, suffix: str
) -> None:
    path = tmp_path / f"clip{suffix}"
    path.write_text(PLAYLISTS[name].format(server.address), encoding="utf-8")
    assert kind_of(path) == "blocked_format"
    assert server.requests == []


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_is_blocked_and_the_file_it_names_is_not_opened(tmp_path: Path, name: str) -> None:
    """The file named is a FIFO: whoever opened it to read would wait, and its writer would notice."""
    fifo = tmp_path / "secret.ts"
    os.mkfifo(fifo)
    path = tmp_path / "clip.mp4"
    path.write_text(PLAYLISTS[name].format(fifo), encoding="utf-8")
    assert kind_of(path) == "blocked_format"
    with pytest.raises(OSError):  # ENXIO: nobody has it open for reading
        os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)


def test_the_concat_list_would_have_worked(tmp_path: Path) -> None:
    """The test above proves nothing if FFmpeg would not follow the list anyway."""
    write_clip(tmp_path / "secret.mp4")
    path = tmp_path / "clip.mp4"
    path.write_text("ffconcat version 1.0\nfile 'secret.mp4'\n")
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 3
    assert kind_of(path) == "blocked_format"


@pytest.mark.parametrize("head", ["", " " * 5000, "junk\n", "\n" * 4096])
def test_a_playlist_behind_padding_is_not_followed_either(tmp_path: Path, server: Server, head: str) -> None:
    """What the friendly check does not see, the list of containers still refuses."""
    path = tmp_path / "clip.mp4"
    for text in PLAYLISTS.values():
        path.write_text(head + text.format(server.address), encoding="utf-8")
        assert kind_of(path) in ("blocked_format", "corrupt")
    assert server.requests == []


def test_a_quicktime_reference_to_another_file_is_not_opened(tmp_path: Path) -> None:
    """A `dref` entry can say that the media data is elsewhere."""
    fifo = tmp_path / "media"
    os.mkfifo(fifo)
    whole = tmp_path / "whole.mov"
    with av.open(str(whole), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        frame = av.VideoFrame(32, 32, "yuvj420p")
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = bytearray(whole.read_bytes())
    at = data.index(b"dref") + 12
    assert data[at + 4 : at + 8] in (b"url ", b"alis")
    data[at + 4 : at + 12] = b"url " + bytes(4)  # flags 0: not in this file
    path = tmp_path / "clip.mov"
    path.write_bytes(data)
    try:
        count_frames(path)
    except VideoError as error:
        assert error.kind in ("corrupt", "blocked_format")  # noqa: PT017
    with pytest.raises(OSError):
        os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "-i.mp4",
        "--help",
        "concat:a.mp4|b.mp4",
        "file:a.mp4",
        "pipe:0",
        "http:",
        "data:video,mp4",
        "fd:0",
        "subfile,,start,0,end,9,,:a.mp4",
        "new\nline.mp4",
        "quote'\".mp4",
        "%03d.mp4",
        "frame%d.png",
        "glob*.jpg",
        "a.m3u8",
        "a.sdp",
        "a.ffconcat",
        "ключ 鍵 🔑.mp4",
        " ",
        "CON.mp4",
    ],
)
def test_any_name_is_just_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_clip(tmp_path / "plain.mp4")
    (tmp_path / name).write_bytes((tmp_path / "plain.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    for path in (name, tmp_path / name):
        assert probe(path).frames == 3
        (frame,) = decode(path, [0])
        assert abs(int(frame.pixels.mean()) - CANARY_PICTURE) <= 2


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    write_clip(tmp_path / "plain.mp4")
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4")
    try:
        Path(path).write_bytes((tmp_path / "plain.mp4").read_bytes())
    except OSError:
        pytest.skip("this file system takes no such name")
    assert probe(path).frames == 3
    with pytest.raises(VideoError) as caught:
        list(decode(path, [3]))
    assert caught.value.where == path


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("http://127.0.0.1:9/a.mp4", "missing"),  # asked by vidfeat, and not by FFmpeg
        *((address, "missing") for address in ("concat:/etc/passwd", "pipe:0", "data:,x", "lavfi:testsrc")),
        ("rtsp://x/y", "io"),
    ],
)
def test_ffmpeg_opens_no_address(address: str, kind: str) -> None:
    assert kind_of(address) == kind


# --- bombs ------------------------------------------------------------------------------------------------------------


def y4m_bomb() -> bytes:
    return b"YUV4MPEG2 W30000 H30000 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000)


def gif_bomb() -> bytes:
    screen = struct.pack("<6sHHBBB", b"GIF89a", 30000, 30000, 0x80, 0, 0) + bytes(6)
    image = b"," + struct.pack("<HHHHB", 0, 0, 30000, 30000, 0) + bytes([2, 2, 0x4C, 0x01, 0])
    return screen + image + b";"


def avi_of_one_frame(path: Path, codec: str, pix_fmt: str) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, pix_fmt
        frame = av.VideoFrame(32, 32, pix_fmt)
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def avi_bomb(tmp_path: Path) -> bytes:
    data = bytearray(avi_of_one_frame(tmp_path / "small.avi", "rawvideo", "yuv420p"))
    at = data.index(b"strf") + 8
    struct.pack_into("<ii", data, at + 4, 30000, 30000)
    return bytes(data)


@pytest.mark.parametrize("kind", ["y4m", "gif", "avi"])
def test_a_header_of_30000_by_30000_is_refused_before_it_costs_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bomb.mp4"
    path.write_bytes({"y4m": y4m_bomb, "gif": gif_bomb, "avi": lambda: avi_bomb(tmp_path)}[kind]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert kind_of(path) in ("too_large", "corrupt", "truncated")
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 300_000  # one such frame in RGB: 2.7 million KiB


def test_the_limit_names_the_size(tmp_path: Path) -> None:
    path = tmp_path / "bomb.avi"
    path.write_bytes(y4m_bomb().replace(b"30000", b"12000"))
    with pytest.raises(VideoError, match="12000 x 12000") as caught:
        probe(path)
    assert caught.value.kind == "too_large"


def test_too_many_streams(tmp_path: Path) -> None:
    path = tmp_path / "many.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for _ in range(70):
            stream = container.add_stream("rawvideo", rate=25)
            stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
            streams.append(stream)
        for stream in streams:
            frame = av.VideoFrame(16, 16, "yuv420p")
            frame.pts = 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    assert kind_of(path) == "too_large"


# --- noise ------------------------------------------------------------------------------------------------------------


def test_random_damage_gives_frames_or_a_typed_error_and_no_noise(tmp_path: Path) -> None:
    """Seeded damage in a process of its own: a crash, a hang or a line on stderr would show."""
    write_clip(tmp_path / "clip.mp4", frames=12)
    script = """
import random, sys
from pathlib import Path
from vidfeat.errors import VideoError
from vidfeat.video import decode, probe, with_exact_frames
whole, path = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
outcomes = set()
for seed in range(250):
    rng = random.Random(seed)
    data = bytearray(whole)
    for _ in range(rng.choice([1, 4, 30])):
        at = rng.randrange(len(data))
        change = rng.choice(["bit", "zeros", "drop", "repeat"])
        if change == "bit":
            data[at] ^= 1 << rng.randrange(8)
        elif change == "zeros":
            data[at : at + 16] = bytes(len(data[at : at + 16]))
        elif change == "drop":
            del data[at : at + 8]
        else:
            data[at:at] = data[at : at + 8]
    path.write_bytes(data)
    try:
        info = with_exact_frames(probe(path))
        assert sum(1 for _ in decode(path, range(info.frames), info)) == info.frames
        outcomes.add("decoded")
    except VideoError as error:
        outcomes.add(error.kind)
print(sorted(outcomes))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "clip.mp4"), str(tmp_path / "damaged.mp4")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {"corrupt", "decoded", "truncated"} <= set(eval(done.stdout))


NOISE_CASES = {
    "mov": ("mp4", "libx264", {"movflags": "dash+global_sidx+frag_every_frame"}),
    "avi": ("avi", "libvpx", {}),
    "mkv": ("matroska", "mpeg4", {}),
    "flv": ("flv", "flv1", {}),
    "asf": ("asf", "wmv2", {}),
    "ogv": ("ogg", "libvpx", {}),
    "mxf": ("mxf", "mpeg2video", {}),
    "ivf": ("ivf", "libvpx", {}),
}


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("name", NOISE_CASES)
def test_a_video_whose_end_is_overwritten_is_broken(tmp_path: Path, name: str, share: float) -> None:
    """With bytes of 0xff, as flash memory that was erased has them."""
    path = tmp_path / "clip"
    container_format, codec, options = NOISE_CASES[name]
    with av.open(str(path), "w", format=container_format, options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 10
        for index in range(50):
            picture = np.random.default_rng(index).integers(0, 255, (48, 64, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert probe(path).frames == 50
    whole = path.read_bytes()
    kept = int(len(whole) * share)
    if name == "mov":  # between two fragments, as no decoder notices it there
        kept = whole.rindex(b"moof", 0, kept) - 4
    path.write_bytes(whole[:kept] + b"\xff" * (len(whole) - kept))
    try:
        info = probe(path)
        frames = sum(1 for _ in decode(path, range(info.frames), info))
    except VideoError as error:
        assert error.kind in ("truncated", "corrupt")  # noqa: PT017
    else:
        assert frames == 50 or not info.length_verified


def test_an_avi_without_padding_bytes_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    data = avi_of_one_frame(path, "mjpeg", "yuvj420p")
    index = data.index(b"idx1")
    # A chunk of odd length between the frames and the index, as writers leave it that do not pad.
    data = data[:index] + b"JUNK" + (7).to_bytes(4, "little") + b"abcdefg" + data[index:]
    path.write_bytes(data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:])
    assert probe(path).length_verified
