"""A second or two of each fuzz target; `scripts/fuzz.py TARGET SECONDS` runs for as long as requested."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzing import Finding, _watched, fuzz
from targets import TARGETS

INPUTS = {"config": 700, "checkpoint": 700}


@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs_are_taken_or_refused(name: str, tmp_path: Path) -> None:
    inputs = INPUTS.get(name, 200)
    tally = fuzz(TARGETS[name](), tmp_path, seed=5, goes_on=lambda tally: tally.inputs < inputs)
    assert tally.inputs == inputs
    assert tally.accepted > inputs // 100
    assert len(tally.answers) > (20 if name in INPUTS else 1)


@pytest.mark.parametrize(
    "code",
    [
        "Path(folder, 'x').write_text('')",
        "Path(folder, 'y').mkdir()",
        "__import__('os').system('true')",
        "exec('1', {})",
    ],
)
def test_the_watch_sees_what_it_watches_for(code: str, tmp_path: Path) -> None:
    compiled = compile(code, "input", "eval")
    with pytest.raises(Finding, match="forbidden"), _watched(tmp_path):
        eval(compiled, {"Path": Path, "folder": tmp_path})
