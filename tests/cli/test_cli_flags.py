"""The flags of all commands side by side, and what they become."""

from __future__ import annotations

import argparse
from collections import defaultdict

import pytest

from vidfeat.cli import build_parser, values
from vidfeat.errors import UsageError
from vidfeat.mmaction import FeatureRequest, LongVideo
from vidfeat.recipe import Pooling

DIFFERENT = {("bench", "--json"), ("report", "-o"), ("demo", "-o"), ("demo", "--out")}
"""Flags that mean something else to a command: a file in place of a switch, a page or a folder in place of OUT."""


def commands() -> dict[str, argparse.ArgumentParser]:
    actions = build_parser()._actions
    (found,) = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found.choices)


def shape(action: argparse.Action) -> str:
    """All of a flag but its words."""
    parts = type(action), action.dest, action.nargs, action.default, action.type, action.choices, action.metavar
    return repr(parts)


def test_a_flag_is_the_same_wherever_it_is() -> None:
    shapes = defaultdict(set)
    for name, parser in commands().items():
        for action in parser._actions:
            for flag in action.option_strings:
                if (name, flag) not in DIFFERENT:
                    shapes[flag].add(shape(action))
    assert len(shapes) > 30
    assert {flag: found for flag, found in shapes.items() if len(found) > 1} == {}


def test_every_command_runs_and_can_show_tracebacks() -> None:
    for name, parser in commands().items():
        assert callable(parser.get_default("run")), name
        assert "--debug" in parser._option_string_actions, name


def test_commands_that_take_their_time_say_what_ctrl_c_leaves() -> None:
    words = {name: parser.get_default("interrupted") for name, parser in commands().items()}
    assert {name for name in words if words[name]} == {"extract", "plan", "report", "demo", "bench"}
    assert {name for name in words if words[name] and "is kept" in words[name]} == {"extract"}


def extracting(*flags: str) -> argparse.Namespace:
    return build_parser().parse_args(["extract", "model.py", "clip.mp4", "-o", "out.pkl", *flags])


WINDOWS = ("--long-video-mode", "--clip-interval", "16")


@pytest.mark.parametrize(
    ("flags", "request_"),
    [
        ((), FeatureRequest()),
        (("--multi-view",), FeatureRequest(Pooling(views="keep"))),
        (("--views", "per_clip"), FeatureRequest(Pooling(views="per_clip"))),
        (("--views", "few"), FeatureRequest(Pooling(views="mean"), views="few")),
        (
            ("--spatial-type", "max", "--temporal-type", "keep"),
            FeatureRequest(Pooling(space="max", time="keep")),
        ),
        (WINDOWS, FeatureRequest(Pooling(views="per_clip"), views="few", long_video=LongVideo(16, None))),
        (
            (*WINDOWS, "--frame-interval", "2", "--views", "keep"),
            FeatureRequest(Pooling(views="keep"), long_video=LongVideo(16, 2)),
        ),
    ],
)
def test_poolings_views_and_windows(flags: tuple[str, ...], request_: FeatureRequest) -> None:
    assert values.request(extracting(*flags)) == request_


@pytest.mark.parametrize("flags", [WINDOWS[:1], WINDOWS[1:]])
def test_windows_need_their_interval(flags: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="--long-video-mode together with --clip-interval"):
        values.request(extracting(*flags))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--frame-interval", "2"), "--frame-interval: expected --long-video-mode with it"),
        (("--multi-view", "--views", "few"), "--multi-view: expected no other --views than keep; found --views few"),
    ],
)
def test_no_flag_is_passed_over(flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        values.request(extracting(*flags))


def test_options_given_twice_add_up() -> None:
    options = extracting("--cfg-options", "a.b=1", "c=[1,2]", "--quiet", "--cfg-options", "d=None", "a.b=2")
    assert values.overrides(options.cfg_options) == {"a.b": 2, "c": [1, 2], "d": None}
    assert extracting().cfg_options == []


@pytest.mark.parametrize(("flags", "kernels"), [((), None), (("--compile",), "compiled"), (("--no-compile",), "eager")])
def test_kernels(flags: tuple[str, ...], kernels: str | None) -> None:
    assert values.kernels(extracting(*flags)) == kernels


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_limit_is_a_number_above_0(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        extracting(f"--timeout={text}")
    assert ended.value.code == 2
    assert f"expected a number of seconds above 0; found {text!r}" in capsys.readouterr().err
