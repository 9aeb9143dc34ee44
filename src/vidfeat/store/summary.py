"""How a run ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        videos: how many the list has.
        computed: those with features that were committed since the run was opened, by any rank.
        kept: those with features from before.
        failed: those without features.
        out: the output.
        manifest: says what became of each video.
        config_lines: what to write into the config of the code that the output is for; empty where it is for none.
    """

    videos: int
    computed: int
    kept: int
    failed: int
    out: Path | str
    manifest: Path | str
    config_lines: str = ""

    @property
    def done(self) -> int:
        """How many videos have features."""
        return self.computed + self.kept

    def describe(self) -> str:
        """The same in one line, for people."""
        done = f"{self.done} of {self.videos} videos in {self.out}"
        if not self.failed:
            return done
        return f"{done}, {self.failed} failed (see {self.manifest}; `retry_failed=True` tries them again)"

    @classmethod
    def total(cls, summaries: Sequence[Summary]) -> Summary:
        """Those of several outputs of a job, with their numbers added up and the files of the first."""
        if len(summaries) == 1:
            return summaries[0]
        videos, computed, kept, failed = (
            sum(getattr(one, name) for one in summaries) for name in ("videos", "computed", "kept", "failed")
        )
        first = summaries[0]
        return cls(videos, computed, kept, failed, first.out, first.manifest, first.config_lines)
