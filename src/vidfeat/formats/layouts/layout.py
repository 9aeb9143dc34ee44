"""What a layout is: how the code that trains on features wants their files, and which rows it counts on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, final

import numpy as np

from vidfeat.errors import UsageError, VideoError, quote
from vidfeat.features import Dtype, Outcome, VideoFailure, VideoFeatures
from vidfeat.formats.atomic import replacing
from vidfeat.formats.folder import FolderSink
from vidfeat.formats.layouts.row_grid import RowGrid
from vidfeat.formats.sink import Sink
from vidfeat.formats.video_file import NPY, FileFormat
from vidfeat.videos import VIDEO_SUFFIXES

MISSING_FILES = "missing_files.txt"
CONFIG_LINES = "config-lines.txt"

_FEWEST_ROWS = 3


@dataclass(frozen=True)
class Output:
    """The output of one encoder, as the lines of a config name it.

    Attributes:
        encoder: its name.
        folder: what the consumer is to be given: an absolute path.
        size: numbers of a row, C.
        grid: where its rows lie.
    """

    encoder: str
    folder: str
    size: int
    grid: RowGrid


Lines = Callable[[Sequence[Output]], str]


def for_each(lines: Callable[[Output], str]) -> Lines:
    """The lines for a consumer that reads one output."""
    return lambda outputs: "\n\n".join(map(lines, outputs))


def stem(key: str) -> str:
    """The name of a video without its folders and its suffix: `a/clip.mp4` gives `clip`, `v1.5` stays."""
    path = PurePosixPath(key)
    return path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name


@dataclass(frozen=True)
class Listing:
    """A text file that names the videos with features.

    Attributes:
        name: the file's.
        line: from the key and the absolute path of the file of a video.
        header: its first line; empty where there is none.
    """

    name: str
    line: Callable[[str, str], str]
    header: str = ""


@dataclass(frozen=True)
class Layout:
    """How one consumer wants features.

    A new layout is a file with one of these, and a line in `vidfeat.formats.layouts.LAYOUTS`.

    Attributes:
        name: what `Job.layout` calls it.
        lines: from the outputs of a run, in the order of its encoders, to what its config needs.
        needs: the rows that the consumer counts on, in words.
        fits: whether a grid gives those rows.
        hint: what gives them.
        file: the format of the file of a video.
        name_of: from the key of a video to the name by which the consumer knows it, that of its file.
        folder: of the files, in the output; empty where they lie in the output itself.
        tail: of the names of files, before the suffix.
        in_seconds: whether the consumer finds rows by seconds, as if each came `stride` frames after the one before at
            one rate; otherwise by frames alone.
        crops_kept: how many crops of every frame rows keep, `[T, crops, C]` in place of `[T, C]`; 0 for their mean.
        dtype: number format of the files; None leaves it to the job.
        convert: from rows as they are computed to rows as files hold them; None where they are the same.
        listing: the list that the consumer reads; None where it reads none.
        sink: what writes the output; None is a folder with a file for each video.
    """

    name: str
    lines: Lines
    needs: str = "a stride in frames that is the same for all videos"
    fits: Callable[[RowGrid], bool] = lambda grid: grid.stride is not None
    hint: str = "Give `grid.stride` in frames, or `grid.fps` with it."
    file: FileFormat = NPY
    name_of: Callable[[str], str] = stem
    folder: str = ""
    tail: str = ""
    in_seconds: bool = True
    crops_kept: int = 0
    dtype: Dtype | None = None
    convert: Callable[[VideoFeatures, RowGrid], VideoFeatures] | None = None
    listing: Listing | None = None
    sink: type[LayoutOutput] | None = None

    def open(self, out: Path, grid: RowGrid | None = None, config_lines: str = "") -> Sink:
        """The output as a sink.

        Args:
            out: the folder; `folder` is created in it, where it does not have that name itself.
            grid: where the rows to be written lie; None where features are only read.
            config_lines: for the consumer's config, to be written beside the features.
        """
        if self.sink is not None:
            return self.sink(out, layout=self, grid=grid, config_lines=config_lines)
        return LayoutSink(out, self.file, layout=self, grid=grid, config_lines=config_lines)

    def root(self, out: Path) -> Path:
        """The folder that the consumer is to be given."""
        return out.parent if self.folder and out.name == self.folder.rstrip("/") else out


@dataclass(frozen=True)
class LayoutOutput(Sink):
    """An output as a consumer reads it.

    Beside the features are `missing_files.txt`, with the names of the videos without features, one a line,
    `config-lines.txt`, and the list of the layout.

    Attributes:
        layout: the consumer's.
        grid, config_lines: as for `Layout.open`.
    """

    layout: Layout = field(kw_only=True)
    grid: RowGrid | None = field(default=None, kw_only=True)
    config_lines: str = field(default="", kw_only=True)

    @property
    def name(self) -> str:
        """The layout's."""
        return self.layout.name

    @abstractmethod
    def file_name(self, key: str) -> str:
        """The file of a video, relative to the folder."""

    def list_videos(self, videos: Iterable[tuple[str, bool]]) -> None:
        """Write the files beside the features; each replaces the one that is there."""
        texts: dict[str, list[str]] = {MISSING_FILES: [], CONFIG_LINES: self.config_lines.splitlines()}
        listing = self.layout.listing
        if listing is not None:
            texts[listing.name] = [listing.header] if listing.header else []
        for key, done in videos:
            if not done:
                texts[MISSING_FILES].append(name_of(self.layout, key))
            elif listing is not None:
                texts[listing.name].append(listing.line(key, str((self.out / self.file_name(key)).absolute())))
        for name, lines in texts.items():
            with replacing(self.out / name) as file:
                file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))

    def header(self) -> Mapping[str, Any]:
        """The lines of the config."""
        return {"config_lines": self.config_lines}


@final
@dataclass(frozen=True)
class LayoutSink(LayoutOutput, FolderSink):
    """A folder as a consumer reads it, with a file for each video."""

    def file_name(self, key: str) -> str:
        """The file of a video, relative to the folder: named as the consumer knows the video.

        Raises:
            UsageError: the key leads out of the folder, or nothing is left of it.
        """
        FolderSink.file_name(self, key)  # refuses what no file can be named after
        folder = "" if self.out.name == self.layout.folder.rstrip("/") else self.layout.folder
        return f"{folder}{name_of(self.layout, key)}{self.layout.tail}{self.file_format.suffix}"

    def kept(self, features: VideoFeatures) -> Outcome:
        """The rows of the layout; a failure where the consumer would take them for those of other seconds."""
        if self.layout.in_seconds and (error := _irregular(features, self.layout.name)) is not None:
            return VideoFailure(features.key, features.encoder, error)
        if self.layout.convert is None or self.grid is None:
            return features
        return self.layout.convert(features, self.grid)


def _irregular(features: VideoFeatures, layout: str) -> VideoError | None:
    """What is wrong with rows that lie more than half a row from where they would be at equal distances."""
    start, end = features.start_seconds, features.end_seconds
    if start is None or end is None:
        return None
    inside = (start > start[0]) & (end < end[-1])  # away from the ends of the video, where times are cut off
    centres = (start + end)[inside] / 2
    if len(centres) < _FEWEST_ROWS:
        return None
    off = np.abs(centres - np.linspace(centres[0], centres[-1], len(centres)))
    step = (centres[-1] - centres[0]) / (len(centres) - 1)
    if off.max() <= step / 2:
        return None
    return VideoError(
        features.key if features.info is None else features.info.path,
        stage="write",
        kind="variable_rate",
        expected=f"rows at equal distances, by which {layout} finds their seconds",
        found=f"a video of variable frame rate, with a row {off.max():.2f} s from there",
        hint="Give `fps`, so that frames are resampled to one rate first.",
    )


def name_of(layout: Layout, key: str) -> str:
    """The name by which the consumer knows a video.

    Raises:
        UsageError: there is none, or it cannot stand on a line of a list.
    """
    name = layout.name_of(key)
    if not name or "\n" in name:
        raise UsageError(
            quote(key), expected=f"a name for {layout.name}, on one line", found=quote(name), hint="Rename the video."
        )
    return name
