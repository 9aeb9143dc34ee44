"""Messages: one line, safe for a terminal, and the same in every process."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfeat.errors import UsageError, VideoError, VidfeatError, WriteError, quote, shorten


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("clip.mp4", "clip.mp4"),
        ("kurz über 鍵 🔑.mp4", "kurz über 鍵 🔑.mp4"),
        ("two\nlines.mp4", "two\\nlines.mp4"),
        ("\x1b[2J\x1b]0;title\x07.mp4", "\\x1b[2J\\x1b]0;title\\x07.mp4"),
        ("turned \u202e4pm.exe", "turned \\u202e4pm.exe"),
        ("no utf-8 \udcff.mp4", "no utf-8 \\udcff.mp4"),
    ],
)
def test_names_cannot_steer_a_terminal(name: str, told: str) -> None:
    error = UsageError(name, expected="a video", found="none")
    assert str(error) == f"{told}: expected a video; found none."
    assert error.where == name


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_any_message_is_one_printable_line(text: str) -> None:
    assert str(VidfeatError(text, expected=text, found=text, hint=text)).isprintable()


def test_a_long_name_is_shown_in_part_and_kept_in_full() -> None:
    name = f"/data/{'x' * 4000}/é 1.mp4:7"
    error = UsageError(name, expected="a video", found="none")
    assert str(error) == f"/data/{'x' * 93}…{'x' * 89}/é 1.mp4:7: expected a video; found none."
    assert pickle.loads(pickle.dumps(error)).where == error.where == name


def test_shortening() -> None:
    assert shorten("a" * 200) == "a" * 200
    assert shorten("a" * 100 + "b" * 101) == "a" * 99 + "…" + "b" * 99
    assert shorten("abcdefghij", 5) == "ab…ij"
    assert quote("a'b\n" + "c" * 300) == "\"a'b\\n" + "c" * 93 + "…" + "c" * 98 + '"'


def test_exit_codes_tell_apart() -> None:
    assert (VidfeatError.exit_code, UsageError.exit_code, WriteError.exit_code) == (1, 2, 4)


def test_a_video_error_crosses_processes() -> None:
    error = VideoError("a\n.mp4", stage="decode", kind="corrupt", expected="x", found="y", hint="z")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.where, again.stage, again.kind) == (str(error), "a\n.mp4", "decode", "corrupt")
