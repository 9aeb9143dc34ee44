"""Decoding on a GPU (NVDEC) through torchcodec: an option, and never a reason for other frames than those of `decode`.

What a file is, how many frames it has and which frame is which is found out as always, by `probe`, and torchcodec is
given that table: it does not look for key frames of its own. It decodes only what both decoders read in one way, 8-bit
4:2:0 in a container that gives every frame a time; all else, and whatever comes out in doubt, PyAV decodes.

The GPU's pixels are not PyAV's to the bit. The decoded planes are, as the codecs' standards prescribe every bit of
them, but their conversion to RGB is rounded in another way. `docs/design/0006-nvdec.md` has the numbers.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from vidfeat.errors import DeviceError, VideoError
from vidfeat.video.decode import Frame, decode, decode_strictly, sorted_indices
from vidfeat.video.packets import PacketTable
from vidfeat.video.probe import VideoInfo
from vidfeat.video.source import open_file
from vidfeat.video.sparse import NeedsLinearDecodeError

MOST_MEAN_APART = 1.5
"""Mean distance of the 8-bit values of a frame from PyAV's that rounding explains. torchcodec's conversion, computed on
the CPU for real videos, gives at most 0.8; one that rounds to the nearest would give 1.3."""

MOST_APART = 4
"""Distance of single values that rounding explains: 2, or 3, in all those videos. A thousandth may be further apart.
Another colour matrix shows here, in pictures that have colours."""

CHECK_EVERY = 100
"""One video in so many is decoded by PyAV as well, all of its frames that are wanted."""

_FITTING_FORMATS = ("yuv420p", "yuvj420p")
_BATCH_BYTES = 64 << 20
_DECODERS_KEPT = 4  # by default 20: each holds memory of the GPU, and there are several processes
_NEEDED_VERSION = (0, 17)  # before, videos of one coded size and different display sizes got each other's crop


class Nvdec:
    """Decodes videos on a GPU, one after the other. What it remembers of them is only for checks and for people.

    Args:
        device: torchcodec's name of it, such as "cuda:1". On "cpu" the same code runs without a GPU, as the tests need.
        check_every: as `CHECK_EVERY`.

    Attributes:
        device: as given.
        doubt: why PyAV decoded the last video, or the rest of it; empty where it did not.
    """

    def __init__(self, device: str = "cuda", *, check_every: int = CHECK_EVERY) -> None:
        self.device = device
        self.doubt = ""
        self._check_every = check_every
        self._decoded: Counter[str] = Counter()
        self._odd = ""

    def start(self) -> None:
        """Load torchcodec and begin on the device, once a process; takes seconds.

        Raises:
            DeviceError: as `require` does.
        """
        require(self.device)

        from torchcodec.decoders import set_nvdec_cache_capacity

        set_nvdec_cache_capacity(_DECODERS_KEPT)

    def decode(
        self,
        path: str | os.PathLike[str],
        frame_index: Iterable[int] | npt.NDArray[np.integer],
        info: VideoInfo,
        *,
        to_end: bool = False,
    ) -> Iterator[tuple[int, Frame]]:
        """Decode the wanted frames of a video; as `vidfeat.video.decode`, but for the pixels' last bits.

        A key frame of every video is held against PyAV's, and all frames of the first video of each codec and of one in
        `check_every` after it. A video that differs is decoded by PyAV. Not noticed is damage inside pictures: a GPU's
        decoder makes up for it and says nothing.

        Args:
            path, frame_index, info, to_end: as for `vidfeat.video.decode`.

        Yields:
            `(index, frame)` by rising index, each wanted index once; `frame` is uint8 RGB [H, W, 3], upright.

        Raises:
            DeviceError: two videos in a row, of those of which all frames are checked, differ though they are sound and
                their key frames agree. Then none is to be trusted.
            UsageError, FrameCountError, VideoError: as `vidfeat.video.decode` does.
        """
        where, wanted = os.fspath(path), sorted_indices(frame_index)
        self.doubt = _unfit(info) or ("it has to be decoded to its end" if to_end else "")
        done = 0
        if not self.doubt:
            try:
                for index, frame in self._checked_frames(where, wanted, info):
                    yield index, frame
                    done += 1
            except (NeedsLinearDecodeError, VideoError) as doubt:
                self.doubt = str(doubt) or "it is not sound"
        if done < len(wanted):
            yield from decode(path, wanted[done:], info, to_end=to_end)

    def _checked_frames(self, path: str, wanted: list[int], info: VideoInfo) -> Iterator[tuple[int, Frame]]:
        table = _table(info)
        with _open(path, info, self.device) as decoder:
            key = _key_frame(table, wanted)
            ((_, theirs),) = _frames_at(decoder, [key], info, table)
            ((_, ours),) = decode_strictly(path, [key], info)
            if not alike(theirs, ours):
                raise NeedsLinearDecodeError("its key frame looks another")
            due = self._decoded[info.codec] % self._check_every == 0
            truth = decode_strictly(path, wanted, info) if due else None
            for index, frame in _in_batches(decoder, wanted, info, table):
                if truth is not None and not alike(frame, next(truth)[1]):
                    self._note_difference(f"frame {index} of {path}")
                yield index, frame
            self._decoded[info.codec] += 1  # and so the next one is checked, too, where this one differed
            self._odd = "" if due else self._odd

    def _note_difference(self, frame: str) -> NoReturn:
        """One video may be an odd one. Two in a row are not."""
        if self._odd:
            raise DeviceError(
                "--decoder nvdec",
                expected="the GPU to decode what PyAV decodes, but for the rounding of colours",
                found=f"other pictures at {self._odd} and {frame}",
                hint="Begin anew without it, with --restart. Please report it, with the GPU and its driver.",
            )
        self._odd = frame
        raise NeedsLinearDecodeError("the GPU decodes another picture")


def require(device: str = "cuda") -> None:
    """Refuse a machine on which torchcodec cannot decode on a device.

    Raises:
        DeviceError: saying what is missing.
    """
    try:
        import torch
        import torchcodec

        found = _missing(torch, torchcodec, device)
        if not found:
            torch.zeros(1, device=device)
    except (ImportError, OSError, RuntimeError) as error:  # as its libraries fail to load, or CUDA to begin
        lines = str(error).strip().splitlines() or [type(error).__name__]
        found = lines[0]
    if found:
        raise DeviceError(
            "--decoder nvdec",
            expected="an NVIDIA GPU, PyTorch for CUDA, torchcodec of 0.17 or later, and FFmpeg's shared libraries",
            found=found,
            hint="Install torchcodec with pip install 'vidfeat[nvdec]' and FFmpeg (4 to 9) with the system's packages; "
            "or leave --decoder nvdec out.",
        )


def alike(frame: Frame, other: Frame) -> bool:
    """Whether two decoders' pictures, uint8 RGB [H, W, 3], are the same but for the rounding of colours."""
    if frame.shape != other.shape:
        return False
    apart = np.maximum(frame, other) - np.minimum(frame, other)
    return bool(apart.mean() <= MOST_MEAN_APART and np.count_nonzero(apart > MOST_APART) <= apart.size / 1000)


def _missing(torch: Any, torchcodec: Any, device: str) -> str:
    """What a machine lacks on which torchcodec can be imported; empty where it lacks nothing."""
    version = metadata.version("torchcodec")
    if torch.torch_version.TorchVersion(version) < _NEEDED_VERSION:
        return f"torchcodec {version}"
    if torchcodec.ffmpeg_major_version is None:
        return "no FFmpeg that torchcodec can load"
    if not device.startswith("cuda"):
        return ""
    if not torch.cuda.is_available():
        return f"no GPU that PyTorch {torch.__version__} can use"
    # Without it torchcodec decodes on the CPU, and does not say so. Containers have to ask for it.
    return "" if _loads("libnvcuvid.so") or _loads("libnvcuvid.so.1") else "no libnvcuvid (the driver's video part)"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _unfit(info: VideoInfo) -> str:
    """Why a video is none for NVDEC, for people; empty where it is one."""
    if info.frames_from != "packets" or info.packets is None or info.packets.tick_seconds is None:
        return f"{info.codec} in this file: only decoding all of it tells which frame is which"
    if info.packets.parameters_change:
        return "its parameters change on the way"
    if info.pixel_format not in _FITTING_FORMATS:
        return f"it is {info.pixel_format}"
    if info.rotation or info.width % 2 or info.height % 2:
        return "it is rotated, or of an odd size"
    return ""


def _table(info: VideoInfo) -> PacketTable:
    if info.packets is None:
        raise NeedsLinearDecodeError("no table of its packets")
    return info.packets


def _key_frame(table: PacketTable, wanted: list[int]) -> int:
    """The last frame at which decoding can begin, up to the middle of those wanted: the first ones are often black."""
    ranks = table.ranks[table.entry]
    return int(ranks[ranks <= wanted[len(wanted) // 2]].max())


@contextmanager
def _open(path: str, info: VideoInfo, device: str) -> Iterator[Any]:
    """A torchcodec decoder that knows our frames, on the open file: it gets no name, and FFmpeg may open no other."""
    from torchcodec.decoders import VideoDecoder

    with open_file(path, "decode") as file:
        if os.fstat(file.fileno()).st_size != info.bytes:
            raise NeedsLinearDecodeError("it is not the file that was looked at")
        mappings = _mappings(_table(info))
        with _as_doubt():
            decoder = VideoDecoder(file, device=device, dimension_order="NHWC", custom_frame_mappings=mappings)
            on_cpu = bool(decoder.cpu_fallback)
        if on_cpu:
            raise NeedsLinearDecodeError(f"{info.codec} of {info.width}x{info.height} is not for this GPU")
        yield decoder


@contextmanager
def _as_doubt() -> Iterator[None]:
    """Whatever torchcodec cannot do with a video, PyAV tells what is the matter with it, if anything is."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise NeedsLinearDecodeError(f"torchcodec: {type(error).__name__}: {lines[0]}") from error


def _mappings(table: PacketTable) -> str:
    """Our frames in torchcodec's words. It may begin only where decoding can: containers mark more as key frames."""
    order = np.argsort(table.pts)
    pts, key = table.pts[order], table.entry[order]
    durations = np.append(np.diff(pts), 1)  # of no consequence for frames that are asked for by number
    frames = zip(pts.tolist(), durations.tolist(), key.tolist(), strict=True)
    return json.dumps({"frames": [{"pts": p, "duration": d, "key_frame": int(k)} for p, d, k in frames]})


def _in_batches(decoder: Any, wanted: list[int], info: VideoInfo, table: PacketTable) -> Iterator[tuple[int, Frame]]:
    size = max(1, _BATCH_BYTES // (3 * info.width * info.height))
    for start in range(0, len(wanted), size):
        yield from _frames_at(decoder, wanted[start : start + size], info, table)


def _frames_at(decoder: Any, indices: list[int], info: VideoInfo, table: PacketTable) -> list[tuple[int, Frame]]:
    """Frames by rising index, each of the size and at the time that ours has.

    Raises:
        NeedsLinearDecodeError: one is not, or torchcodec reports an error.
    """
    with _as_doubt():
        batch = decoder.get_frames_at(indices)
        pixels = batch.data.cpu().numpy()
    if pixels.dtype != np.uint8 or pixels.shape != (len(indices), info.height, info.width, 3):
        raise NeedsLinearDecodeError("its frames have another size")
    tick = table.tick_seconds or 0.0
    ours = np.sort(table.pts)[indices] * tick
    if (np.abs(batch.pts_seconds.numpy() - ours) >= tick / 2).any():
        raise NeedsLinearDecodeError("its frames come at other times")
    return list(zip(indices, pixels, strict=True))
