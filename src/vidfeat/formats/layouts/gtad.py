"""G-TAD on THUMOS: `rgb_val.h5` and `rgb_test.h5`, a dataset `[T, C]` for each video, a row for every frame."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from vidfeat.errors import UsageError, quote
from vidfeat.features import VideoFeatures
from vidfeat.formats.h5 import Hdf5Sink
from vidfeat.formats.layouts.layout import Layout, LayoutOutput, Output, for_each, name_of
from vidfeat.formats.layouts.ms_tcn import HINT, NEEDS, has_a_row_per_frame

SPLITS = ("val", "test")
"""In the order in which G-TAD looks for them in the name of a video."""


@final
@dataclass(frozen=True)
class SplitSink(LayoutOutput):
    """A folder with an HDF5 file for each split."""

    @property
    def replaced(self) -> tuple[Path, ...]:
        """See `Sink.replaced`."""
        return tuple(file.out for file in self._files().values())

    def check_keys(self, keys: Sequence[str]) -> None:
        """Refuse names that repeat, and those that belong to no split."""
        origin: dict[str, str] = {}
        for key in keys:
            name = name_of(self.layout, key)
            if _split(name) is None or name in origin:
                raise UsageError(
                    quote(key),
                    expected="a unique name that contains 'val' or 'test', by which G-TAD chooses the file",
                    found=f"{quote(name)}, as for {quote(origin[name])}" if name in origin else quote(name),
                    hint="Rename the video.",
                )
            origin[name] = key
        for split, file in self._files().items():
            file.check_keys([name for name in origin if _split(name) == split])

    def prepare(self) -> None:
        """Create the folder."""
        for file in self._files().values():
            file.prepare()

    def finalize(self, rows: Iterable[tuple[str, VideoFeatures | None]]) -> None:
        """Write the files, also empty ones. Holds one row in memory at a time."""
        with contextlib.ExitStack() as stack:
            add = {split: stack.enter_context(file.writing()) for split, file in self._files().items()}
            for key, features in rows:
                if features is not None:
                    name = name_of(self.layout, key)
                    add[_split(name)](name, features)

    def file_name(self, key: str) -> str:
        """The file of the video's split."""
        return f"rgb_{_split(name_of(self.layout, key))}.h5"

    def read(self, keys: Iterable[str]) -> Iterator[Any]:
        """The array of each key. Holds one in memory at a time."""
        files = self._files()
        for key in keys:
            name = name_of(self.layout, key)
            split = _split(name)
            yield None if split is None else next(iter(files[split].read([name])))

    def keys(self) -> Iterator[str]:
        """The names of the datasets."""
        return (name for file in self._files().values() for name in Hdf5Sink.keys(file))

    def orphans(self, keys: Iterable[str], present: int) -> Iterator[str]:
        """Datasets that belong to no video."""
        return super().orphans((name_of(self.layout, key) for key in keys), present)

    def _files(self) -> dict[str | None, Hdf5Sink]:
        return {split: Hdf5Sink(self.out / f"rgb_{split}.h5") for split in SPLITS}


def _split(name: str) -> str | None:
    return next((split for split in SPLITS if split in name), None)


def _lines(output: Output) -> str:
    return f"""\
python gtad_train.py --feature_path {shlex.quote(output.folder)} --feat_dim {output.size} --skip_videoframes 5
# to be added by you: flow_val.h5 and flow_test.h5 with the same videos, without which G-TAD does not start. Their
# columns come first; add their number to feat_dim"""


GTAD = Layout("gtad", for_each(_lines), NEEDS, has_a_row_per_frame, HINT, in_seconds=False, sink=SplitSink)
