"""Messages: one line, safe for a terminal, and the same in every process."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfeat.errors import UsageError, VideoError, VidfeatError, WriteError


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


def test_exit_codes_tell_apart() -> None:
    assert (VidfeatError.exit_code, UsageError.exit_code, WriteError.exit_code) == (1, 2, 4)


def test_a_video_error_crosses_processes() -> None:
    error = VideoError("a\n.mp4", stage="decode", kind="corrupt", expected="x", found="y", hint="z")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.where, again.stage, again.kind) == (str(error), "a\n.mp4", "decode", "corrupt")
