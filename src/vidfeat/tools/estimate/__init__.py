"""What a run would take, found out before it: broken and duplicate videos, rows, bytes, hours, and what takes them."""

from vidfeat.tools.estimate.forecast import Forecast, forecast
from vidfeat.tools.estimate.render import render, to_json

__all__ = ["Forecast", "forecast", "render", "to_json"]
