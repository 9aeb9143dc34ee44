"""What the first bytes of a packet say about its picture: can decoding begin here, and does any other picture need it?

Only guarantees of the codec's standard count, not flags of containers or encoders: a "key frame" of a container is
often only a recovery point. Packets that are not understood raise `UnclearPacketError`, and the whole video is then
decoded from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

Bytes = memoryview | bytes


class PictureFacts(NamedTuple):
    """One packet that holds one picture.

    Attributes:
        random_access: no picture from here on, in decoding order, depends on anything before it but the parameter
            sets.
        disposable: no picture of this layer or below depends on it.
        layer: temporal layer, counted from 0; pictures depend on their own layer and those below.
        parameters: the parameter sets in the packet, by which changes are noticed; empty where there are none.
        display_order: rises in the order in which a decoder shows the pictures; None where that is not known.
    """

    random_access: bool
    disposable: bool
    layer: int = 0
    parameters: bytes = b""
    display_order: int | None = None


class UnclearPacketError(ValueError):
    """A packet is broken, or uses a part of its standard that is not supported here."""


PictureReader = Callable[[Bytes], PictureFacts]
"""Reads the packets of one stream in order, each once; raises `UnclearPacketError`."""


def picture_reader(codec: str, extradata: bytes | None) -> PictureReader | None:
    """A reader for a stream of this codec, as MP4 and Matroska store it; None where there is none.

    Not supported: VP8, whose key frames may keep a map of segments from before them; MPEG-4 part 2, whose packets
    do not say how many frames they give.

    Args:
        codec: FFmpeg's name.
        extradata: the codec's configuration from the container's header.
    """
    if codec == "vp9":
        return read_vp9
    if codec == "av1":
        return read_av1
    length_size = _nal_length_size(codec, extradata or b"")
    if length_size is None:
        return None
    if codec == "h264":
        try:
            return H264Reader(length_size, _avc_sequence_parameter_sets(extradata or b""))
        except UnclearPacketError:
            return None
    return lambda data: read_hevc(data, length_size)


def _nal_length_size(codec: str, extradata: bytes) -> int | None:
    """Bytes of the length in front of each NAL unit (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1)."""
    at = {"h264": 4, "hevc": 21}.get(codec)
    if at is None or len(extradata) <= at + 1 or extradata[0] != 1:
        return None
    return (extradata[at] & 3) + 1


def _nal_units(data: Bytes, length_size: int) -> Iterator[Bytes]:
    start = 0
    while start < len(data):
        begin = start + length_size
        start = begin + int.from_bytes(data[start:begin], "big")
        if start > len(data) or start - begin < 3:
            raise UnclearPacketError("NAL units that do not fill the packet")
        yield data[begin:start]


class _Bits:
    """Reads numbers from a NAL unit, bit by bit."""

    def __init__(self, unit: Bytes) -> None:
        data = bytes(unit).replace(b"\0\0\3", b"\0\0")  # the 3 is put in so that no start code arises
        self._number = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise UnclearPacketError("a header that does not end")
        return self._number >> self._left & ((1 << count) - 1)

    def take_exp_golomb(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


# --- H.264: ITU-T H.264, 7.3, 7.4 and 8.2.1 ---------------------------------------------------------------------------

_H264_SLICE, _H264_IDR_SLICE, _H264_SPS = 1, 5, 7
_H264_PARAMETER_SETS = frozenset((7, 8))
_H264_HARMLESS = frozenset((6, 9, 12))  # messages, delimiters, filler
_H264_PROFILES_WITH_CHROMA_FORMAT = frozenset((100, 110, 122, 244, 44))
_H264_SLICE_HEADER_BYTES = 24  # more than the fields read here can take


class _Numbering(NamedTuple):
    """How the slices of a stream number their pictures, from the sequence parameter set."""

    colour_planes: bool
    frame_num_bits: int
    order_type: int
    order_bits: int
    may_have_fields: bool


class H264Reader:
    """Random access where all slices are IDR; disposable where `nal_ref_idc` is 0 for all.

    The numbers of the pictures are followed too. A gap means that one was lost, which a decoder would conceal with
    others; and they say in which order pictures are shown.
    """

    def __init__(self, length_size: int, parameter_sets: list[bytes]) -> None:
        """`parameter_sets`: sequence parameter sets from the container's header."""
        self._length_size = length_size
        self._numbering: _Numbering | None = None
        self._sequence = 0
        self._last_frame_num = 0
        self._last_order = 0
        for unit in parameter_sets:
            self._use(unit)

    def __call__(self, data: Bytes) -> PictureFacts:
        """Facts of the next packet."""
        kinds = set[int]()
        first, referred, parameters = b"", False, b""
        for unit in _nal_units(data, self._length_size):
            kind = unit[0] & 0x9F  # with the bit that must be 0
            if kind in (_H264_SLICE, _H264_IDR_SLICE):
                first = first or bytes(unit[:_H264_SLICE_HEADER_BYTES])
                kinds.add(kind)
                referred |= bool(unit[0] & 0x60)
            elif kind in _H264_PARAMETER_SETS:
                parameters += bytes(unit)
                if kind == _H264_SPS:
                    self._use(unit)
            elif kind not in _H264_HARMLESS:
                raise UnclearPacketError(f"NAL unit of type {kind}")
        if not kinds:
            raise UnclearPacketError("a packet without a picture")
        order = self._display_order(first, referred)
        return PictureFacts(kinds == {_H264_IDR_SLICE}, not referred and not parameters, 0, parameters, order)

    def _use(self, unit: Bytes) -> None:
        numbering = _h264_numbering(unit)
        if self._numbering not in (None, numbering):
            raise UnclearPacketError("several ways of numbering pictures")
        self._numbering = numbering

    def _display_order(self, unit: bytes, referred: bool) -> int:
        """The display order of the picture that starts with this slice; raises where one before it is missing."""
        if self._numbering is None:
            raise UnclearPacketError("no sequence parameter set")
        frame_num, order = _h264_picture_numbers(unit, self._numbering)
        if unit[0] & 31 == _H264_IDR_SLICE:
            self._sequence += 1
            self._last_frame_num, self._last_order, expected = 0, 0, 0
        else:
            expected = (self._last_frame_num + 1) % (1 << self._numbering.frame_num_bits)
        if frame_num != expected:
            raise UnclearPacketError(f"picture {frame_num} where {expected} should be")
        span = 1 << self._numbering.order_bits
        # Only the lowest bits are stored: the full number is the nearest one to that of the last reference picture.
        order += (self._last_order - order + span // 2) // span * span if span > 1 else self._last_order + 1
        if referred:
            self._last_frame_num = frame_num
        if referred or span == 1:
            self._last_order = order
        return (self._sequence << 32) + order


def _h264_numbering(unit: Bytes) -> _Numbering:
    bits = _Bits(unit)
    bits.take(8)
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.take_exp_golomb()  # id
    colour_planes = False
    if profile in _H264_PROFILES_WITH_CHROMA_FORMAT:
        if bits.take_exp_golomb() == 3:
            colour_planes = bool(bits.take(1))
        bits.take_exp_golomb()  # bit depths
        bits.take_exp_golomb()
        bits.take(1)
        if bits.take(1):
            raise UnclearPacketError("scaling matrices")
    elif profile not in (66, 77, 88):
        raise UnclearPacketError(f"profile {profile}")
    frame_num_bits = bits.take_exp_golomb() + 4
    order_type = bits.take_exp_golomb()
    if order_type not in (0, 2):
        raise UnclearPacketError(f"numbering of type {order_type}")
    order_bits = bits.take_exp_golomb() + 4 if order_type == 0 else 0
    bits.take_exp_golomb()  # reference frames
    bits.take(1)
    bits.take_exp_golomb()  # width, height
    bits.take_exp_golomb()
    return _Numbering(colour_planes, frame_num_bits, order_type, order_bits, not bits.take(1))


def _h264_picture_numbers(unit: bytes, numbering: _Numbering) -> tuple[int, int]:
    """`frame_num`, and the low bits of the picture order count; 0 where it is the order of decoding."""
    bits = _Bits(unit)
    bits.take(8)
    if bits.take_exp_golomb() != 0:
        raise UnclearPacketError("a picture whose first slice does not start at macroblock 0")
    bits.take_exp_golomb()  # slice type
    bits.take_exp_golomb()  # picture parameter set
    bits.take(2 * numbering.colour_planes)
    frame_num = bits.take(numbering.frame_num_bits)
    if numbering.may_have_fields and bits.take(1):
        bits.take(1)
    if unit[0] & 31 == _H264_IDR_SLICE:
        bits.take_exp_golomb()
    return frame_num, bits.take(numbering.order_bits)


def _avc_sequence_parameter_sets(extradata: bytes) -> list[bytes]:
    """From the configuration record of ISO/IEC 14496-15, 5.3.3.1."""
    sets, at = [], 6
    for _ in range(extradata[5] & 31):
        begin = at + 2
        at = begin + int.from_bytes(extradata[at:begin], "big")
        sets.append(extradata[begin:at])
    return sets


# --- HEVC: ITU-T H.265, 7.3.1.2 and table 7-1 -------------------------------------------------------------------------

_HEVC_SLICES = frozenset((*range(10), *range(16, 22)))
_HEVC_IDR = frozenset((19, 20))
_HEVC_SUB_LAYER_NON_REFERENCE = frozenset(range(0, 10, 2))
_HEVC_PARAMETER_SETS = frozenset((32, 33, 34))
_HEVC_HARMLESS = frozenset((35, 38, 39, 40))  # delimiters, filler, messages


def read_hevc(data: Bytes, length_size: int) -> PictureFacts:
    """Random access at IDR (not CRA, whose leading pictures need earlier ones); disposable for the types `_N`."""
    kind, layer, parameters = -1, 0, b""
    drops_earlier = False
    for unit in _nal_units(data, length_size):
        nal = unit[0] >> 1 & 0x7F  # with the bit that must be 0
        if unit[0] & 1 or unit[1] >> 3 or not unit[1] & 7:
            raise UnclearPacketError("a second layer, or none")
        if nal in _HEVC_SLICES:
            if kind not in (-1, nal) or (kind == -1 and not unit[2] & 0x80):
                raise UnclearPacketError("slices of two pictures, or the first one missing")
            kind, layer = nal, (unit[1] & 7) - 1
            drops_earlier |= nal in _HEVC_IDR and bool(unit[2] & 0x40)  # no_output_of_prior_pics_flag
        elif nal in _HEVC_PARAMETER_SETS:
            parameters += bytes(unit)
        elif nal not in _HEVC_HARMLESS:
            raise UnclearPacketError(f"NAL unit of type {nal}")
    if kind == -1 or drops_earlier:
        raise UnclearPacketError("a packet without a picture, or one that drops earlier pictures")
    disposable = kind in _HEVC_SUB_LAYER_NON_REFERENCE and not parameters
    return PictureFacts(kind in _HEVC_IDR, disposable, layer, parameters)


# --- VP9: the bitstream specification of 2016, 6.2 --------------------------------------------------------------------


def read_vp9(data: Bytes) -> PictureFacts:
    """Random access at key frames, which reset references, probabilities and segments.

    No frame is disposable: even one that no other refers to provides the motion vectors of the next.
    """
    marker, profile = data[0] >> 6, (data[0] >> 5 & 1) | (data[0] >> 4 & 1) << 1
    if marker != 2 or profile == 3:
        raise UnclearPacketError("no frame header, or profile 3")
    shows_existing, inter = data[0] & 8, data[0] & 4
    return PictureFacts(not shows_existing and not inter, False)


# --- AV1: the bitstream specification of 2019, 5.3 and 5.9 ------------------------------------------------------------

_AV1_SEQUENCE_HEADER, _AV1_FRAME_HEADER, _AV1_FRAME = 1, 3, 6


def read_av1(data: Bytes) -> PictureFacts:
    """Random access where a sequence header precedes a key frame that is shown at once. No frame is disposable."""
    sequence_header = b""
    for kind, payload in _obus(data):
        if kind == _AV1_SEQUENCE_HEADER:
            sequence_header = bytes(payload)
            if payload[0] & 0x10:
                raise UnclearPacketError("a still picture")
        elif kind in (_AV1_FRAME_HEADER, _AV1_FRAME):
            shown_key = payload[0] & 0xF0 == 0x10  # show_existing_frame 0, frame_type 0, show_frame 1
            return PictureFacts(bool(sequence_header) and shown_key, False, 0, sequence_header)
    raise UnclearPacketError("a packet without a picture")


def _obus(data: Bytes) -> Iterator[tuple[int, Bytes]]:
    start = 0
    while start < len(data):
        header = data[start]
        begin = start + (2 if header & 4 else 1)
        if header & 0x80 or not header & 2:
            raise UnclearPacketError("an OBU without its size")
        size, begin = _leb128(data, begin)
        start = begin + size
        if start > len(data):
            raise UnclearPacketError("OBUs that do not fill the packet")
        if size:
            yield header >> 3 & 15, data[begin:start]


def _leb128(data: Bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    value = 0
    for count, byte in enumerate(data[at : at + 8]):
        value |= (byte & 0x7F) << 7 * count
        if not byte & 0x80:
            return value, at + count + 1
    raise UnclearPacketError("a number that does not end")
