"""Fuzz target: lists. Whatever a file says, the answer is videos inside the root, each once, or a `UsageError`."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Sequence
from pathlib import Path

import fuzzing

from vidfeat.videos import LONGEST_NAME, expand

WORDS = [
    *b"../ / // ./ .. ~ ~root/a.mp4 # -i \\ * ? [a] a.mp4 b/c.avi 1 7 +3 -2 0x1 %s $HOME file:// http://a/b.mp4".split(),
    *(b"\n", b"\r\n", b"\r", b"\t", b" ", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfea\0", b"a" * 5000, b"\n" * 300),
    *(text.encode() for text in ("\u202e", "\u2028", "\u0085", "\x1b[2J", "é鍵🔑", "e\u0301.mp4", "\ufeff")),
]


class ListTarget:
    """The list reader, with a root and without."""

    name = "list"
    suffix = ".txt"

    def prepare(self, folder: Path) -> None:
        """A root with a video, a folder, and links: to the video, to itself, and out of the root."""
        self._root = folder / "root"
        (self._root / "b").mkdir(parents=True)
        for name in ("a.mp4", "b/c.avi", "a 1"):
            (self._root / name).touch()
        for name, target in (("link.mp4", "a.mp4"), ("loop", "loop"), ("out", folder.parent)):
            (self._root / name).symlink_to(target)

    def seeds(self) -> list[bytes]:
        """Lists as they are written for MMAction2, by hand and on Windows."""
        return [
            b"a.mp4\nb/c.avi\nlink.mp4\n",
            b"a.mp4 0\nb/c.avi 17\nmissing.webm 1 7 9\na 1\n",
            b"\xef\xbb\xbf# a comment\r\n\r\nb/c.avi\r\n./#1.mp4\r\n",
            b"b/../a.mp4\nout\nloop/x\n"[:12],
        ]

    def mutate(self, rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
        """Anywhere."""
        return fuzzing.change_bytes(rng, data, WORDS, others)

    def read(self, path: Path) -> str:
        """Read with the root, or without where it is refused with it."""
        refs = expand(path, self._root)
        real = os.path.realpath(self._root)
        if len({ref.key for ref in refs}) != len(refs):
            raise fuzzing.Finding("a key twice")
        for ref in refs:
            inside = os.path.realpath(ref.uri)
            if not inside.startswith(f"{real}/") or not 0 < len(os.fsencode(ref.key)) <= LONGEST_NAME:
                raise fuzzing.Finding(f"{ref!r} leads to {inside}")
        expand(path)
        return f"{min(len(refs), 5)} videos, {sum(ref.label is not None for ref in refs) > 0}"


class ParquetListTarget(ListTarget):
    """The reader of lists that are Parquet tables."""

    name = "parquet_list"
    suffix = ".parquet"

    def seeds(self) -> list[bytes]:
        """Tables of one group and of two, with labels that are strings and numbers."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = []
        for labels in (["x", "y z", None], [0, 17, 2]):
            table = pa.table({"video": ["a.mp4", "b/c.avi", "link.mp4"], "label": labels})
            pq.write_table(table, stream := io.BytesIO(), row_group_size=2, compression="none")
            files.append(stream.getvalue())
        return files

    def mutate(self, rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
        """Half of the time in the description at the end."""
        if rng.random() < 0.5:
            return fuzzing.change_parquet_footer(rng, data)
        return fuzzing.change_bytes(rng, data, WORDS, others)
