"""A few seconds of each fuzz target; `scripts/fuzz.py config|checkpoint SECONDS` runs for as long as requested."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_checkpoint import CheckpointTarget
from fuzz_config import ConfigTarget
from fuzzing import Finding, Target, _watched, fuzz

INPUTS = 700


@pytest.mark.parametrize("target", [ConfigTarget(), CheckpointTarget()], ids=lambda target: target.name)
def test_changed_inputs_are_taken_or_refused(target: Target, tmp_path: Path) -> None:
    tally = fuzz(target, tmp_path, seed=5, goes_on=lambda tally: tally.inputs < INPUTS)
    assert tally.inputs == INPUTS
    assert tally.accepted > INPUTS // 100
    assert len(tally.answers) > 20


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
