"""What a run would take, found out before it: failing and duplicate videos, rows, bytes, hours, and what takes them."""

from vidfeat.tools.estimate.estimation import Estimate, estimate
from vidfeat.tools.estimate.render import render, to_json

__all__ = ["Estimate", "estimate", "render", "to_json"]
