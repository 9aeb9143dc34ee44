"""From one output to another: another format, or another number format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from vidfeat.errors import OutputError, UsageError, VideoError
from vidfeat.features import Dtype, Values, VideoFailure
from vidfeat.formats import Sink, Unreadable, open_sink
from vidfeat.formats.layouts import Rows, open_layout, require_layout
from vidfeat.store.files import RunFiles
from vidfeat.store.identity import WorkIdentity
from vidfeat.store.rows import Row, to_kept
from vidfeat.store.run import RunStore
from vidfeat.store.stored import StoredFeatures, load
from vidfeat.videos import VideoRef

if TYPE_CHECKING:
    from vidfeat.engine.progress import Progress

_NOWHERE = ""
"""Where the videos are: converting does not need them, and their rows keep the stamps that they have."""

_OF_VALUES = ("shape", "sha256", "dtype", "start_seconds", "end_seconds")
"""What of a row depends on how its values are kept."""

_UNKNOWN = WorkIdentity(hashlib.sha256(b"{}").hexdigest(), "unknown", "unknown", "unknown")
"""What the features of another program were computed with."""


@dataclass(frozen=True)
class Conversion:
    """How converting ended.

    Attributes:
        videos: how many the source has, with and without features.
        converted: those with features in the new output.
        failed: those without in the source.
        unreadable: those whose features were not as they were written, or do not fit the new output. The new manifest
            has them as failures.
        out: the new output.
        notes: what is noteworthy of the source.
        config_lines: as in `Summary`.
    """

    videos: int
    converted: int
    failed: int
    unreadable: int
    out: Path
    notes: tuple[str, ...]
    config_lines: str = ""


def convert(
    source: Path | str | Sink,
    out: Path | str | Sink,
    *,
    dtype: Dtype | None = None,
    layout: str | None = None,
    names: Sequence[str] | None = None,
    restart: bool = False,
    quiet: bool = True,
    wording: Callable[[str], str] = str,
) -> Conversion:
    """Write the features of an output again, in another format. Times, failures and manifest go with them.

    One video is in memory at a time, unless the source is read as a whole (pickle, JSON, YAML). Values are compared
    with their hashes on the way. Where it is interrupted, the same call goes on. A run with the new output goes on,
    too, as it would with the old one.

    Args:
        source: what `load` takes: an output, finished or not, of this version or 0.1, or of another program.
        out: the new output, in any format.
        dtype: its number format; that of the source where None.
        layout: the code that `out` is for, as in `Job`.
        names: the keys of the videos, in their order, for a list of another program that has none, such as a pickle of
            MMAction2.
        restart: replace what is at `out`.
        quiet: whether stderr shows failures only, in place of progress as well.
        wording: changes the lines on stderr before they are shown.

    Raises:
        UsageError: an argument is impossible, `out` cannot hold the keys, or a library is missing.
        OutputError: `source` cannot be read, or none of its features can; `out` is there already.
        WriteError: the system refused.
    """
    from vidfeat.engine.progress import Progress  # with tqdm, which `load` does not need

    if dtype not in (None, *get_args(Dtype)):
        raise UsageError("dtype", expected=" or ".join(get_args(Dtype)), found=repr(dtype))
    with load(source) as stored:
        if layout is not None:
            dtype = require_layout(layout).dtype or dtype
            (sink,) = open_layout(layout, [str(out)], [Rows.from_header(stored.header)])
        else:
            sink = out if isinstance(out, Sink) else open_sink(out)
        keys = _keys_of(stored, names)
        _require_new(stored, sink, restart=restart)
        identity, description = _provenance_of(stored)
        identity = replace(identity, dtype=dtype or identity.dtype, layout=layout or identity.layout)
        refs = [
            VideoRef.with_cut(key, _NOWHERE, row.segment if (row := stored.row(old)) else None)
            for old, key in keys.items()
        ]
        with RunStore.open(sink, identity, refs, description=description, restart=restart) as store:
            store.pin_backend(stored.header.get("backend"))
            pending = {video.key for video in store.pending()}
            with Progress(len(keys), already=len(keys) - len(pending), quiet=quiet, wording=wording) as progress:
                for note in stored.notes:
                    progress.note(f"{stored.out}: {note}")
                wanted = ((old, key) for old, key in keys.items() if key in pending)
                store.adopt(_require_any(stored, _rows(stored, wanted, sink, identity.dtype, progress)))
            summary = store.finalize()
        assert summary is not None  # as there is one rank
        failed = len(stored.failures)
        unreadable = summary.failed - failed
        return Conversion(len(keys), summary.done, failed, unreadable, sink.out, stored.notes, summary.config_lines)


def _keys_of(stored: StoredFeatures, names: Sequence[str] | None) -> dict[str, str]:
    """The key that each key of the source becomes."""
    has_names = not (stored.state == "foreign" and stored.positional)
    if names is None:
        if has_names:
            return {key: key for key in stored.videos}
        raise UsageError(
            "names",
            expected="the names of the videos, which this output does not have",
            found="none",
            hint="Give the list that it was made with, as `names`.",
        )
    if has_names:
        raise UsageError("names", expected="none, as the output has the names of its videos", found=f"{len(names)}")
    if len(names) != len(stored.videos):
        raise UsageError("names", expected=f"{len(stored.videos)} names, one for each row", found=f"{len(names)}")
    return dict(zip(stored.videos, names, strict=True))


def _require_new(stored: StoredFeatures, sink: Sink, *, restart: bool) -> None:
    files = RunFiles(sink.out)
    if sink.out.absolute() == stored.out.absolute() or (
        sink.out.exists() and stored.out.exists() and sink.out.samefile(stored.out)
    ):
        raise UsageError(str(sink.out), expected="an output other than the one being converted", found="the same one")
    begun = files.folder.exists() and not files.manifest.exists()
    holds = any(sink.out.iterdir()) if sink.out.is_dir() else sink.out.exists()
    if (holds or files.manifest.exists()) and not begun and not restart:
        raise OutputError(
            str(sink.out),
            expected="a new output",
            found="one that exists",
            hint="Give `restart=True` to replace it.",
        )


def _provenance_of(stored: StoredFeatures) -> tuple[WorkIdentity, dict[str, Any]]:
    header = stored.header
    if not header:
        dtypes = {stored[key].values.dtype.name for key in list(stored)[:1]}
        identity = replace(_UNKNOWN, dtype=min(dtypes, default="float32"))
        return identity, {"recipe": {}, "checkpoint": {"source": "unknown"}, "encoder": ""}
    identity = WorkIdentity.from_json({**header, "checkpoint_sha256": header["checkpoint"]["sha256"]})
    return identity, {name: header.get(name, "") for name in ("recipe", "checkpoint", "encoder")}


def _rows(
    stored: StoredFeatures, keys: Iterator[tuple[str, str]], sink: Sink, dtype: str, progress: Progress
) -> Iterator[tuple[Row, Values | None]]:
    for old, key in keys:
        if old not in stored:
            yield stored.row(old) or Row.of(stored.failures[old], VideoRef(key, _NOWHERE), "{}"), None
            progress.advance()
            continue
        row, values = stored.checked(old)
        if isinstance(values, Unreadable):
            kept: Any = VideoFailure(key, "", _unreadable(key, values.reason))
        else:
            features = stored.features_of(old, row, values)
            features = replace(features, key=key, values=features.values.astype(np.float32, copy=False))
            kept = to_kept(sink.kept(features), dtype)
        made = Row.of(
            kept, VideoRef.with_cut(key, _NOWHERE, row.segment if row else None), row.session if row else "{}"
        )
        if isinstance(kept, VideoFailure):
            progress.count(kept)
            yield made, None
        else:
            known = made
            if row is not None:
                known = replace(row, **{name: getattr(made, name) for name in _OF_VALUES})
            yield known, kept.values
            progress.advance()


def _unreadable(key: str, reason: str) -> VideoError:
    return VideoError(
        key, stage="write", kind="corrupt", expected="features as they were written", found=f"{reason} in the source"
    )


def _require_any(
    stored: StoredFeatures, rows: Iterator[tuple[Row, Values | None]]
) -> Iterator[tuple[Row, Values | None]]:
    """The rows, unless nothing of the source can be read: then nothing is written."""
    first: list[tuple[Row, Values | None]] = []
    for row in rows:
        first.append(row)
        if row[1] is not None:
            break
    else:
        if len(stored):
            (error, *_) = (row.error for row, _ in first if row.error)
            raise OutputError(str(stored.out), expected="features that can be read", found=error.get("found", "none"))
    yield from first
    yield from rows
