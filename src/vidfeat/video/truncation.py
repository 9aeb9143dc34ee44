"""Is the file as long as its container says it is?

A file that was cut off while it was copied often still decodes, with fewer frames and without an error. So does one
whose space was reserved before the copy broke off: it ends in zero bytes. The containers below declare the length of
their parts, or mark their end, in a few bytes each. Only those bytes are read here, not the media data.
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO, Literal, NamedTuple

_MOV_BOXES = frozenset(
    (b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"free", b"skip", b"wide", b"pnot", b"udta")
)
_MOV_FIRST_BOXES = _MOV_BOXES | {b"uuid", b"meta"}
_AVI_SLACK = 8  # some writers count the chunk header twice, or the padding byte that they then leave out
_EBML_HEADER = 0x1A45DFA3
_MOST_PARTS, _MOST_FRAMES = 1_000_000, 10_000_000  # that are walked over
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_LONGEST_SECONDS = 1e9
_FLV_TAGS = frozenset((8, 9, 18))  # audio, video, data
_PACK = b"\x00\x00\x01\xba"
_PACK_SEARCH_BYTES = 1 << 18
_TS_SYNC = b"\x47"
_TS_LAYOUTS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet, and where in it the sync byte lies
_TS_PACKETS_CHECKED = 4
_ASF_INDEX = bytes.fromhex("90080033b1e5cf1189f400a0c90349cb")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEADER_SEARCH_BYTES = 1 << 16
_ASF_DATA_HEADER = 50
_ASF_WIDTHS = (0, 1, 2, 4)
_MXF_PARTITION = bytes.fromhex("060e2b34020501010d010201")
_MATROSKA_SEGMENT, _MATROSKA_CLUSTER = 0x18538067, 0x1F43B675
_MIRRORED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ZERO_BYTES = 128  # fewer at the end may be padding
_SECTOR_BYTES = 2048  # MPEG program streams and elementary video may be padded up to a sector
_MAY_FILL_A_SECTOR = (_PACK, b"\x00\x00\x01\xb3")
_MAY_END_IN_ZEROS = (b"RIFF", b"YUV4", b"fLaC")  # silence and black pictures

End = Literal["marked", "announced", "open"]


class Extent(NamedTuple):
    """How much of a file is there.

    Attributes:
        missing: what the container declares beyond the file; None where nothing is missing.
        end: how the container says where it ends. `marked`: by the length of its parts, an index or a last part, all
            of which are there. `announced`: at most by the duration or the number of frames in its header. `open`: not
            at all.
    """

    missing: str | None
    end: End = "marked"


def find_truncation(file: BinaryIO, size: int) -> Extent:
    """Find out what the container in `file` declares beyond its `size` bytes.

    MP4/MOV, AVI, Matroska/WebM, ASF/WMV, FLV, Ogg, MXF, GIF, IVF, MPEG transport and program streams are recognised by
    their first bytes. Other formats declare no length. The position of the file is undefined afterwards.
    """
    head = _read(file, 0, 32)
    if head[4:8] in _MOV_FIRST_BOXES:
        return _mov_extent(file, size)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _avi_extent(file, size)
    if int.from_bytes(head[:4], "big") == _EBML_HEADER:
        return _matroska_extent(file, size)
    if head[:16] == _ASF_HEADER:
        return _asf_extent(file, size)
    if head[:3] == b"FLV":
        return _flv_extent(file, size, int.from_bytes(head[5:9], "big"))
    if head[:4] == b"OggS":
        return _ogg_extent(file, size)
    if head[:12] == _MXF_PARTITION:
        return _mxf_extent(file, size)
    if head[:4] == b"GIF8":
        # Bytes that are missing before the trailer make one picture of two, and nothing counts pictures.
        return Extent(_gif_truncation(file, size), "open")
    if head[:4] == b"DKIF" and len(head) == 32:
        return _ivf_extent(file, size, *struct.unpack("<H16xI", head[6:28]))
    for length, offset in _TS_LAYOUTS:
        first = _read(file, 0, length * _TS_PACKETS_CHECKED)[offset::length]
        if first == _TS_SYNC * _TS_PACKETS_CHECKED:
            return Extent(_transport_stream_truncation(file, size, length, offset), "open")
    missing = _program_stream_truncation(file, size) if head[:4] == _PACK else None
    padding = _SECTOR_BYTES if head[:4] in _MAY_FILL_A_SECTOR else _ZERO_BYTES
    may_be_zero = head[:4] in _MAY_END_IN_ZEROS or not any(head)
    if missing is None and not may_be_zero and _is_zero(file, max(0, size - padding), padding):
        missing = f"{size} bytes, of which the last {padding} are zero"
    return Extent(missing, "open")


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)


def _past_end(part: str, start: int, end: int, size: int) -> str:
    return f"{size} bytes, while the {part} that starts at byte {start} ends at byte {end}"


def _is_zero(file: BinaryIO, start: int, least: int = _ZERO_BYTES) -> bool:
    """Whether at least `least` bytes from `start` on are there, and zero."""
    data = _read(file, start, least)
    return len(data) == least and not any(data)


def _no_part(start: int, size: int) -> str:
    return f"{size} bytes, with zeros or noise at byte {start}, where the next part belongs"


def _mov_extent(file: BinaryIO, size: int) -> Extent:
    """Walk the top-level boxes. Bytes after the last box that are no box are ignored, as players do."""
    start = 0
    seen = set()
    indexed, segments_end = False, 0
    while start + 8 <= size:
        header = _read(file, start, 16)
        length, box = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:  # "to the end of the file"
            if b"moof" in seen and b"mfra" not in seen and _is_zero(file, start):
                return Extent(_no_part(start, size))
            length = size - start
        if length < 8 or not box.isascii():
            break
        if start + length > size:
            if box not in _MOV_BOXES:
                break
            return Extent(_past_end(f"{box.decode()} box", start, start + length, size))
        if box == b"sidx" and b"moof" not in seen:
            segments, segments_end = _sidx_end(file, start, length)
            if segments_end > size:
                return Extent(_past_end("series of segments", start + length, segments_end, size))
            indexed = segments > 1
        seen.add(box)
        start += length
    if start < segments_end:
        return Extent(_no_part(start, size))
    if b"moov" not in seen and b"mdat" in seen:
        return Extent(f"{size} bytes of media data without the moov box, the index that is written last")
    return Extent(None, "open" if b"moof" in seen and not indexed and b"mfra" not in seen else "marked")


def _sidx_end(file: BinaryIO, start: int, length: int) -> tuple[int, int]:
    """How many segments a segment index lists, and where the last of them ends."""
    data = _read(file, start + 8, min(length - 8, 1 << 20))
    fields = ">12xQQHH" if data[:1] == b"\1" else ">12xIIHH"
    if len(data) < struct.calcsize(fields):
        return 0, 0
    _, offset, _, segments = struct.unpack_from(fields, data)
    sizes = data[struct.calcsize(fields) :][: 12 * segments]
    return segments, start + length + offset + sum(
        size & 0x7FFFFFFF for (size,) in struct.iter_unpack(">I8x", sizes[: len(sizes) // 12 * 12])
    )


def _avi_extent(file: BinaryIO, size: int) -> Extent:
    """Walk the RIFF chunks; an interrupted recording leaves a length of 0 or of all ones, which declares nothing."""
    start = 0
    last = b""
    while start + 12 <= size:
        header = _read(file, start, 8)
        length = int.from_bytes(header[4:8], "little")
        if header[:4] != b"RIFF":
            break
        if length in (0, 0xFFFFFFFF):
            return Extent(None, "announced")
        end = start + 8 + length
        if end > size + _AVI_SLACK:
            return Extent(_past_end("RIFF chunk", start, end, size))
        at = start + 12
        while at + 12 <= end:
            header = _read(file, at - 1, 13)
            if _is_chunk_name(header[1:5]):
                header = header[1:]
            elif _is_chunk_name(header[:4]):  # after a chunk of odd length without its padding byte
                at -= 1
            else:
                return Extent(_no_part(at, size))
            last = header[8:12] if header[:4] == b"LIST" else header[:4]
            at += 8 + int.from_bytes(header[4:8], "little")
            at += at % 2
        start = end + length % 2
    return Extent(None, "announced" if last == b"movi" else "marked")


def _is_chunk_name(name: bytes) -> bool:
    return len(name) == 4 and name.isascii() and min(name) >= 0x20


def _matroska_extent(file: BinaryIO, size: int) -> Extent:
    """Walk the elements of the file, of its segment, of the clusters in it, and of those of unknown length.

    All others are skipped. Only live recordings have elements of unknown length.
    """
    start, segment_end = 0, 0
    end: End = "marked"
    for _ in range(_MOST_PARTS):
        if start >= size:
            break
        header = _read(file, start, 12)
        id_length = _vint_length(header[0])
        size_length = _vint_length(header[id_length]) if id_length <= 4 and id_length < len(header) else 9
        if size_length > 8 or len(header) < id_length + size_length:
            broken = start < segment_end or (segment_end == 0 and _is_zero(file, start))
            return Extent(_no_part(start, size) if broken else None, end)
        data = start + id_length + size_length
        mask = (1 << 7 * size_length) - 1
        name = int.from_bytes(header[:id_length], "big")
        length = int.from_bytes(header[id_length : id_length + size_length], "big") & mask
        if length == mask:  # all ones: unknown
            start, end = data, "announced"
            continue
        if data + length > size:
            return Extent(_past_end(f"element {header[:id_length].hex()}", start, data + length, size))
        if name == _MATROSKA_SEGMENT:
            segment_end = data + length
        start = data if name in (_MATROSKA_SEGMENT, _MATROSKA_CLUSTER) else data + length
    return Extent(None, end)


def _vint_length(first_byte: int) -> int:
    """Bytes of an EBML number: one more than the zero bits before its first one bit."""
    return 9 - first_byte.bit_length()


def _asf_extent(file: BinaryIO, size: int) -> Extent:
    """Walk the top-level objects: header, data, indexes; and the packets of the data, which are of one size."""
    start = 0
    seen = set()
    packet = _ZERO_BYTES
    while start + 24 <= size:
        header = _read(file, start, 24)
        guid, length = header[:16], int.from_bytes(header[16:], "little")
        if guid not in (_ASF_HEADER, _ASF_DATA, _ASF_INDEX):
            if _ASF_INDEX not in seen and _is_zero(file, start):
                return Extent(_no_part(start, size))
            break
        if length < 24:  # a broadcast writes a length of 0
            return Extent(None, "open")
        if start + length > size:
            return Extent(_past_end("ASF object", start, start + length, size))
        if guid == _ASF_HEADER:
            properties = file.read(min(length, _ASF_HEADER_SEARCH_BYTES)).partition(_ASF_FILE_PROPERTIES)[2]
            packet = max(packet, int.from_bytes(properties[76:80], "little"))
        elif guid == _ASF_DATA and (broken := _broken_packet(file, start + _ASF_DATA_HEADER, start + length, packet)):
            return Extent(_no_part(broken, size))
        seen.add(guid)
        start += length
    return Extent(None if _ASF_DATA in seen else f"{size} bytes without the data object")


def _broken_packet(file: BinaryIO, start: int, end: int, length: int) -> int | None:
    """Where a packet begins whose payloads are not as they are announced, which zeros over a header of theirs cause.

    Of the last packet, also where only the end of its payloads is zero.
    """
    data, payload_end = b"", None
    for at in range(start, end - length + 1, length):
        data = _read(file, at, length)
        payload_end = _payload_end(data)
        if payload_end is None:
            return at
    return at if payload_end is not None and not any(data[payload_end - 16 : payload_end]) else None


def _payload_end(packet: bytes) -> int | None:
    """Where the payloads of an ASF packet end and its padding begins; None where they are not as announced."""
    at = 0

    def number(width: int) -> int:
        nonlocal at
        at += width
        return int.from_bytes(packet[at - width : at], "little")

    flags = number(1)
    if flags & 0x80:  # data for error correction comes first
        at += flags & 0xF
        flags = number(1)
    widths = number(1)
    length = number(_ASF_WIDTHS[flags >> 5 & 3])
    number(_ASF_WIDTHS[flags >> 1 & 3])  # sequence number
    padding = number(_ASF_WIDTHS[flags >> 3 & 3])
    end = min(length or len(packet), len(packet)) - padding
    number(6)  # times
    several = number(1) if flags & 1 else 1
    for _ in range(several & 0x3F):
        stream = number(1) & 0x7F
        number(_ASF_WIDTHS[widths >> 4 & 3])  # which object
        offset = number(_ASF_WIDTHS[widths >> 2 & 3])  # in the object, whose size and time are in its replicated data
        replicated = number(_ASF_WIDTHS[widths & 3])
        at += replicated
        size = number(_ASF_WIDTHS[several >> 6]) if flags & 1 else max(0, end - at)
        at += size
        if stream == 0 or size == 0 or (offset == 0 and replicated == 0) or at > end:
            return None
    return end if several & 0x3F and widths >> 6 == 1 else None


def _flv_extent(file: BinaryIO, size: int, start: int) -> Extent:
    """Walk the tags; each is preceded by four bytes with the length of the tag before."""
    start += 4
    metadata = _read(file, start, _PACK_SEARCH_BYTES)
    end: End = "announced" if 0 < _flv_number(metadata, b"duration") < _LONGEST_SECONDS else "open"
    if (declared := _flv_number(metadata, b"filesize")) > size:
        return Extent(f"{size} bytes, while its metadata say {declared:.0f}")
    for _ in range(_MOST_PARTS):
        if 0 < declared <= start:
            break
        header = _read(file, start, 11)
        if len(header) < 11:
            return Extent(f"{size} bytes, which end inside the header of a tag" if header else None, end)
        if header[0] & 0x1F not in _FLV_TAGS:
            return Extent(_no_part(start, size) if _is_zero(file, start) else None, end)
        tag_end = start + 11 + int.from_bytes(header[1:4], "big")
        if tag_end > size:
            return Extent(_past_end("tag", start, tag_end, size))
        start = tag_end + 4
    return Extent(None, end)


def _flv_number(metadata: bytes, name: bytes) -> float:
    """A number of the first tag, where it has one of that name: its length, the name, 0 for a double, the double."""
    value = metadata.partition(len(name).to_bytes(2, "big") + name + b"\0")[2][:8]
    return float(struct.unpack(">d", value)[0]) if metadata[:1] == b"\x12" and len(value) == 8 else 0.0


def _ogg_extent(file: BinaryIO, size: int) -> Extent:
    """Walk the pages; each has a checksum, and each stream has one that is marked as its last."""
    start = 0
    unfinished: set[bytes] = set()
    for _ in range(_MOST_FRAMES):
        header = _read(file, start, 27)
        if header[:4] != b"OggS" or len(header) < 27:
            break
        segments = file.read(header[26])
        body = file.read(sum(segments))
        end = start + 27 + header[26] + sum(segments)
        if end > size:
            return Extent(_past_end("page", start, end, size))
        if _ogg_checksum(header[:22] + bytes(4) + header[26:] + segments + body) != header[22:26]:
            return Extent(f"a page at byte {start} whose checksum is wrong")
        (unfinished.discard if header[5] & 4 else unfinished.add)(header[14:18])
        start = end
    return Extent(f"{size} bytes, without the last page of {len(unfinished)} streams" if unfinished else None)


def _ogg_checksum(page: bytes) -> bytes:
    """CRC-32 of the most significant bit first, from 0 and without a final inversion; `zlib` has the mirrored one."""
    mirrored = zlib.crc32(page.translate(_MIRRORED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "little").translate(_MIRRORED_BITS)[::-1]


def _mxf_extent(file: BinaryIO, size: int) -> Extent:
    """Walk the elements, each a key and a length; the header names the place of the footer."""
    header = _read(file, 16, 64)
    value = 1 + _ber_length(header)[0]
    footer = int.from_bytes(header[value + 24 : value + 32], "big")
    start = 0
    while start < size:
        element = _read(file, start, 25)
        if element[:4] != _MXF_PARTITION[:4]:
            if start < footer:
                return Extent(_no_part(start, size))
            break
        more, length = _ber_length(element[16:])
        start += 17 + more + length
    if footer and _read(file, min(footer, size), 12) != _MXF_PARTITION:
        return Extent(f"{size} bytes, without the footer that belongs at byte {footer}")
    return Extent(None, "marked" if footer else "announced")


def _ber_length(data: bytes) -> tuple[int, int]:
    """How many bytes follow the first one, and the length that they say."""
    first = data[0] if data else 0
    return (first & 0x7F, int.from_bytes(data[1 : 1 + (first & 0x7F)], "big")) if first & 0x80 else (0, first)


def _gif_truncation(file: BinaryIO, size: int) -> str | None:
    """Walk the blocks up to the trailer."""
    at = 13 + _color_table_bytes(_read(file, 10, 1))
    while at < size:
        block = _read(file, at, 10)
        if block[:1] == b";":
            return None
        if block[:1] not in (b"!", b","):
            break
        at = _sub_blocks_end(file, at + (2 if block[:1] == b"!" else 11 + _color_table_bytes(block[9:])))
    return f"{size} bytes, without the trailer that ends it"


def _color_table_bytes(flags: bytes) -> int:
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _sub_blocks_end(file: BinaryIO, start: int) -> int:
    """Where a series of sub-blocks ends; each starts with its length, and one of length 0 is the last."""
    block, origin = b"", start
    while True:
        if start >= origin + len(block):
            block, origin = _read(file, start, _PACK_SEARCH_BYTES), start
        if not block:
            return start
        length = block[start - origin]
        start += 1 + length
        if length == 0:
            return start


def _ivf_extent(file: BinaryIO, size: int, header: int, declared: int) -> Extent:
    """Walk the frames. The header counts them, or gives their duration in units of their presentation times."""
    frames, last = 0, 0
    start = header
    for _ in range(_MOST_FRAMES):
        fields = _read(file, start, 12)
        if len(fields) < 12:
            break
        length, pts = struct.unpack("<IQ", fields)
        if length == 0 and _is_zero(file, start):
            if declared in (0, 0xFFFFFFFF):
                return Extent(_no_part(start, size))
            break
        if start + 12 + length > size:
            return Extent(_past_end("frame", start, start + 12 + length, size))
        frames, last = frames + 1, max(last, pts)
        start += 12 + length
    if declared in (0, 0xFFFFFFFF):
        return Extent(None, "open")
    if declared > max(frames, last * frames // max(1, frames - 1)):
        return Extent(f"{size} bytes with {frames} frames, while its header says {declared}")
    return Extent(None)


def _program_stream_truncation(file: BinaryIO, size: int) -> str | None:
    """Step over the packets from the last pack header on."""
    begin = max(0, size - _PACK_SEARCH_BYTES)
    tail = _read(file, begin, _PACK_SEARCH_BYTES)
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


def _transport_stream_truncation(file: BinaryIO, size: int, length: int, offset: int) -> str | None:
    """Check that the last packet, which starts with a sync byte like every packet, is complete."""
    rest = size % length
    if rest > offset and _read(file, size - rest + offset, 1) == _TS_SYNC:
        return f"{size} bytes, of which the last {rest} begin a packet of {length} bytes"
    last = size - rest - length
    return None if any(_read(file, last, length)) else _no_part(last, size)
