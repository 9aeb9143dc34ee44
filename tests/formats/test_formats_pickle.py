"""The pickle: the standard library's, and readable without running what it says."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sink_rows import same, write

from vidfeat.errors import OutputError
from vidfeat.formats import open_sink

VERSION_1 = bytes.fromhex(
    "8002636e756d70792e636f72652e6d756c746961727261790a5f7265636f6e7374727563740a710030636e756d70790a6e6461727261790a"
    "710130635f636f646563730a656e636f64650a7102305806000000"
    "6c6174696e317103306802580100000062680386527104"
    "30636e756d70790a64747970650a580200000066348988875228"
    "4a0300000058010000003c4e4e4e4affffffff4affffffff4a00000000746271053"
    "05d28"
    "680068014a000000008568048752284a01000000284a0100000074680589680258050000000000c2803f68038652746"
    "24e652e"
)
"""What version 1 wrote for `[float32([1.0]), None]`."""


def pickled(tmp_path: Path, *rows: Any) -> bytes:
    sink = write(open_sink(tmp_path / "feats.pkl"), [(f"{index}", row) for index, row in enumerate(rows)])
    return sink.out.read_bytes()


def unpickled(tmp_path: Path, data: bytes) -> list[Any]:
    (tmp_path / "feats.pkl").write_bytes(data)
    return list(open_sink(tmp_path / "feats.pkl").read([]))


def test_a_pickle_to_the_byte(tmp_path: Path) -> None:
    body = b"".join(
        [
            b"\x8c\x08builtins\x8c\x04list\x93)R(",
            b"\x8c\x05numpy\x8c\x07ndarray\x93K\x01\x85\x8c\x03<f4",
            b"\x8c\x08builtins\x8c\x09bytearray\x93C\x04\x00\x00\x80?\x85R\x87R",
            b"Ne.",
        ]
    )
    assert pickled(tmp_path, np.array([1.0], np.float32), None) == (
        b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body
    )


def test_it_has_protocol_4_and_no_memo_and_works_in_batches(tmp_path: Path) -> None:
    expected = [np.array([index], np.float32) for index in range(2500)]
    data = pickled(tmp_path, *expected)
    out = io.StringIO()
    pickletools.dis(data, out)
    text = out.getvalue()
    assert text.endswith("highest protocol among opcodes = 4\n")
    assert text.count("APPENDS") == 3
    assert "MEMOIZE" not in text
    same(pickle.loads(data), expected)
    assert pickle.loads(pickled(tmp_path)) == []


def test_rows_that_share_their_data_are_written_in_full(tmp_path: Path) -> None:
    row = np.arange(4, dtype=np.float32)
    for array in (found := pickle.loads(pickled(tmp_path, row, row, row))):
        assert type(array) is np.ndarray
        assert array.flags.writeable
    found[0][:] = 7
    same(found, [np.full(4, 7, np.float32), row, row])


def test_files_of_version_1_and_of_numpy_are_read(tmp_path: Path) -> None:
    one = np.array([1], np.float32)
    same(pickle.loads(VERSION_1), [one, None])
    same(unpickled(tmp_path, VERSION_1), [one, None])
    rows = [np.arange(6, dtype=np.float32).reshape(2, 3), None, np.full(3000, 0.1, np.float32)]
    rows.append(rows[0])
    for protocol in (2, 3, 4):
        found = unpickled(tmp_path, pickle.dumps(rows, protocol))
        same(found, rows)
        assert all(row is None or (type(row) is np.ndarray and row.flags.writeable) for row in found)
    (found,) = unpickled(tmp_path, pickle.dumps([np.array([0.1, 0.2])], 4))
    assert found.dtype == np.float64
    assert found.tolist() == [0.1, 0.2]


class Boom:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("boom",))


def program(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


NDARRAY = b"cnumpy\nndarray\n"
BYTEARRAY = b"cbuiltins\nbytearray\n"
F4 = b"\x8c\x03<f4"
FOUR = BYTEARRAY + b"C\x04\x00\x00\x80?\x85R"

HOSTILE = {
    "code": pickle.dumps([Boom()]),
    "code in an array": pickle.dumps([np.array([Boom()], dtype=object)]),
    "os.system": b"cos\nsystem\n(S'echo boom'\ntR.",
    "a scalar": b"cnumpy.core.multiarray\nscalar\n.",
    "numpy.load": b"cnumpy\nload\n(S'x'\ntR.",
    "nothing": b"",
    "only the start": b"\x80\x02",
    "no end": b"\x80\x02]q\x00(K\x01",
    "two pickles": pickle.dumps([]) * 2,
    "a dictionary": pickle.dumps({}),
    "text": pickle.dumps(["x"]),
    "a list in the list": pickle.dumps([[None]]),
    "a function": program(b"]" + NDARRAY + b"a"),
    "the list itself": program(b"]\x94h\x00a"),
    "a place in the memo that is far away": program(b"]r\xff\xff\xff\x7f"),
    "an array without data": program(b"]" + NDARRAY + b"J\x00\x00\x00\x40\x85\x85Ra"),
    "an array of other data": program(b"]" + NDARRAY + b"K\x02\x85" + F4 + FOUR + b"\x87Ra"),
    "an array of negative size": program(
        b"]" + NDARRAY + b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86" + F4 + FOUR + b"\x87Ra"
    ),
    "an array of bytes": program(b"]" + NDARRAY + b"K\x01\x85" + F4 + b"C\x04abcd\x87Ra"),
    "an array of objects": program(b"]" + NDARRAY + b"K\x01\x85\x8c\x01OC\x08abcdefgh\x87Ra"),
    "an array that is never filled": program(
        b"]cnumpy.core.multiarray\n_reconstruct\n" + NDARRAY + b"K\x00\x85C\x01b\x87Ra"
    ),
    "an array of columns": pickle.dumps([np.asfortranarray(np.ones((2, 3), np.float32))], 4),
    "an array of whole numbers": pickle.dumps([np.ones(3, np.int32)], 4),
    "an array of records": pickle.dumps([np.zeros(3, "f4,f4")], 4),
    "zeros": program(b"]" + BYTEARRAY + b"J\xff\xff\xff\x7f\x85Ra"),
    "a codec": program(b"]c_codecs\nencode\n\x8c\x04abcd\x8c\x04zlib\x86Ra"),
    "more bytes than there are": program(b"]\x8e" + struct.pack("<Q", 1 << 40) + b"abc"),
    "a frame of more bytes than there are": program(b"\x95" + struct.pack("<Q", 1 << 40) + b"]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_other_pickles_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(OutputError, match=r"feats\.pkl: expected (an output that can be read|a list with a row)"):
        unpickled(tmp_path, HOSTILE[name])
    assert "boom" not in capsys.readouterr().out


def text(size: int) -> bytes:
    return b"X" + struct.pack("<I", size) + b"a" * size


MULTIPLYING = {
    "text encoded again and again": program(
        b"]c_codecs\nencode\n\x94" + text(1 << 20) + b"\x94\x8c\x06latin1\x94000(", b"h\x00h\x01h\x02\x86R" * 5000, b"e"
    ),
    "bytes copied again and again": program(
        b"]" + BYTEARRAY + b"\x94B" + struct.pack("<I", 1 << 20) + bytes(1 << 20) + b"\x85\x9400(",
        b"h\x00h\x01R" * 5000,
        b"e",
    ),
    "arrays of the same bytes": program(
        b"]cnumpy.core.multiarray\n_reconstruct\n" + NDARRAY + b"K\x00\x85C\x01b\x87R\x94",
        b"(K\x01J\x00\x00\x04\x00\x85cnumpy\ndtype\n\x8c\x02f4\x89\x88\x87R(K\x03\x8c\x01<NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89B" + struct.pack("<I", 1 << 20) + bytes(1 << 20) + b"t\x94",
        b"b",
        b"h\x00h\x01b0" * 5000,
        b"a",
    ),
    "a place in the memo that is far away": program(b"]r\xff\xff\xff\x0f"),
    "small arrays": program(
        b"]" + NDARRAY + b"\x94)\x94" + F4 + b"\x94" + FOUR + b"\x940000(", b"h\x00h\x01h\x02h\x03\x87R" * 500_000, b"e"
    ),
    "sets": program(b"](" + b"\x8f" * 3_000_000 + b"e"),
}
"""A few megabytes, or less, that ask for gigabytes."""

IN_LITTLE_MEMORY = """
import resource, sys
from vidfeat.errors import OutputError
from vidfeat.formats import open_sink
from vidfeat.formats.pkl import PickleSink
room = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (250 << 20)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
try:
    open_sink(sys.argv[1]).read([])
except OutputError as error:
    print(error.found)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("name", MULTIPLYING)
def test_a_small_file_does_not_fill_the_memory(tmp_path: Path, name: str) -> None:
    out = tmp_path / "feats.pkl"
    out.write_bytes(MULTIPLYING[name])
    found = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY, str(out)], capture_output=True, text=True, check=True
    ).stdout
    assert found.startswith("UnpicklingError: ")
    assert "Memory" not in found
