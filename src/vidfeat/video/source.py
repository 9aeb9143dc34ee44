"""Opening a video: one file or object, read as one of the known containers. Files that it refers to are never opened.

The contents of a file can make FFmpeg open other files and addresses (playlists, references), and its name can select
another protocol. Therefore FFmpeg gets an open Python file instead of a name, a list of permitted containers, and a
callback that refuses to open anything else.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

from vidfeat.errors import Kind, Stage, UsageError, VideoError, reason
from vidfeat.storage import is_uri, stamp_of_status
from vidfeat.video.remote import RemoteFile

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MAX_PIXELS = 2**26
"""Largest frame that is decoded, in pixels: 8192 x 8192. A header of a few bytes can ask for any size."""

MAX_STREAMS = 64
"""Most streams that a file may have."""

CONTAINERS = (
    # Video. Left out on purpose: everything that names other files or addresses (hls, dash, concat, image2, sdp, ...).
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,mxf,gif,yuv4mpegpipe,ivf,obu,av1,h264,hevc,"
    "h263,m4v,mjpeg,dv,nut,"
    # Audio, so that a song is reported as a file without video and not as a corrupt one.
    "mp3,aac,flac,wav"
)
"""FFmpeg's names of the demuxers that may read a file."""

_READABLE, _WHOLE = "a readable video file", "a file that holds the video itself"
"""What is expected, in several errors."""

_BUFFER_BYTES = 1 << 17
_PLAYLIST_HEAD_BYTES = 4096
_PLAYLISTS = {
    "an HLS playlist": re.compile(rb"#EXTM3U"),
    "a list for FFmpeg's concat demuxer": re.compile(rb"ffconcat\b"),
    "a DASH manifest": re.compile(rb"<(\?xml[^>]*>.*<)?(\w+:)?MPD\b", re.DOTALL),
    "an XML playlist": re.compile(
        rb"<(\?xml[^>]*>.*<)?(CompositionPlaylist|SmoothStreamingMedia|asx)\b", re.DOTALL | re.I
    ),
    "an SDP session": re.compile(rb"v=0\r?\n"),
    "a PLS playlist": re.compile(rb"\[(playlist|Reference)\]", re.I),
}


class _NestedOpenError(Exception):
    """FFmpeg wanted to open a second file or an address."""


class OpenVideo(NamedTuple):
    """An open video; valid inside `open_video` only.

    Attributes:
        container, stream: the container and its video stream.
        file: the file, with its size and its modification time when it was opened.
    """

    container: InputContainer
    stream: VideoStream
    file: LocalFile | RemoteFile

    @property
    def stamp(self) -> tuple[int, int]:
        """Size in bytes, and modification time in nanoseconds since 1970, when it was opened."""
        return self.file.bytes, self.file.modified_ns


class LocalFile(io.FileIO):
    """An unbuffered file that stores a read error in `error` and then reports its end.

    An exception inside FFmpeg's callback is not safe: FFmpeg may read on, and PyAV prints what it has to drop.

    Attributes:
        bytes, modified_ns: size and modification time when it was opened.
        error: of the system, while reading.
    """

    error: OSError | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.bytes, self.modified_ns = stamp_of_status(os.fstat(self.fileno()))

    def read(self, size: int | None = -1, /) -> bytes:
        """The next `size` bytes; none after an error."""
        if self.error is None:
            try:
                return super().read(-1 if size is None else size) or b""
            except OSError as error:
                self.error = error
        return b""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """The new position, or a negative error number: broken files make FFmpeg seek to places before the start."""
        try:
            return super().seek(offset, whence)
        except OSError as error:
            return -(error.errno or errno.EINVAL)


@contextmanager
def open_file(path: str | os.PathLike[str], stage: Stage) -> Iterator[LocalFile | RemoteFile]:
    """Open a regular file, or an object behind a URI, for reading.

    Raises:
        VideoError: `missing`, `empty`, or `io` (no regular file, or not readable), also for errors while reading it.
    """
    where = os.fspath(path)
    try:
        file = RemoteFile(where, fresh=stage == "open") if is_uri(where) else _open_regular(Path(where))
    except UsageError as error:
        raise _refused(where, stage, "io", _READABLE, error.found, error.hint) from error
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a null byte in the name
        hint = "Check the name, and the folder that the names of a list start from."
        raise _refused(where, stage, "missing", _READABLE, "no file of that name", hint) from error
    except OSError as error:
        raise _refused(where, stage, "io", _READABLE, reason(error)) from error
    with file:
        if file.bytes == 0:
            raise _refused(where, stage, "empty", _READABLE, "a file of 0 bytes")
        try:
            yield file
        except Exception:
            if file.error is None:
                raise
        if file.error is not None:  # the cause of whatever error was raised above
            raise _refused(where, stage, "io", _READABLE, reason(file.error)) from file.error


def _open_regular(path: Path) -> LocalFile:
    # Checked before it is opened: opening a FIFO would wait for its writer.
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a directory")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "something that is no regular file")
    file = LocalFile(path)
    file.name = "video"  # FFmpeg would take hints from it: `frame%d.png` is a series of pictures
    return file


def _refused(where: str, stage: Stage, kind: Kind, expected: str, found: str, hint: str = "") -> VideoError:
    return VideoError(where, stage=stage, kind=kind, expected=expected, found=found, hint=hint)


def broken(where: str, stage: Stage, kind: Kind, expected: str, found: str) -> VideoError:
    """The error of a file that is `truncated` or `corrupt`."""
    hint = "Copy or download it again." if kind == "truncated" else "Check that it plays, or encode it again."
    return _refused(where, stage, kind, expected, found, hint)


@contextmanager
def open_video(path: str | os.PathLike[str], stage: Stage) -> Iterator[OpenVideo]:
    """Open the file and its best video stream by FFmpeg's rule; errors inside the block come out as `VideoError`.

    Raises:
        VideoError: of `stage`; see `vidfeat.video.probe` for the kinds.
    """
    import av

    where = os.fspath(path)
    with open_file(path, stage) as file, _as_video_error(where, stage):
        _refuse_playlist(file, where, stage)
        with av.open(
            file,
            mode="r",
            buffer_size=_BUFFER_BYTES,
            io_open=_refuse_nested_open,
            # Not `options`, with which PyAV 17.0 crashes on formats that find their streams late.
            container_options={"format_whitelist": CONTAINERS, "protocol_whitelist": "none"},
            metadata_errors="replace",
        ) as container:
            yield OpenVideo(container, _best_stream(container, where, stage), file)


def _best_stream(container: InputContainer, where: str, stage: Stage) -> VideoStream:
    from av.stream import Disposition

    if len(container.streams) > MAX_STREAMS:
        raise _refused(where, stage, "too_large", f"at most {MAX_STREAMS} streams", f"{len(container.streams)}")
    stream: Any = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:
        found = "only a cover picture" if stream is not None else "none"
        raise _refused(where, stage, "no_video", "a file with a video stream", found)
    context = stream.codec_context
    if context is None:
        raise _refused(where, stage, "corrupt", "a video codec that FFmpeg decodes", "an unknown codec")
    check_frame_size(context.width, context.height, where, stage)
    # Many videos are decoded at once; and several threads would delay decodable frames, and lose them with an error.
    context.thread_count = 1
    context.options = {"max_pixels": str(MAX_PIXELS)}
    if context.codec.canonical_name == "mjpeg":
        # Of a damaged picture FFmpeg returns the part that decodes, over uninitialised memory: the result varies. Other
        # decoders conceal damage from the frames before, always in the same way.
        context.options["err_detect"] = "explode"
    return cast("VideoStream", stream)


def check_frame_size(width: int, height: int, where: str, stage: Stage) -> None:
    """Raise `VideoError` of kind `too_large` for a frame of more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise _refused(where, stage, "too_large", f"frames of at most {MAX_PIXELS} pixels", f"{width} x {height}")


def _refuse_playlist(file: LocalFile | RemoteFile, where: str, stage: Stage) -> None:
    """Report playlists as such. The list of containers refuses them too, but without saying what was refused."""
    head = file.read(_PLAYLIST_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    for name, pattern in _PLAYLISTS.items():
        if pattern.match(head):
            found = f"{name}, which names other files or addresses; nothing that it names was opened"
            raise _refused(where, stage, "blocked_format", _WHOLE, found, "List the video files themselves.")


def _refuse_nested_open(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise _NestedOpenError(url)


@contextmanager
def _as_video_error(where: str, stage: Stage) -> Iterator[None]:
    """Convert FFmpeg's errors to `VideoError`; the only place that does."""
    from av.error import FFmpegError, InvalidDataError

    try:
        yield
    except VideoError:
        raise
    except _NestedOpenError as error:
        found = f"a reference to {str(error)!r}, which was not opened"
        raise _refused(where, stage, "blocked_format", _WHOLE, found) from error
    except MemoryError as error:
        raise _refused(where, stage, "out_of_memory", "memory for the decoder", "none left") from error
    except FFmpegError as error:
        # Above its own limit, four times `MAX_PIXELS`, FFmpeg refuses a frame before its size can be read.
        known = f"a video in a known container, with frames of at most {MAX_PIXELS} pixels"
        expected = known if stage == "open" else "a stream that decodes without errors"
        found = "damaged or unknown data" if isinstance(error, InvalidDataError) else reason(error)
        raise broken(where, stage, "corrupt", expected, found) from error
