"""The records of a journal and their bytes, as `docs/format.md` specifies them."""

from __future__ import annotations

import dataclasses
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, Union

JOURNAL_VERSION = 1

_MAGIC = b"VFJ1"
_PREFIX = struct.Struct("<4sIIII")  # magic, bytes of header, bytes of payload, CRC-32 of payload, CRC-32 of the rest
_LARGEST_HEADER = 1 << 20
_SEARCH_BLOCK = 1 << 20


@dataclass(frozen=True)
class Opened:
    """The first record of a journal.

    Attributes:
        identity: `RunIdentity.to_json()`.
        rank: whose journal it is, from 0.
        world_size: the number of ranks when the journal was begun; a later session may have another.
        version: `JOURNAL_VERSION`.
    """

    tag: ClassVar[str] = "opened"
    identity: dict[str, str]
    rank: int
    world_size: int
    version: int = JOURNAL_VERSION


@dataclass(frozen=True)
class Done:
    """A video with features.

    Attributes:
        index, name: as in `Entry`.
        shape: of the features.
        sha256: of the features' bytes, float32, little endian, in C order; 64 hex digits.
        frames: frames in the video; of a salvaged one, those that decode.
        fps: average frames per second, or None where unknown.
        seconds: duration of the video, or None where unknown.
        dtype: always `"float32"`.
        salvaged: whether the video is broken, and the features are of the frames that decode all the same.
        frames_declared: frames that a salvaged video's container announces; None where it does not, and for others.
    """

    tag: ClassVar[str] = "done"
    index: int
    name: str
    shape: tuple[int, ...]
    sha256: str
    frames: int
    fps: float | None
    seconds: float | None
    dtype: str = "float32"
    salvaged: bool = False
    frames_declared: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))  # JSON has lists


@dataclass(frozen=True)
class Failed:
    """A video without features, and why.

    Attributes:
        index, name: as in `Entry`.
        stage, kind, message: `VideoError.stage`, `VideoError.kind` and its text.
    """

    tag: ClassVar[str] = "failed"
    index: int
    name: str
    stage: str
    kind: str
    message: str


@dataclass(frozen=True)
class Settled:
    """Marks failures as history: the next session tries those videos again.

    Attributes:
        through: for each journal file, by name, the byte offset before which its `Failed` records no longer count.
    """

    tag: ClassVar[str] = "settled"
    through: dict[str, int]


Body = Union[Opened, Done, Failed, Settled]

_BODIES: dict[str, type[Opened] | type[Done] | type[Failed] | type[Settled]] = {
    "opened": Opened,
    "done": Done,
    "failed": Failed,
    "settled": Settled,
}


@dataclass(frozen=True)
class Record:
    """A record and where it lies in its file.

    Attributes:
        body: what it says.
        offset, end: its bytes in the file, half-open.
        payload_size: how many of them, at the end, are its payload.
        payload_crc: CRC-32 of the payload.
        synced: all before this offset was on the disk when the record was written: the record's own offset, or, of one
            that was written together with others, the offset of the first of them.
    """

    body: Body
    offset: int
    end: int
    payload_size: int
    payload_crc: int
    synced: int


class Damaged(Exception):  # noqa: N818 - a state of the bytes, told to people as an OutputError by the journal
    """The bytes at an offset are not a whole, sound record."""


def encode(body: Body, payload: bytes = b"", *, synced: int | None = None) -> bytes:
    """The bytes of one record.

    Args:
        body, payload: what it holds.
        synced: as in `Record`; None for the record's own offset.
    """
    fields = {"record": body.tag, **dataclasses.asdict(body), **({} if synced is None else {"synced": synced})}
    header = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode("ascii")
    lengths = (_MAGIC, len(header), len(payload), zlib.crc32(payload))
    crc = zlib.crc32(header, zlib.crc32(_PREFIX.pack(*lengths, 0)))
    return _PREFIX.pack(*lengths, crc) + header + payload


def read_record(file: BinaryIO, offset: int, *, size: int) -> Record:
    """The record at `offset` of a file of `size` bytes. Its payload is not read.

    Raises:
        Damaged: if no whole, sound record is there.
    """
    file.seek(offset)
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        raise Damaged
    magic, header_size, payload_size, payload_crc, crc = _PREFIX.unpack(prefix)
    end = offset + _PREFIX.size + header_size + payload_size
    if magic != _MAGIC or header_size > _LARGEST_HEADER or end > size:
        raise Damaged
    header = file.read(header_size)
    if zlib.crc32(header, zlib.crc32(prefix[:-4] + bytes(4))) != crc:
        raise Damaged
    body, synced = _decode(header)
    return Record(body, offset, end, payload_size, payload_crc, offset if synced is None else synced)


def read_payload(file: BinaryIO, record: Record) -> bytes:
    """The payload of a record that was read from the same file.

    Raises:
        Damaged: if the bytes are not those that were written.
    """
    file.seek(record.end - record.payload_size)
    payload = file.read(record.payload_size)
    if len(payload) != record.payload_size or zlib.crc32(payload) != record.payload_crc:
        raise Damaged
    return payload


def read_records(file: BinaryIO, offset: int, *, size: int, check_payloads: bool = False) -> Iterator[Record]:
    """The sound records from `offset` on, up to the first that is not whole and sound, or to `size`.

    Memory does not grow with the file.
    """
    while offset < size:
        try:
            record = read_record(file, offset, size=size)
            if check_payloads:
                read_payload(file, record)
        except Damaged:
            return
        yield record
        offset = record.end


def find_record(file: BinaryIO, offset: int, *, size: int) -> int | None:
    """The offset of the first sound record that starts at or after `offset`; None if there is none."""
    while offset < size:
        file.seek(offset)
        block = file.read(_SEARCH_BLOCK + len(_MAGIC) - 1)  # overlapping, as a record may start across the border
        place = block.find(_MAGIC)
        while place >= 0:
            if _is_sound(file, offset + place, size=size):
                return offset + place
            place = block.find(_MAGIC, place + 1)
        offset += _SEARCH_BLOCK
    return None


def _is_sound(file: BinaryIO, offset: int, *, size: int) -> bool:
    try:
        read_payload(file, read_record(file, offset, size=size))
    except Damaged:
        return False
    return True


def _decode(header: bytes) -> tuple[Body, int | None]:
    try:
        fields: dict[str, Any] = json.loads(header)
        synced = fields.pop("synced", None)
        if not isinstance(synced, int | None):
            raise TypeError(f"synced is {synced!r}")
        body: Body = _BODIES[fields.pop("record")](**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Damaged from error
    return body, synced
