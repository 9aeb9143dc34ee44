"""What packets say about their pictures, on bytes written by hand and on real streams of known structure."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from video.video_files import write_video
from vidfeat.video.bitstream import (
    H264Reader,
    PictureFacts,
    UnclearPacketError,
    picture_reader,
    read_av1,
    read_hevc,
    read_vp9,
)


def nal_packet(*units: bytes, length_size: int = 4) -> bytes:
    return b"".join(len(unit).to_bytes(length_size, "big") + unit for unit in units)


# --- H.264 ------------------------------------------------------------------------------------------------------------


def exp_golomb(value: int) -> str:
    return f"{value + 1:b}".rjust(2 * (value + 1).bit_length() - 1, "0")


def unit(header: int, *fields: str) -> bytes:
    """A NAL unit of one header byte and bits, with the bits that end it."""
    bits = "".join(fields) + "1"
    return bytes([header]) + int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def sequence_set(order_type: int = 0, *, fields: bool = False, profile: int = 66, chroma: str = "") -> bytes:
    """Four bits of `frame_num`, and of the order count."""
    order = exp_golomb(order_type) + (exp_golomb(0) if order_type == 0 else "")
    head = f"{profile:08b}{0:08b}{30:08b}{exp_golomb(0)}{chroma}{exp_golomb(0)}"
    return unit(0x67, head, order, exp_golomb(1), "0", exp_golomb(3), exp_golomb(2), "0" if fields else "1")


def a_slice(
    frame_num: int, order: int = 0, *, idr: bool = False, ref: int = 1, first_mb: int = 0, fields: str = ""
) -> bytes:
    numbers = exp_golomb(first_mb) + exp_golomb(7) + exp_golomb(0) + f"{frame_num % 16:04b}{fields}"
    return unit(ref << 5 | (5 if idr else 1), numbers, exp_golomb(0) if idr else "", f"{order % 16:04b}", "10101010")


IDR = a_slice(0, idr=True)
PPS, SEI, DELIMITER = b"\x68\xee\x3c", b"\x06\x05\x04", b"\x09\xf0\x80"


def h264(*packets: list[bytes], sps: bytes | None = None, length_size: int = 4) -> list[PictureFacts]:
    """The facts of some packets of NAL units."""
    read = H264Reader(length_size, [sequence_set() if sps is None else sps])
    return [read(memoryview(nal_packet(*units, length_size=length_size))) for units in packets]


@pytest.mark.parametrize(
    ("units", "random_access", "disposable"),
    [
        ([a_slice(1)], False, False),
        ([a_slice(1, ref=0)], False, True),
        ([SEI, a_slice(1, ref=0), a_slice(1, ref=0, first_mb=6)], False, True),
        ([a_slice(1, ref=0), a_slice(1, ref=2, first_mb=6)], False, False),  # one slice is referred to
        ([PPS, a_slice(1, ref=0)], False, False),  # what it brings is needed
        ([DELIMITER, SEI, IDR], True, False),
        ([IDR, a_slice(0, idr=True, first_mb=6)], True, False),
        ([IDR, a_slice(0)], False, False),  # a second field that is no IDR
    ],
)
@pytest.mark.parametrize("length_size", [1, 2, 4])
def test_h264(units: list[bytes], random_access: bool, disposable: bool, length_size: int) -> None:
    _, facts = h264([IDR], units, length_size=length_size)
    assert (facts.random_access, facts.disposable, facts.layer) == (random_access, disposable, 0)
    assert facts.parameters == (PPS if PPS in units else b"")


def display_orders(*packets: list[bytes], sps: bytes | None = None) -> list[int | None]:
    return [facts.display_order for facts in h264(*packets, sps=sps)]


def test_h264_display_order_rises_as_pictures_are_shown() -> None:
    """I0 P8 b4 P14 b12, then P20 in the next sixteen, b16, b18, then another sequence."""
    stream = [
        [IDR],
        [a_slice(1, 8)],
        [a_slice(2, 4, ref=0)],
        [a_slice(2, 14)],
        [a_slice(3, 12, ref=0)],
        [a_slice(3, 20)],
        [a_slice(4, 16, ref=0)],
        [a_slice(4, 18, ref=0)],
        [IDR],
        [a_slice(1, -2, ref=0)],  # shown before the IDR picture, and after all before it
    ]
    assert np.argsort(np.argsort(display_orders(*stream))).tolist() == [0, 2, 1, 4, 3, 7, 5, 6, 9, 8]


def test_h264_display_order_that_is_the_order_of_decoding() -> None:
    stream = [[unit(0x65, *[exp_golomb(0)] * 3, "0000", exp_golomb(0), "10101010")]]
    stream += [[unit(0x41, *[exp_golomb(0)] * 3, f"{number % 16:04b}", "10101010")] for number in range(1, 40)]
    assert (np.diff(display_orders(*stream, sps=sequence_set(2))) > 0).all()


@pytest.mark.parametrize("fields", ["0", "10", "11"])
def test_h264_of_fields(fields: str) -> None:
    first = unit(0x65, *[exp_golomb(0)] * 3, "0000", "0", exp_golomb(0), "0000", "1010")
    one, two = display_orders([first], [a_slice(1, 6, fields=fields)], sps=sequence_set(fields=True))
    assert (two or 0) - (one or 0) == 6


def test_h264_of_a_high_profile() -> None:
    chroma = exp_golomb(3) + "0" + exp_golomb(2) + exp_golomb(2) + "00"
    assert len(h264([IDR], [a_slice(1)], sps=sequence_set(profile=244, chroma=chroma))) == 2
    with pytest.raises(UnclearPacketError, match="scaling"):
        H264Reader(4, [sequence_set(profile=100, chroma=exp_golomb(1) * 3 + "01")])


def test_h264_parameter_sets_in_the_stream() -> None:
    read = H264Reader(4, [])
    assert read(nal_packet(sequence_set(), PPS, IDR)).parameters == sequence_set() + PPS
    with pytest.raises(UnclearPacketError):
        read(nal_packet(sequence_set(2), IDR))
    with pytest.raises(UnclearPacketError):
        H264Reader(4, [])(nal_packet(IDR))


@pytest.mark.parametrize(
    "lost", [[a_slice(2)], [a_slice(0)], [a_slice(3, ref=0)], [a_slice(1)], [a_slice(1, idr=True)]]
)
def test_h264_notices_lost_doubled_and_swapped_pictures(lost: list[bytes]) -> None:
    with pytest.raises(UnclearPacketError, match="should be"):
        h264([IDR], *([[a_slice(1)]] if lost != [a_slice(2)] else []), lost)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        nal_packet(sequence_set()),
        nal_packet(IDR)[:-1],
        nal_packet(IDR) + b"\0",
        b"\0\0\0\1" + IDR,  # start codes where lengths belong
        nal_packet(a_slice(0, idr=True, first_mb=6)),  # the first slice is lost
        nal_packet(IDR[:3]),
        nal_packet(b"\x0a\x00\x00", IDR),  # end of sequence
        nal_packet(b"\x42\x80\x00"),  # data partitions
        nal_packet(b"\xe5" + IDR[1:]),  # the bit that must be 0
        nal_packet(b"\x7f\x00\x00", IDR),
    ],
)
def test_h264_that_is_not_clear(packet: bytes) -> None:
    with pytest.raises(UnclearPacketError):
        H264Reader(4, [sequence_set()])(packet)


def test_the_byte_that_breaks_start_codes_is_no_part_of_a_number() -> None:
    numbers = [exp_golomb(0)] * 3 + ["0000", "0" * 16 + "1" + "0" * 16]  # idr_pic_id 65535
    plain, other = (unit(0x65, *numbers, f"{order:04b}", "1010") for order in (6, 9))
    assert b"\0\0\3" not in plain
    assert b"\0\0" in plain
    written = [data.replace(b"\0\0", b"\0\0\3") for data in (plain, other)]
    assert display_orders([plain]) == display_orders([written[0]])
    assert display_orders([other]) == display_orders([written[1]]) != display_orders([plain])


# --- HEVC -------------------------------------------------------------------------------------------------------------


def hevc_unit(kind: int, payload: bytes = b"\x80", *, layer: int = 0, second: int = 0) -> bytes:
    return bytes([kind << 1 | second >> 5, second << 3 & 0xFF | layer + 1]) + payload


@pytest.mark.parametrize(
    ("units", "facts"),
    [
        ([hevc_unit(19)], PictureFacts(True, False)),
        ([hevc_unit(32), hevc_unit(20)], PictureFacts(True, False, 0, hevc_unit(32))),
        ([hevc_unit(21)], PictureFacts(False, False)),  # CRA: its leading pictures need what is before it
        ([hevc_unit(16)], PictureFacts(False, False)),
        ([hevc_unit(1)], PictureFacts(False, False)),
        ([hevc_unit(0, layer=2)], PictureFacts(False, True, 2)),
        ([hevc_unit(8), hevc_unit(8, b"\x00")], PictureFacts(False, True)),
        ([hevc_unit(35), hevc_unit(39), hevc_unit(9)], PictureFacts(False, False)),
    ],
)
def test_hevc(units: list[bytes], facts: PictureFacts) -> None:
    assert read_hevc(nal_packet(*units), 4) == facts


@pytest.mark.parametrize(
    "units",
    [
        [hevc_unit(35)],
        [hevc_unit(19, b"\xc0")],  # drops the pictures before it
        [hevc_unit(0), hevc_unit(1)],
        [hevc_unit(1, b"\x00")],
        [hevc_unit(36), hevc_unit(1)],
        [hevc_unit(1, second=1)],
        [b"\x02\x00\x80"],  # temporal layer -1
        [hevc_unit(62), hevc_unit(1)],
    ],
)
def test_hevc_that_is_not_clear(units: list[bytes]) -> None:
    with pytest.raises(UnclearPacketError):
        read_hevc(nal_packet(*units), 4)


@pytest.mark.parametrize(
    ("first", "random_access"), [(0x82, True), (0x86, False), (0x8A, False), (0xA2, True), (0x80, True), (0x92, True)]
)
def test_vp9(first: int, random_access: bool) -> None:
    assert read_vp9(bytes([first, 0x49])) == PictureFacts(random_access, False)


@pytest.mark.parametrize("first", [0x00, 0x42, 0xB0])
def test_vp9_that_is_not_clear(first: int) -> None:
    with pytest.raises(UnclearPacketError):
        read_vp9(bytes([first]))


SEQUENCE, SHOWN_KEY, HIDDEN_KEY, INTER = b"\x0a\x01\x00", b"\x32\x01\x10", b"\x32\x01\x00", b"\x32\x01\x30"


@pytest.mark.parametrize(
    ("packet", "facts"),
    [
        (b"\x12\x00" + SEQUENCE + SHOWN_KEY, PictureFacts(True, False, 0, b"\x00")),
        (SEQUENCE + HIDDEN_KEY, PictureFacts(False, False, 0, b"\x00")),
        (SEQUENCE + INTER, PictureFacts(False, False, 0, b"\x00")),
        (SHOWN_KEY, PictureFacts(False, False)),  # without its sequence header
        (b"\x1a\x01\x90", PictureFacts(False, False)),  # shows an earlier frame
        (b"\x36\x00\x81\x00\x10" + bytes(128), PictureFacts(False, False)),  # an extension, and a size of two bytes
    ],
)
def test_av1(packet: bytes, facts: PictureFacts) -> None:
    assert read_av1(packet) == facts


@pytest.mark.parametrize(
    "packet", [b"", b"\x12\x00", b"\x30\x10", b"\x0a\x01\x10", b"\x32\x05\x10", b"\x32" + b"\xff" * 9]
)
def test_av1_that_is_not_clear(packet: bytes) -> None:
    with pytest.raises(UnclearPacketError):
        read_av1(packet)


@given(data=st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (H264Reader(1, [sequence_set()]), lambda data: read_hevc(data, 1), read_vp9, read_av1):
        try:
            facts = read(data)
        except (UnclearPacketError, IndexError):
            continue
        assert not (facts.random_access and facts.disposable)


@pytest.mark.parametrize(
    ("codec", "extradata"),
    [("vp8", b""), ("mpeg4", b""), ("h264", None), ("h264", b"\0\0\0\1\x67\x64\0"), ("hevc", b"\1" * 8)],
)
def test_codecs_and_packagings_that_are_not_read(codec: str, extradata: bytes | None) -> None:
    assert picture_reader(codec, extradata) is None


X265 = {"x265-params": "log-level=none:keyint=10:open-gop=0:scenecut=0:bframes=3:b-adapt=0"}


@pytest.mark.parametrize(
    ("name", "codec", "options", "random_access"),
    [
        ("a.mp4", "libx264", {"x264-params": "keyint=10:scenecut=0:bframes=2"}, [0, 10, 20]),
        ("a.mkv", "libx264", {"x264-params": "open-gop=1:keyint=10:scenecut=0:bframes=2:b-adapt=0"}, [0]),
        ("refresh.mp4", "libx264", {"x264-params": "intra-refresh=1:keyint=10"}, [0]),
        ("hevc.mp4", "libx265", X265, [0, 10, 20]),
        ("open.mkv", "libx265", {"x265-params": X265["x265-params"].replace("open-gop=0", "open-gop=1")}, [0]),
        ("a.webm", "libvpx-vp9", {"cpu-used": "8", "g": "10", "lag-in-frames": "0"}, [0, 10, 20]),
        ("av1.mp4", "libsvtav1", {"preset": "12", "svtav1-params": "keyint=10:irefresh-type=2"}, [0, 10, 20]),
    ],
)
def test_random_access_points_of_real_streams(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], random_access: list[int]
) -> None:
    path = write_video(tmp_path / name, codec, options=options)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        read = picture_reader(stream.codec_context.codec.canonical_name, stream.codec_context.extradata)
        assert read is not None
        facts = [read(memoryview(packet)) for packet in container.demux(stream) if packet.size]
    assert [number for number, fact in enumerate(facts) if fact.random_access] == random_access
