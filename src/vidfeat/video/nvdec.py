"""Optional decoding on a GPU (NVDEC) through torchcodec. It gives the same frames as `decode`.

The number, order and times of frames come from `probe`, as always; torchcodec is given that table and does not look for
key frames itself. It decodes only what both decoders read in one way: 8-bit 4:2:0 in a container that gives every frame
a time. PyAV decodes everything else, and every video whose frames are not certain to be the same.

The GPU's pixels are not PyAV's to the bit. The decoded planes are, as the codecs' standards prescribe every bit of
them, but their conversion to RGB is rounded differently. `docs/design/0006-nvdec.md` has the numbers.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from vidfeat.errors import DeviceError, VideoError
from vidfeat.lazy_import import install_command
from vidfeat.video.decode import (
    Frame,
    FrameIndices,
    NeedsLinearDecodeError,
    Pixels,
    decode,
    decode_strictly,
    sorted_indices,
)
from vidfeat.video.info import VideoInfo
from vidfeat.video.packets import PacketTable
from vidfeat.video.source import open_file

Decoder = Literal["pyav", "nvdec"]
"""What decodes videos."""

MAX_MEAN_DIFFERENCE = 1.5
"""Mean difference between the 8-bit values of a frame and PyAV's that rounding explains. torchcodec's conversion,
computed on the CPU for real videos, gives at most 0.8; one that rounds to the nearest would give 1.3."""

MAX_DIFFERENCE = 4
"""Difference of single values that rounding explains: 2 or 3 in all those videos. A thousandth of the values may differ
more. Another colour matrix exceeds it, in pictures that have colours."""

CHECK_EVERY = 100
"""One video in this many is checked: PyAV decodes all of its wanted frames as well."""

_SUPPORTED_FORMATS = ("yuv420p", "yuvj420p")
_BATCH_BYTES = 64 << 20
_SAME_TIME_SECONDS = 1e-6
_DECODERS_CACHED = 4  # by default 20: each holds memory of the GPU, and there are several processes
_REQUIRED_VERSION = (0, 17)  # before, videos of one coded size and different display sizes got each other's crop


class Nvdec:
    """Decodes videos on a GPU, one after the other. Its state serves only for checks and messages.

    Args:
        device: torchcodec's name of the device, such as "cuda:1". With "cpu" the same code runs without a GPU, for
            tests.
        check_every: as `CHECK_EVERY`.

    Attributes:
        device: as given.
        fallback_reason: why PyAV decoded the last video, or the rest of it; empty where it did not.
    """

    def __init__(self, device: str = "cuda", *, check_every: int = CHECK_EVERY) -> None:
        self.device = device
        self.fallback_reason = ""
        self._check_every = check_every
        self._decoded: Counter[str] = Counter()
        self._last_difference = ""

    def start(self) -> None:
        """Load torchcodec and initialise the device, once per process; takes seconds.

        Raises:
            DeviceError: as `require` does.
        """
        require(self.device)

        from torchcodec.decoders import set_nvdec_cache_capacity

        set_nvdec_cache_capacity(_DECODERS_CACHED)

    def decode(
        self,
        path: str | os.PathLike[str],
        frame_index: Iterable[int] | npt.NDArray[np.integer],
        info: VideoInfo,
        *,
        to_end: bool = False,
    ) -> Iterator[Frame]:
        """Decode the wanted frames of a video like `vidfeat.video.decode`, except for the last bits of the pixels.

        A key frame of every video is compared with PyAV's, and so are all frames of the first video of each codec and
        of one in `check_every` after it. A video that differs is decoded by PyAV. Damage inside pictures is not
        noticed: a GPU's decoder conceals it without a message.

        Args:
            path, frame_index, info, to_end: as for `vidfeat.video.decode`.

        Yields:
            Frames by rising index, each wanted index once.

        Raises:
            DeviceError: two videos in a row, of those whose frames are all checked, differ though they decode without
                errors and their key frames agree. The device cannot be trusted.
            UsageError, FrameCountError, VideoError: as `vidfeat.video.decode` does.
        """
        where, wanted = os.fspath(path), sorted_indices(frame_index)
        self.fallback_reason = _unsupported(info) or ("it has to be decoded to its end" if to_end else "")
        done = 0
        if len(wanted) and not self.fallback_reason:
            try:
                for frame in self._checked_frames(where, wanted, info):
                    yield frame
                    done += 1
            except (NeedsLinearDecodeError, VideoError) as error:
                self.fallback_reason = str(error) or "it is damaged"
        if done < len(wanted):
            yield from decode(path, wanted[done:], info, to_end=to_end)

    def _checked_frames(self, path: str, wanted: FrameIndices, info: VideoInfo) -> Iterator[Frame]:
        table = info.packets
        assert table is not None  # as the video is supported
        with _open(path, info, table, self.device) as decoder:
            key = np.array([_key_frame(table, wanted)])
            (actual,), (expected,) = _frames_at(decoder, key, info), decode_strictly(path, key, info)
            if not alike(actual.pixels, expected.pixels):
                raise NeedsLinearDecodeError("its key frame differs from PyAV's")
            due = self._decoded[info.codec] % self._check_every == 0
            truth = decode_strictly(path, wanted, info) if due else None
            for frame in _in_batches(decoder, wanted, info):
                if truth is not None and not alike(frame.pixels, next(truth).pixels):
                    self._note_difference(f"frame {frame.index} of {path}")
                yield frame
            self._decoded[info.codec] += 1  # not reached where this video differs, so that the next one is checked
            self._last_difference = "" if due else self._last_difference

    def _note_difference(self, frame: str) -> NoReturn:
        """One video may be exceptional; a second one in a row is the device's fault."""
        if self._last_difference:
            raise DeviceError(
                "`decoder=nvdec`",
                expected="the GPU to decode what PyAV decodes, except for the rounding of colours",
                found=f"different pictures at {self._last_difference} and {frame}",
                hint="Run again without it, with `restart=True`. Please report it, with the GPU and its driver.",
            )
        self._last_difference = frame
        raise NeedsLinearDecodeError("the GPU decodes a different picture")


def require(device: str = "cuda") -> None:
    """Check that torchcodec can decode on a device of this machine.

    Raises:
        DeviceError: it cannot; `found` names what is missing.
    """
    try:
        import torch
        import torchcodec

        found = _missing(torch, torchcodec, device)
        if not found:
            torch.zeros(1, device=device)
    except (ImportError, OSError, RuntimeError) as error:  # its libraries do not load, or CUDA does not start
        lines = str(error).strip().splitlines() or [type(error).__name__]
        found = lines[0]
    if found:
        raise DeviceError(
            "`decoder=nvdec`",
            expected="an NVIDIA GPU, PyTorch for CUDA, torchcodec of 0.17 or later, and FFmpeg's shared libraries",
            found=found,
            hint=f"Install torchcodec with {install_command('nvdec')} and FFmpeg (4 to 9) with the system's packages; "
            "or leave `decoder=nvdec` out.",
        )


def alike(pixels: Pixels, other: Pixels) -> bool:
    """Whether two decoders' pictures, uint8 RGB `[H, W, 3]`, are the same except for the rounding of colours."""
    if pixels.shape != other.shape:
        return False
    difference = np.maximum(pixels, other) - np.minimum(pixels, other)
    large = np.count_nonzero(difference > MAX_DIFFERENCE)
    return bool(difference.mean() <= MAX_MEAN_DIFFERENCE and large <= difference.size / 1000)


def _missing(torch: Any, torchcodec: Any, device: str) -> str:
    """What is missing on a machine on which torchcodec can be imported; empty where nothing is."""
    version = metadata.version("torchcodec")
    if torch.torch_version.TorchVersion(version) < _REQUIRED_VERSION:
        return f"torchcodec {version}"
    if torchcodec.ffmpeg_major_version is None:
        return "no FFmpeg that torchcodec can load"
    if not device.startswith("cuda"):
        return ""
    if not torch.cuda.is_available():
        return f"no GPU that PyTorch {torch.__version__} can use"
    # Without it torchcodec decodes on the CPU without a message. Containers have to request it.
    return "" if _loads("libnvcuvid.so") or _loads("libnvcuvid.so.1") else "no libnvcuvid (the driver's video part)"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _unsupported(info: VideoInfo) -> str:
    """Why NVDEC does not decode a video, for a message; empty where it does."""
    if info.frames_from != "packets" or info.packets is None:
        return f"{info.codec} in this file: its frames are only known after decoding all of it"
    if info.packets.parameters_change:
        return "its parameters change after its start"
    if info.pixel_format not in _SUPPORTED_FORMATS:
        return f"it is {info.pixel_format}"
    if info.rotation or info.mirrored or info.width % 2 or info.height % 2:
        return "it is rotated, mirrored, or of an odd size"
    return ""


def _key_frame(table: PacketTable, wanted: FrameIndices) -> int:
    """The last random access point up to the middle of the wanted frames: the first ones are often black."""
    ranks = table.ranks[table.random_access]
    return int(ranks[ranks <= wanted[len(wanted) // 2]].max())


@contextmanager
def _open(path: str, info: VideoInfo, table: PacketTable, device: str) -> Iterator[Any]:
    """A torchcodec decoder with the table of `probe`, on the open file: without a name, FFmpeg cannot open another."""
    from torchcodec.decoders import VideoDecoder

    with open_file(path, "decode") as file:
        if (file.bytes, file.modified_ns) != info.stamp:
            raise NeedsLinearDecodeError("it is not the file that was probed")
        mappings = _mappings(table)
        with _torchcodec_errors():
            decoder = VideoDecoder(file, device=device, dimension_order="NHWC", custom_frame_mappings=mappings)
            on_cpu = bool(decoder.cpu_fallback)
        if on_cpu:
            raise NeedsLinearDecodeError(f"{info.codec} of {info.width}x{info.height} is not supported by this GPU")
        yield decoder


@contextmanager
def _torchcodec_errors() -> Iterator[None]:
    """Convert torchcodec's errors to `NeedsLinearDecodeError`: PyAV then reports what is wrong, if anything is."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise NeedsLinearDecodeError(f"torchcodec: {type(error).__name__}: {lines[0]}") from error


def _mappings(table: PacketTable) -> str:
    """The table in torchcodec's format. Only random access points are key frames: containers mark more than those."""
    order = np.argsort(table.pts)
    pts, key = table.pts[order], table.random_access[order]
    durations = np.append(np.diff(pts), 1)  # not used for frames that are requested by number
    frames = zip(pts.tolist(), durations.tolist(), key.tolist(), strict=True)
    return json.dumps({"frames": [{"pts": p, "duration": d, "key_frame": int(k)} for p, d, k in frames]})


def _in_batches(decoder: Any, wanted: FrameIndices, info: VideoInfo) -> Iterator[Frame]:
    size = max(1, _BATCH_BYTES // (3 * info.width * info.height))
    for start in range(0, len(wanted), size):
        yield from _frames_at(decoder, wanted[start : start + size], info)


def _frames_at(decoder: Any, indices: FrameIndices, info: VideoInfo) -> Iterator[Frame]:
    """Frames by rising index, each of the size and at the time that `info` says.

    Raises:
        NeedsLinearDecodeError: one is not, or torchcodec reports an error.
    """
    with _torchcodec_errors():
        batch = decoder.get_frames_at(indices.tolist())
        pixels = batch.data.cpu().numpy()
    if pixels.dtype != np.uint8 or pixels.shape != (len(indices), info.height, info.width, 3):
        raise NeedsLinearDecodeError("its frames have another size")
    seconds = info.timeline.pts_seconds[indices]
    if (np.abs(batch.pts_seconds.numpy() - seconds) > _SAME_TIME_SECONDS).any():
        raise NeedsLinearDecodeError("its frames have other times")
    return map(Frame, indices.tolist(), seconds.tolist(), pixels)
