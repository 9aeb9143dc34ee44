"""What a run would take, found out before it: broken and duplicate videos, rows, bytes, hours, and what takes them."""

from vidfeat.plan.forecast import Forecast, forecast
from vidfeat.plan.render import render, to_json

__all__ = ["Forecast", "forecast", "render", "to_json"]
