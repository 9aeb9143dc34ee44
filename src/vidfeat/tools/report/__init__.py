"""Pictures of the features for people: one page that shows what a run gave and whether it is any good."""

from vidfeat.tools.report.compose import Summary, build

__all__ = ["Summary", "build"]
