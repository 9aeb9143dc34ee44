"""A job: which videos, which encoders, where the features go, and how they are computed, as plain data."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, get_args

from vidfeat.errors import UsageError
from vidfeat.features import Dtype
from vidfeat.inference import Precision
from vidfeat.preprocessing.segments import Segments
from vidfeat.preprocessing.windows import Windows
from vidfeat.recipe import Pooling, TimeGrid, part_from_json, part_to_json
from vidfeat.storage import is_uri, require_scheme
from vidfeat.video.info import OnCorrupt
from vidfeat.video.nvdec import Decoder
from vidfeat.videos import VideoRef, expand, expand_lazily

if TYPE_CHECKING:
    from vidfeat.encoders import Encoder
    from vidfeat.formats import Sink

Videos: TypeAlias = Union[str, "os.PathLike[str]", VideoRef, Sequence[Union[str, "os.PathLike[str]", VideoRef]]]
"""A folder, a list file, a path, a glob, a `VideoRef`, or several of those."""

OnError = Literal["skip", "fail"]

JOB_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be computed, and how. Plain data: it can be printed, compared, saved as JSON and sent to a node.

    Attributes:
        videos: a folder, a list file (`.txt`), a path, a glob, a `VideoRef`, or a sequence of those. They are looked up
            when the job is run.
        encoders: one encoder, or several, which share the decoding.
        out: the output: a file, whose suffix says the format, or a folder. With several encoders it holds `{encoder}`,
            in place of which each puts its name. A URI means a folder of Parquet files in object storage. None for a
            job that is only streamed.
        video_root: the folder that the paths of a list start from.
        follow_links: whether symbolic links may lead out of `video_root`, or out of a folder of videos.
        grid: when rows are, in place of the encoders' own.
        pooling: what becomes of space, time and views, in place of the encoders' own.
        layout: the code that the output is for, such as "actionformer": it says names, formats and numbers of the files
            in the folder `out`. One of `vidfeat.formats.layouts.LAYOUTS`; None writes an output of vidfeat's own.
        precision: number format of the networks: "fp32" is exact, "bf16" and "fp16" are checked against it.
        dtype: number format of the output. With "float16", a video with values beyond 65504 fails.
        device: "auto" (every GPU, or the CPU), "cpu", "cuda", "cuda:1", or several with commas.
        decoder: "pyav" is exact; "nvdec" decodes on a GPU what it can, with colours rounded in another way.
        compiled: whether `torch.compile` makes the networks faster first; None decides by measurement.
        on_error: whether a video that fails is recorded and passed over, or ends the run.
        on_corrupt: whether a truncated or corrupt video fails, or gives features of the frames that decode, marked so.
        timeout_seconds: time that decoding any video may take, above 0; more is added for large files and long videos.
        decode_processes: how many videos are decoded at once; None takes a process for each core. Features do not
            depend on it.

    Raises:
        UsageError: a value, or a combination of them, is impossible; it names the field.
    """

    videos: Videos
    encoders: Encoder | Sequence[Encoder]
    out: str | os.PathLike[str] | None = None
    video_root: str | os.PathLike[str] | None = None
    follow_links: bool = False
    grid: TimeGrid | None = None
    pooling: Pooling | None = None
    layout: str | None = None
    precision: Precision = "fp32"
    dtype: Dtype = "float32"
    device: str = "auto"
    decoder: Decoder = "pyav"
    compiled: bool | None = None
    on_error: OnError = "skip"
    on_corrupt: OnCorrupt = "fail"
    timeout_seconds: float = 60.0
    decode_processes: int | None = None

    def __post_init__(self) -> None:
        encoders = self.encoders if isinstance(self.encoders, list | tuple) else (self.encoders,)
        if not encoders or not all(hasattr(encoder, "identity") for encoder in encoders):
            raise UsageError(
                "encoders",
                expected="an encoder, or several",
                found=f"{self.encoders!r}",
                hint="Make one with `encoder`.",
            )
        self._set("encoders", tuple(self._replaced(encoder) for encoder in encoders))
        windows = {getattr(encoder.grid, "window", None) for encoder in encoders_of(self)}
        if isinstance(self.grid, Windows) and len(windows) > 1:
            raise UsageError(
                "grid.window",
                expected="the length of a window, as rows of several encoders stand for the same time",
                found=f"none, and encoders with clips of {', '.join(sorted(map(str, windows)))} frames",
            )
        self._set("videos", _normalized(self.videos))
        for name in ("out", "video_root"):
            value = getattr(self, name)
            self._set(name, None if value is None else os.fspath(value))
        choices = {
            "precision": Precision,
            "dtype": Dtype,
            "decoder": Decoder,
            "on_error": OnError,
            "on_corrupt": OnCorrupt,
        }
        for name, choice in choices.items():
            if getattr(self, name) not in get_args(choice):
                raise UsageError(name, expected=" or ".join(get_args(choice)), found=repr(getattr(self, name)))
        if not (isinstance(self.timeout_seconds, int | float) and 0 < self.timeout_seconds < float("inf")):
            raise UsageError("timeout_seconds", expected="a number of seconds above 0", found=f"{self.timeout_seconds}")
        if self.decode_processes is not None and not (
            isinstance(self.decode_processes, int) and self.decode_processes >= 1
        ):
            raise UsageError("decode_processes", expected="a whole number above 0", found=f"{self.decode_processes}")
        if self.layout is not None:
            from vidfeat.formats.layouts import require_layout

            self._set("dtype", require_layout(self.layout).dtype or self.dtype)
        if any(map(is_uri, self.outputs() if self.out is not None else ())):
            self._require_parts()
        elif self.out is not None:
            self.sinks()

    def refs(self, note: Callable[[str], object] = lambda line: None) -> tuple[VideoRef, ...]:
        """The videos, looked up.

        Args:
            note: takes a line about files that are no videos.

        Raises:
            UsageError: there are none, or a path, list or key is impossible, or the grid is not for them.
        """
        root = None if self.video_root is None else os.fspath(self.video_root)
        refs = expand(self._videos, root, follow_links=self.follow_links, note=note)
        for ref in refs:
            self._require_grid(ref)
        return refs

    def iterate_refs(self, note: Callable[[str], object] = lambda line: None) -> Iterator[VideoRef]:
        """The same one by one, in memory that does not grow with a list. That keys differ is not checked."""
        root = None if self.video_root is None else os.fspath(self.video_root)
        for ref in expand_lazily(self._videos, root, follow_links=self.follow_links, note=note):
            self._require_grid(ref)
            yield ref

    def _require_grid(self, ref: VideoRef) -> None:
        for encoder in encoders_of(self):
            if bool(ref.segments) != isinstance(encoder.grid, Segments) or (ref.segments and ref.segment):
                raise UsageError(
                    "grid",
                    expected="`Segments` for videos with `segments`, and for no others",
                    found=f"{encoder.grid} for {ref.key!r}",
                )

    def sinks(self) -> tuple[Sink, ...]:
        """The output of each encoder, where it is a file or a folder on this machine.

        Raises:
            UsageError: as `outputs`; one is no output's name; the layout needs other rows.
        """
        outs = self.outputs()
        if self.layout is not None:
            from vidfeat.formats.layouts import Rows, open_layout

            return open_layout(self.layout, outs, tuple(map(Rows.of, encoders_of(self))))
        from vidfeat.formats import open_sink

        sinks = tuple(map(open_sink, outs))
        for sink, encoder in zip(sinks, encoders_of(self), strict=True):
            if sink.one_shape:
                _require_one_shape(encoder, sink)
        return sinks

    def _require_parts(self) -> None:
        """Refuse what an output in object storage, which consists of Parquet files, cannot be."""
        for out in self.outputs():
            if out.lower().startswith("http"):
                raise UsageError("out", expected="a path or object storage, as HTTP cannot be written", found=repr(out))
            if PurePosixPath(out).suffix:
                raise UsageError(
                    "out",
                    expected="the URI of a folder in object storage, which gets Parquet files",
                    found=repr(out),
                    hint="Convert them to another format afterwards.",
                )
            require_scheme(out, "out")
        self.require_own_rows()

    def require_own_rows(self) -> None:
        """Refuse what an output of Parquet parts, in object storage or from a cluster, does not hold.

        Raises:
            UsageError: the job has a layout, or another dtype than float32.
        """
        for name, value in (("layout", None), ("dtype", "float32")):
            if getattr(self, name) != value:
                raise UsageError(
                    name,
                    expected=f"{'none' if value is None else value} with an output in object storage or of a cluster",
                    found=repr(getattr(self, name)),
                    hint="Convert the output afterwards.",
                )

    def outputs(self) -> tuple[str, ...]:
        """The name of the output of each encoder.

        Raises:
            UsageError: `out` is missing, has an unknown word in braces, or two encoders would have the same.
        """
        if self.out is None:
            raise UsageError("out", expected="the output", found="None", hint="Name a file such as features.npz.")
        unknown = set(re.findall(r"{[a-z_]*}", str(self.out))) - {"{key}", "{encoder}"}
        if unknown:
            raise UsageError("out", expected="no words in braces but {key} and {encoder}", found=min(unknown))
        names = [encoder.name for encoder in encoders_of(self)]
        if len(names) == 1:
            return (str(self.out).replace("{encoder}", names[0]),)
        if "{encoder}" not in str(self.out):
            raise UsageError(
                "out",
                expected="{encoder} in the name of the output of several encoders",
                found=repr(self.out),
                hint="Write for example features-{encoder}.npz.",
            )
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise UsageError(
                "encoders",
                expected="encoders with different names, as outputs are named after them",
                found=f"{repeated!r} several times",
                hint="Rename the folder or file of one of them, or run them one after the other.",
            )
        return tuple(str(self.out).replace("{encoder}", name) for name in names)

    def to_json(self) -> dict[str, Any]:
        """The job as JSON data."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            "vidfeat_job": JOB_VERSION,
            **fields,
            "videos": [dataclasses.asdict(video) if isinstance(video, VideoRef) else video for video in self._videos],
            "encoders": [encoder.to_json() for encoder in encoders_of(self)],
            "grid": part_to_json(self.grid),
            "pooling": part_to_json(self.pooling),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        """The inverse of `to_json`.

        Raises:
            UsageError: it is none, or of another version.
        """
        from vidfeat.encoders import encoder_from_json

        values = dict(data)
        if values.pop("vidfeat_job", None) != JOB_VERSION:
            raise UsageError(
                "vidfeat_job", expected=f"a job of version {JOB_VERSION}", found=repr(data.get("vidfeat_job"))
            )
        try:
            values["videos"] = [VideoRef.from_json(v) if isinstance(v, dict) else v for v in values["videos"]]
            values["encoders"] = [encoder_from_json(encoder) for encoder in values["encoders"]]
            values["grid"], values["pooling"] = part_from_json(values["grid"]), part_from_json(values["pooling"])
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                "job", expected="the data that `Job.to_json` returns", found=f"{type(error).__name__}: {error}"
            ) from None

    @property
    def _videos(self) -> tuple[str | VideoRef, ...]:
        assert isinstance(self.videos, tuple)
        return self.videos

    def _replaced(self, encoder: Encoder) -> Encoder:
        """The encoder with the job's grid and pooling."""
        encoder = encoder if self.grid is None else encoder.with_grid(self.grid)
        return encoder if self.pooling is None else encoder.with_pooling(self.pooling)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # as the field is normalised


def encoders_of(job: Job) -> tuple[Encoder, ...]:
    """The encoders, as the job normalises them."""
    assert isinstance(job.encoders, tuple)
    return job.encoders


def _normalized(videos: Videos) -> tuple[str | VideoRef, ...]:
    several = videos if isinstance(videos, list | tuple) else (videos,)
    for video in several:
        if not isinstance(video, str | os.PathLike | VideoRef):
            raise UsageError(
                "videos", expected="paths, globs or VideoRefs", found=f"{video!r}, of type {type(video).__name__}"
            )
    return tuple(video if isinstance(video, VideoRef) else os.fspath(video) for video in several)


def _require_one_shape(encoder: Encoder, sink: Sink) -> None:
    """Refuse axes whose length depends on the video, in a format with rows of one shape."""
    pooling = encoder.description()["recipe"]["pooling"]
    varies = {"space": not encoder.preprocess.frames_of_one_size, "time": not encoder.preprocess.clips_of_one_length}
    for axis, why in (("space", "the size"), ("time", "the frame rate")):
        if varies[axis] and pooling[axis] == "keep":
            raise UsageError(
                f"pooling.{axis}",
                expected=f"avg or max, as {sink.name} holds rows of one shape",
                found=f"'keep', with which the shape depends on {why} of the video",
                hint="Write another format, such as .npz or .h5.",
            )
