"""Is the file as long as its container says it is?

A file that was cut off while it was copied often still decodes, with fewer frames and without an error. The containers
below declare the length of their parts in a few bytes each. Only those bytes are read here, not the media data.
"""

from __future__ import annotations

from typing import BinaryIO

_MOV_BOXES = frozenset(
    (b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"free", b"skip", b"wide", b"pnot", b"udta")
)
_MOV_FIRST_BOXES = _MOV_BOXES | {b"uuid", b"meta"}
_AVI_SLACK = 8  # some writers count the chunk header twice, or the padding byte that they then leave out
_EBML_HEADER = 0x1A45DFA3
_EBML_MAX_WALK = 1_000_000
_FLV_MAX_WALK = 1_000_000
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_FLV_TAGS = frozenset((8, 9, 18))  # audio, video, data
_PACK = b"\x00\x00\x01\xba"
_PACK_SEARCH_BYTES = 1 << 18
_TS_SYNC = 0x47
_TS_LAYOUTS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet, and where in it the sync byte lies
_TS_PACKETS_CHECKED = 4
_ASF_INDEX = bytes.fromhex("90080033b1e5cf1189f400a0c90349cb")


def find_truncation(file: BinaryIO, size: int) -> str | None:
    """Describe what the container in `file` declares beyond its `size` bytes; None where nothing is missing.

    MP4/MOV, AVI, Matroska/WebM, ASF/WMV, FLV, MPEG transport and program streams are recognised by their first bytes.
    Other formats declare no length. The last three declare no total length: only a cut inside a packet is found. The
    position of the file is undefined afterwards.
    """
    file.seek(0)
    head = file.read(16)
    if head[4:8] in _MOV_FIRST_BOXES:
        return _mov_truncation(file, size)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _avi_truncation(file, size)
    if int.from_bytes(head[:4], "big") == _EBML_HEADER:
        return _matroska_truncation(file, size)
    if head == _ASF_HEADER:
        return _asf_truncation(file, size)
    if head[:3] == b"FLV":
        return _flv_truncation(file, size, int.from_bytes(head[5:9], "big"))
    if head[:4] == _PACK:
        return _program_stream_truncation(file, size)
    return _transport_stream_truncation(file, size)


def _past_end(part: str, start: int, end: int, size: int) -> str:
    return f"{size} bytes, while the {part} that starts at byte {start} ends at byte {end}"


def _mov_truncation(file: BinaryIO, size: int) -> str | None:
    """Walk the top-level boxes. Bytes after the last box that are no box are ignored, as players do."""
    start = 0
    seen = set()
    while start + 8 <= size:
        file.seek(start)
        header = file.read(16)
        length, box = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:  # "to the end of the file"
            length = size - start
        if length < 8 or not box.isascii():
            break
        if start + length > size:
            if box not in _MOV_BOXES:
                break
            return _past_end(f"{box.decode()} box", start, start + length, size)
        seen.add(box)
        start += length
    if b"moov" not in seen and b"mdat" in seen:
        return f"{size} bytes of media data without the moov box, the index that is written last"
    return None


def _avi_truncation(file: BinaryIO, size: int) -> str | None:
    """Walk the RIFF chunks; an interrupted recording leaves a length of 0 or of all ones, which declares nothing."""
    start = 0
    while start + 12 <= size:
        file.seek(start)
        header = file.read(8)
        length = int.from_bytes(header[4:8], "little")
        if header[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):
            return None
        end = start + 8 + length
        if end > size + _AVI_SLACK:
            return _past_end("RIFF chunk", start, end, size)
        start = end + length % 2
    return None


def _matroska_truncation(file: BinaryIO, size: int) -> str | None:
    """Walk the elements; those of unknown length (live recordings) are entered, all others are skipped."""
    start = 0
    for _ in range(_EBML_MAX_WALK):
        if start >= size:
            return None
        file.seek(start)
        header = file.read(12)
        id_length = _vint_length(header[0])
        if id_length > 4 or len(header) <= id_length:
            return None
        size_length = _vint_length(header[id_length])
        if size_length > 8 or len(header) < id_length + size_length:
            return None
        data = start + id_length + size_length
        mask = (1 << 7 * size_length) - 1
        length = int.from_bytes(header[id_length : id_length + size_length], "big") & mask
        if length == mask:  # all ones: unknown
            start = data
            continue
        if data + length > size:
            return _past_end(f"element {header[:id_length].hex()}", start, data + length, size)
        start = data + length
    return None


def _vint_length(first_byte: int) -> int:
    """Bytes of an EBML number: one more than the zero bits before its first one bit."""
    return 9 - first_byte.bit_length()


def _asf_truncation(file: BinaryIO, size: int) -> str | None:
    """Walk the top-level objects: header, data, indexes."""
    start = 0
    seen = set()
    while start + 24 <= size:
        file.seek(start)
        guid, length = file.read(16), int.from_bytes(file.read(8), "little")
        if guid not in (_ASF_HEADER, _ASF_DATA, _ASF_INDEX) or length < 24:  # a broadcast writes a length of 0
            return None
        if start + length > size:
            return _past_end("ASF object", start, start + length, size)
        seen.add(guid)
        start += length
    return None if _ASF_DATA in seen else f"{size} bytes without the data object"


def _flv_truncation(file: BinaryIO, size: int, start: int) -> str | None:
    """Walk the tags; each is preceded by four bytes with the length of the tag before."""
    start += 4
    for _ in range(_FLV_MAX_WALK):
        file.seek(start)
        header = file.read(11)
        if len(header) < 11:
            return f"{size} bytes, which end inside the header of a tag" if header else None
        if header[0] & 0x1F not in _FLV_TAGS:
            return None
        end = start + 11 + int.from_bytes(header[1:4], "big")
        if end > size:
            return _past_end("tag", start, end, size)
        start = end + 4
    return None


def _program_stream_truncation(file: BinaryIO, size: int) -> str | None:
    """Step over the packets from the last pack header on."""
    begin = max(0, size - _PACK_SEARCH_BYTES)
    file.seek(begin)
    tail = file.read(_PACK_SEARCH_BYTES)
    place = tail.rfind(_PACK)
    if place < 0 or len(tail) < place + 14:
        return None
    first = tail[place + 4]
    place += 14 + (tail[place + 13] & 7) if first >> 6 == 1 else 12  # MPEG-2, else MPEG-1
    while place + 6 <= len(tail) and tail[place : place + 3] == b"\x00\x00\x01" and tail[place + 3] > _PACK[3]:
        end = place + 6 + int.from_bytes(tail[place + 4 : place + 6], "big")
        if end > len(tail):
            return _past_end("packet", begin + place, begin + end, size)
        place = end
    return None


def _transport_stream_truncation(file: BinaryIO, size: int) -> str | None:
    """Check that the last packet, which starts with a sync byte like every packet, is complete."""
    for length, offset in _TS_LAYOUTS:
        file.seek(0)
        head = file.read(length * _TS_PACKETS_CHECKED)
        rest = size % length
        if len(head) < length * _TS_PACKETS_CHECKED or any(sync != _TS_SYNC for sync in head[offset::length]):
            continue
        file.seek(size - rest + offset)
        if rest > offset and file.read(1)[0] == _TS_SYNC:
            return f"{size} bytes, of which the last {rest} begin a packet of {length} bytes"
        return None
    return None
