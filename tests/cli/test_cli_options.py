"""The options of all commands side by side, and what they become."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import click
import pytest

from vidfeat.cli import options
from vidfeat.cli.command import SECTIONS, Command
from vidfeat.cli.flags import FLAGS, in_flags
from vidfeat.cli.main import vidfeat
from vidfeat.errors import UsageError
from vidfeat.mmaction import FeatureRequest, LongVideo
from vidfeat.recipe import Pooling

DIFFERENT = {("bench", "--json"), ("report", "-o"), ("demo", "-o"), ("demo", "--out"), ("bench", "--videos")}
DIFFERENT |= {("convert", "--dtype")}
"""Options that mean something else to a command: a file in place of a switch, a page or a folder in place of OUT; the
dtype of another output where none is given."""

DEFAULT = options.RequestFlags()


def commands() -> dict[str, Command]:
    context = click.Context(vidfeat)
    found = {name: vidfeat.get_command(context, name) for name in vidfeat.list_commands(context)}
    assert all(isinstance(command, Command) for command in found.values())
    return found  # type: ignore[return-value]


def flags_of(command: click.Command) -> Iterator[tuple[str, click.Option]]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for flag in (*parameter.opts, *parameter.secondary_opts):
                yield flag, parameter


def shape(option: click.Option) -> str:
    """All of an option but its words."""
    return repr((option.name, option.nargs, option.default, option.multiple, option.is_flag, option.metavar)) + re.sub(
        " at 0x[0-9a-f]+", "", repr(option.type)
    )


def test_an_option_is_the_same_wherever_it_is() -> None:
    shapes = defaultdict(set)
    for name, command in commands().items():
        for flag, option in flags_of(command):
            if (name, flag) not in DIFFERENT:
                shapes[flag].add(shape(option))
    assert len(shapes) > 30
    assert {flag: found for flag, found in shapes.items() if len(found) > 1} == {}


def test_every_command_can_show_tracebacks_and_says_what_its_options_do() -> None:
    for name, command in commands().items():
        assert "--debug" in dict(flags_of(command)), name
        assert command.help, name
        shown = [option for _, option in flags_of(command) if not option.hidden]
        assert all(option.help and option.help.endswith(".") for option in shown), name


def test_commands_that_take_their_time_say_what_ctrl_c_leaves() -> None:
    words = {name: command.interrupted for name, command in commands().items()}
    long = {name for name in words if words[name] != "interrupted"}
    assert long == {"extract", "convert", "estimate", "plan", "report", "demo", "bench"}
    assert {name for name in words if "is kept" in words[name]} == {"extract", "convert"}


def test_the_help_of_many_options_is_in_sections_of_which_each_option_has_one() -> None:
    flags = [flag for section in SECTIONS.values() for flag in section.split()]
    assert len(flags) == len(set(flags))
    assert set(flags) - {"--help"} <= {flag for command in commands().values() for flag, _ in flags_of(command)}
    for name in ("extract", "estimate"):
        help_ = commands()[name].get_help(click.Context(commands()[name], info_name=name, terminal_width=80))
        assert re.findall("^  .*--stride", help_.partition("Rows over time:")[2], re.MULTILINE)
        assert "Other options:" not in help_
        assert all(
            len(re.findall(rf"^  .*{flag}\b(?!-)", help_, re.MULTILINE)) >= 1 for flag, _ in flags_of(commands()[name])
        )
    assert "Options:" in commands()["verify"].get_help(click.Context(commands()["verify"]))


def test_only_the_former_name_is_hidden() -> None:
    assert {name for name, command in commands().items() if command.hidden} == {"plan"}


# --- arguments of the library as flags --------------------------------------------------------------------------------


def test_every_flag_in_the_table_exists() -> None:
    known = {flag for command in commands().values() for flag, _ in flags_of(command)}
    named = {flag for flags in FLAGS.values() for flag in flags.split("/") if flag.startswith("-")}
    assert len(named) > 20
    assert named <= known


@pytest.mark.parametrize(
    ("where", "hint", "said"),
    [
        ("device", "Use `device='cpu'`.", "--device: expected a; found b. Use --device cpu."),
        ("out.pkl", "Pass `restart=True`.", "out.pkl: expected a; found b. Pass --restart."),
        ("out.pkl", 'Use `precision="fp32"`.', "out.pkl: expected a; found b. Use --precision fp32."),
        ("compiled", "Use `compiled=False`.", "--compile/--no-compile: expected a; found b. Use --no-compile."),
        ("x", "Leave `compiled` out.", "x: expected a; found b. Leave --compile/--no-compile out."),
        ("x", "Give `timeout_seconds=120`.", "x: expected a; found b. Give --timeout 120."),
        ("long_video.frame_interval", "", "--frame-interval: expected a; found b."),
        ("`launcher='slurm'`", "", "--launcher slurm: expected a; found b."),
        ("config.py", "Add the key `test_mode`.", "config.py: expected a; found b. Add the key `test_mode`."),
        ("x", "See `vidfeat models`.", "x: expected a; found b. See `vidfeat models`."),
    ],
)
def test_errors_name_flags_in_place_of_arguments(where: str, hint: str, said: str) -> None:
    assert in_flags(UsageError(where, expected="a", found="b", hint=hint)) == said


# --- what the options become ------------------------------------------------------------------------------------------


def extracting(*flags: str, command: str = "extract") -> dict[str, object]:
    """The parameters of `vidfeat extract` with these flags."""
    words = ["model.py", "clip.mp4", "-o", "out.pkl", *flags]
    return commands()[command].make_context("vidfeat extract", words).params


WINDOWS = {"long_video_mode": True, "clip_interval": 16}


@pytest.mark.parametrize(
    ("flags", "request_"),
    [
        ({}, FeatureRequest()),
        ({"multi_view": True}, FeatureRequest(Pooling(views="keep"))),
        ({"views": "per_clip"}, FeatureRequest(Pooling(views="per_clip"))),
        ({"scores": True}, FeatureRequest(scores=True)),
        ({"views": "few"}, FeatureRequest(Pooling(views="mean"), views="few")),
        ({"spatial_type": "max", "temporal_type": "keep"}, FeatureRequest(Pooling(space="max", time="keep"))),
        (WINDOWS, FeatureRequest(Pooling(views="per_clip"), views="few", long_video=LongVideo(16, None))),
        (
            {**WINDOWS, "frame_interval": 2, "views": "keep"},
            FeatureRequest(Pooling(views="keep"), long_video=LongVideo(16, 2)),
        ),
    ],
)
def test_poolings_views_and_windows(flags: dict[str, object], request_: FeatureRequest) -> None:
    typed = [f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}") for name, value in flags.items()]
    parsed = extracting(*typed)
    made = options.RequestFlags(**{name: parsed[name] for name in vars(DEFAULT)})  # type: ignore[arg-type]
    assert made == options.RequestFlags(**flags)  # type: ignore[arg-type]
    assert made.request() == request_


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_need_their_interval(name: str) -> None:
    with pytest.raises(UsageError, match="--long-video-mode together with --clip-interval"):
        options.RequestFlags(**{name: WINDOWS[name]})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"frame_interval": 2}, "--frame-interval: expected --long-video-mode as well"),
        (
            {"multi_view": True, "views": "few"},
            "--multi-view: expected --views keep, or none; found --views few",
        ),
    ],
)
def test_no_flag_is_passed_over(flags: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        options.RequestFlags(**flags)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "values", "videos"),
    [
        (["--cfg-options", "a.b=1", "c=[1,2]", "--quiet", "--cfg-options", "d=None", "a.b=2"], 3, ()),
        (["--cfg-options=a.b=1", "c=[1,2]", "d=None", "--quiet", "--cfg-options", "a.b=2", "x.mp4"], 3, ("x.mp4",)),
        (["--cfg-options", "c=[1,2]", "folder/d=1.mp4"], 1, ("folder/d=1.mp4",)),
        (["--cfg-options", "c=[1,2]", "--", "d=1"], 1, ("d=1",)),
        ([], 0, ()),
    ],
)
def test_options_given_twice_add_up(words: list[str], values: int, videos: tuple[str, ...]) -> None:
    found = extracting(*words)
    expected = {"a.b": 2, "c": [1, 2], "d": None} if values == 3 else {"c": [1, 2]} if values else {}
    assert options.overrides(found["cfg_options"]) == expected  # type: ignore[arg-type]
    assert found["videos"] == ("clip.mp4", *videos)


def test_values_without_their_option_are_no_options() -> None:
    with pytest.raises(click.UsageError, match="requires an argument"):
        extracting("--cfg-options")


@pytest.mark.parametrize(("flags", "compiled"), [((), None), (("--compile",), True), (("--no-compile",), False)])
def test_compiled(flags: tuple[str, ...], compiled: bool | None) -> None:
    assert extracting(*flags)["compiled"] is compiled


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_limit_is_a_number_above_0(text: str) -> None:
    with pytest.raises(click.UsageError, match=f"expected a number of seconds above 0; found '{text}'"):
        extracting(f"--timeout={text}")


@pytest.mark.parametrize("words", ["extract", "estimate", "plan"])
def test_options_may_stand_anywhere(words: str) -> None:
    parsed = commands()[words].make_context("", ["-q", "model.py", "--device", "cpu", "a.mp4", "-o", "x.pkl", "b.mp4"])
    assert (parsed.params["model"], parsed.params["videos"]) == ("model.py", ("a.mp4", "b.mp4"))
    assert (parsed.params["quiet"], parsed.params["device"]) == (True, "cpu")
