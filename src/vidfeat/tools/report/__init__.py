"""`vidfeat report`: a page that shows the features of an output."""

from vidfeat.tools.report.compose import Summary, build

__all__ = ["Summary", "build"]
