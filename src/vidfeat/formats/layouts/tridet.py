"""TriDet: files and config as for ActionFormer. Read by its data sets `thumos` and `anet`."""

from __future__ import annotations

from vidfeat.formats.layouts.actionformer import yaml_lines
from vidfeat.formats.layouts.layout import Layout, for_each

TRIDET = Layout("tridet", for_each(yaml_lines))
