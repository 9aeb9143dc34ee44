"""NVDEC through torchcodec: its frames are `decode`'s frames, and PyAV does whatever it cannot do.

These tests need no GPU: the same code runs with torchcodec's decoder for the CPU, whose pixels are PyAV's to the bit.
Where torchcodec does not load, only what works without it is tested.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from video.video_files import RATE, picture, pixels_of, plain_linear_decode, write_video
from vidfeat.errors import DeviceError, UsageError, VideoError
from vidfeat.video import Nvdec, VideoInfo, decode, probe
from vidfeat.video.nvdec import _key_frame, _missing, alike, require
from vidfeat.video.packets import PacketTable


def refusal(device: str) -> str:
    """Why a device cannot decode through torchcodec here; empty where it can."""
    try:
        require(device)
    except DeviceError as error:
        return error.found
    return ""


MISSING = refusal("cpu")
needs_torchcodec = pytest.mark.skipif(bool(MISSING), reason=f"torchcodec does not load: {MISSING}")
needs_no_gpu = pytest.mark.skipif(not refusal("cuda"), reason="this machine can do what is to fail")

SHARED = Path(os.environ.get("VIDFEAT_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
INTACT = sorted(p for p in (SHARED / "videos").glob("*/*") if p.suffix != ".md" and p.stem != "corrupted")
LEFT_TO_PYAV = {
    *("h264_1080p_no_pts.avi", "mpeg4_320x240.avi", "bt2020_10bit.mp4", "discard_first_keyframe.mp4"),
    *("h264_10bits.mp4", "nasa_13013_rotated.mp4", "testsrc2_444_8bit_hevc.mp4", "testsrc2_hdr.mp4"),
    *("testsrc2_mpeg4.mp4", "testsrc2_odd_height_444.mp4", "testsrc2_odd_height_and_width_mpeg2.mp4"),
    *("testsrc2_odd_height_and_width_vp9.mp4", "testsrc2_odd_width_444.mp4", "testsrc2_odd_width_mpeg2.mp4"),
    *("testsrc2_vp8.webm", "video_90.mov"),
}


# --- a machine without it ---------------------------------------------------------------------------------------------


@needs_no_gpu
def test_what_is_missing_is_reported_before_any_work(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = repository / "examples" / "tiny_slowonly.py"
    command = ["extract", config, write_video(tmp_path / "a.mp4"), "--checkpoint", tmp_path / "none.pth", "-o", out]
    done = subprocess.run(
        [sys.executable, "-m", "vidfeat", *map(str, command), "--decoder", "nvdec"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("vidfeat: error: --decoder nvdec: expected an NVIDIA GPU")
    assert "pip install 'torchcodec>=" in done.stderr
    assert "FFmpeg's shared libraries" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


@pytest.mark.skipif(importlib.util.find_spec("torchcodec") is not None, reason="torchcodec is installed")
def test_no_torchcodec() -> None:
    with pytest.raises(DeviceError, match="No module named 'torchcodec'"):
        require("cpu")


@needs_torchcodec
def test_a_machine_with_half_of_it() -> None:
    import torch
    import torchcodec

    with_gpu = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: True), torch_version=torch.torch_version)
    assert _missing(torch, SimpleNamespace(ffmpeg_major_version=None), "cpu") == "no FFmpeg that torchcodec can load"
    if refusal("cuda"):
        assert _missing(with_gpu, torchcodec, "cuda:0") == "no libnvcuvid (the driver's video part)"
    assert _missing(with_gpu, torchcodec, "cpu") == ""


def test_a_decoder_travels_without_torch() -> None:
    nvdec = Nvdec("cuda:1")
    code = f"import pickle, sys; print(pickle.loads({pickle.dumps(nvdec)!r}).device, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["cuda:1", "False"]


# --- the arithmetic ---------------------------------------------------------------------------------------------------

MATRICES = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722)}


def as_the_gpu_does(planes: np.ndarray, height: int, matrix: str, half: float, full: bool = False) -> np.ndarray:
    """torchcodec's conversion of yuv420p on CUDA: chroma of the nearest pixel, floats, cut off to whole numbers.

    `half` of 0.5 rounds to the nearest instead.
    """
    red, green, blue = MATRICES[matrix]
    width = planes.shape[1]
    luma = planes[:height].astype(np.float32)
    u, v = (
        plane.reshape(height // 2, width // 2).repeat(2, 0).repeat(2, 1).astype(np.float32) - 128
        for plane in np.split(planes[height:], 2)
    )
    if not full:
        luma, u, v = (luma - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    r, b = luma + 2 * (1 - red) * v, luma + 2 * (1 - blue) * u
    g = luma - 2 * blue * (1 - blue) / green * u - 2 * red * (1 - red) / green * v
    return np.clip(np.floor(np.stack([r, g, b], axis=-1) + half), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("half", [0.0, 0.5])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("tag", ["unspecified", "bt709"])
def test_rounding_is_alike_and_nothing_else(tag: str, full: bool, half: float) -> None:
    numbers = {"unspecified": 2, "bt709": 1}
    right = "bt709" if tag == "bt709" else "bt601"
    (wrong,) = set(MATRICES) - {right}
    for index in range(5):
        frame = av.VideoFrame.from_ndarray(picture(index, 128, 64), format="rgb24").reformat(format="yuv420p")
        frame.colorspace, frame.color_range = numbers[tag], 2 if full else 1
        planes = frame.to_ndarray()
        ours = frame.to_ndarray(format="rgb24")
        assert alike(as_the_gpu_does(planes, 64, right, half, full), ours)
        assert not alike(as_the_gpu_does(planes, 64, wrong, half, full), ours)
        assert not alike(as_the_gpu_does(planes, 64, right, half, not full), ours)
        assert not alike(as_the_gpu_does(np.roll(planes, 2, axis=1), 64, right, half, full), ours)


def test_what_is_alike() -> None:
    frame = picture(0, 40, 30)
    assert alike(frame, frame)
    assert alike(frame, np.where(frame > 0, frame - 1, 1).astype(np.uint8))
    assert not alike(frame, np.where(frame > 1, frame - 2, 2).astype(np.uint8))
    assert not alike(frame, frame[:-2])
    spoilt = frame.copy()
    spoilt[0, :2] = 255 - spoilt[0, :2]  # 6 of 3600 values, where a thousandth are 3
    assert not alike(frame, spoilt)
    assert not alike(frame, picture(1, 40, 30))


@given(st.data())
def test_the_key_frame_is_the_last_before_the_middle(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    keys = sorted({0, *data.draw(st.lists(st.integers(0, count - 1)))})
    pts = np.array(data.draw(st.permutations(range(count))))
    random_access = np.isin(pts, keys)
    wanted = np.array(sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1))))
    found = _key_frame(PacketTable(pts * 3 + 1, random_access, random_access), wanted)
    assert found == max(key for key in keys if key <= wanted[len(wanted) // 2])


# --- frames -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nvdec() -> Nvdec:
    nvdec = Nvdec("cpu", check_every=2)
    nvdec.start()
    return nvdec


GROUPS = {"g": "6"}
STREAMS = {
    "h264": ("mp4", "libx264", {"options": GROUPS}),
    "h264 in one group": ("mp4", "libx264", {"options": {"g": "999", "bf": "3"}}),
    "h264 with open groups": ("mkv", "libx264", {"options": {"x264-params": "open-gop=1:keyint=8:bframes=3"}}),
    "h264 refreshed in columns": ("mp4", "libx264", {"options": {"x264-params": "intra-refresh=1:keyint=8"}}),
    "h264 of a crop": ("mp4", "libx264", {"size": (66, 50)}),
    "h264 of uneven times": ("mp4", "libx264", {"ticks": list(np.cumsum([1, 3, 2, 5, 1] * 6))}),
    "hevc": ("mp4", "libx265", {"options": {"x265-params": "keyint=8:log-level=none"}}),
    "vp9": ("webm", "libvpx-vp9", {"options": {**GROUPS, "deadline": "realtime", "cpu-used": "8"}}),
    "full range": ("mp4", "libx264", {"pix_fmt": "yuvj420p"}),
}


@needs_torchcodec
@pytest.mark.parametrize("name", STREAMS)
def test_frames_are_those_of_the_linear_decode(name: str, nvdec: Nvdec, tmp_path: Path) -> None:
    suffix, codec, options = STREAMS[name]
    path = write_video(tmp_path / f"video.{suffix}", codec, **options)  # type: ignore[arg-type]
    info = probe(path)
    truth = plain_linear_decode(path)
    for wanted in ([0], [29], [3, 4, 5], range(30), np.array([[28, 2], [2, 17]])):
        frames = list(nvdec.decode(path, wanted, info))
        assert nvdec.fallback_reason == ""
        assert [frame.index for frame in frames] == sorted({int(index) for index in np.ravel(wanted)})
        for frame in frames:
            assert frame.pts_seconds == info.timeline.pts_seconds[frame.index]
            assert frame.pixels.dtype == np.uint8
            assert np.array_equal(frame.pixels, truth[frame.index]), frame.index


@needs_torchcodec
@pytest.mark.skipif(not INTACT, reason=f"no videos in {SHARED / 'videos'}; set VIDFEAT_SHARED")
@pytest.mark.parametrize("path", INTACT, ids=lambda path: path.name)
def test_real_videos(path: Path, nvdec: Nvdec) -> None:
    info = probe(path)
    wanted = np.linspace(0, info.frames - 1, 12).astype(int)
    if not info.frames_exact:
        wanted = wanted[wanted < info.frames - 2] if info.frames > 2 else np.zeros(1, int)
    decoded = pixels_of(nvdec.decode(path, wanted, info))
    assert bool(nvdec.fallback_reason) == (path.name in LEFT_TO_PYAV), nvdec.fallback_reason
    expected = pixels_of(decode(path, wanted, info))
    assert list(decoded) == list(expected)
    assert all(np.array_equal(decoded[index], frame) for index, frame in expected.items())


OTHERS = {
    "mpeg4": ("avi", "mpeg4", {}, "only known after decoding all of it"),
    "10 bits": ("mp4", "libx264", {"pix_fmt": "yuv420p10le"}, "yuv420p10le"),
    "4:4:4": ("mp4", "libx264", {"pix_fmt": "yuv444p"}, "yuv444p"),
    "odd": ("mp4", "libvpx-vp9", {"size": (65, 49), "options": {"cpu-used": "8", "deadline": "realtime"}}, "odd size"),
    "transport stream": ("ts", "libx264", {}, "only known after decoding all of it"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_pyav_decodes_what_is_not_for_it(name: str, tmp_path: Path) -> None:
    suffix, codec, options, why = OTHERS[name]
    path = write_video(tmp_path / f"video.{suffix}", codec, **options)  # type: ignore[arg-type]
    info = probe(path)
    truth = plain_linear_decode(path)
    nvdec = Nvdec("cpu")  # torchcodec is not even looked for
    decoded = pixels_of(nvdec.decode(path, [20, 1, 7], info, to_end=not info.frames_exact))
    assert why in nvdec.fallback_reason
    assert list(decoded) == [1, 7, 20]
    assert all(np.array_equal(frame, truth[index]) for index, frame in decoded.items())


def test_pyav_decodes_a_video_whose_parameters_change(tmp_path: Path) -> None:
    info = probe(write_video(tmp_path / "video.mp4"))
    assert info.packets is not None
    nvdec = Nvdec("cpu")
    changing = dataclasses.replace(info, packets=dataclasses.replace(info.packets, parameters_change=True))
    assert len(list(nvdec.decode(info.path, [4, 5], changing))) == 2
    assert nvdec.fallback_reason == "its parameters change after its start"
    with pytest.raises(UsageError, match="indices of at least 0"):
        list(nvdec.decode(info.path, [-1], info))
    assert list(nvdec.decode(info.path, [], changing)) == []


# --- what needs a linear decode ---------------------------------------------------------------------------------------


def with_table(info: VideoInfo, **changes: object) -> VideoInfo:
    assert info.packets is not None
    return dataclasses.replace(info, packets=dataclasses.replace(info.packets, **changes))  # type: ignore[arg-type]


@needs_torchcodec
def test_another_numbering_is_noticed(nvdec: Nvdec, tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", options=GROUPS)
    info, truth = probe(path), plain_linear_decode(path)
    assert info.packets is not None
    pts, wanted = info.packets.pts, [2, 11, 25]
    step = int(np.diff(np.sort(pts))[0])
    seconds = info.timeline.pts_seconds
    mismatches = [
        dataclasses.replace(info, timeline=dataclasses.replace(info.timeline, pts_seconds=1.001 * seconds)),
        with_table(info, pts=pts + step),  # frames that are one late
        with_table(info, pts=pts - step // 2),  # times that no frame has
        dataclasses.replace(info, bytes=info.bytes + 1),  # another file than was probed
        dataclasses.replace(info, modified_ns=(info.modified_ns or 0) + 1),
        dataclasses.replace(info, height=info.height + 2),
    ]
    for wrong in mismatches:
        decoded = pixels_of(nvdec.decode(path, wanted, wrong))
        assert nvdec.fallback_reason
        assert all(np.array_equal(decoded[index], truth[index]) for index in wanted), nvdec.fallback_reason


def ten_bits(path: Path, quiet: int) -> VideoInfo:
    """A video said to have 8 bits: torchcodec and PyAV convert its 10 differently. The first frames are even grey."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"g": "999", "qp": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        for index in range(12):
            image = picture(index, 64, 48) if index >= quiet else np.full((48, 64, 3), 128, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p10le")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return dataclasses.replace(probe(path), pixel_format="yuv420p")


@needs_torchcodec
def test_another_key_frame_leaves_the_video_to_pyav(nvdec: Nvdec, tmp_path: Path) -> None:
    info = ten_bits(tmp_path / "video.mp4", quiet=0)
    truth = plain_linear_decode(tmp_path / "video.mp4")
    for _ in range(3):
        frames = list(nvdec.decode(info.path, [1, 9], info))
        assert all(np.array_equal(frame.pixels, truth[frame.index]) for frame in frames)
        assert nvdec.fallback_reason == "its key frame differs from PyAV's"


@needs_torchcodec
def test_other_frames_of_two_videos_in_a_row_end_it(tmp_path: Path) -> None:
    odd, good = ten_bits(tmp_path / "odd.mp4", quiet=6), probe(write_video(tmp_path / "good.mp4"))
    truth = plain_linear_decode(tmp_path / "odd.mp4")
    nvdec = Nvdec("cpu", check_every=1)
    nvdec.start()
    for _ in range(2):  # one odd video between good ones is decoded by PyAV
        decoded = pixels_of(nvdec.decode(odd.path, [2, 9, 10], odd))
        assert nvdec.fallback_reason == "the GPU decodes a different picture"
        assert all(np.array_equal(decoded[index], truth[index]) for index in (9, 10))
        list(nvdec.decode(good.path, [3], good))
        assert nvdec.fallback_reason == ""
    other = Nvdec("cpu")
    list(other.decode(odd.path, [2, 9], odd))
    with pytest.raises(DeviceError, match=r"different pictures at frame 9 of .*odd\.mp4 and frame 10 of .*odd\.mp4"):
        list(other.decode(odd.path, [2, 10], odd))


@needs_torchcodec
def test_a_video_with_damage_is_never_taken_for_a_fault_of_the_gpu(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", frames=40, size=(96, 72), options={"g": "10"}).read_bytes()
    rng, nvdec = np.random.default_rng(0), Nvdec("cpu", check_every=1)
    nvdec.start()
    failed = 0
    for number in range(12):
        data, start = bytearray(whole), int(rng.integers(2000, len(whole) * 3 // 4))
        data[start : start + 20] = rng.bytes(20)
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(data)
        try:
            info = probe(path)
            frames = pixels_of(nvdec.decode(path, range(0, 40, 3), info))
            truth = pixels_of(decode(path, range(0, 40, 3), info))
            assert all(np.array_equal(frames[index], pixels) for index, pixels in truth.items())
        except VideoError:
            failed += 1
    assert failed > 3


@needs_torchcodec
@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile video.mp4\n", "#EXTM3U\n#EXTINF:1,\nvideo.mp4\n"])
def test_torchcodec_opens_nothing_that_a_file_names(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`probe` refuses these before; and were the file exchanged after it, this would be left."""
    from torchcodec.decoders import VideoDecoder

    write_video(tmp_path / "video.mp4")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError):
        VideoDecoder(io.BytesIO(text.encode()), device="cpu")
