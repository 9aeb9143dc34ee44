"""The models that MMAction2 released, by name: a recipe, a checkpoint and the published numbers.

`released.csv` holds the published numbers (written by `scripts/make_zoo_table.py`); `rows` holds the recipes.
"""

from vidfeat.mmaction.zoo.listing import TableRow, render, table
from vidfeat.mmaction.zoo.models import ZooEntry, find_model, released

__all__ = ["TableRow", "ZooEntry", "find_model", "released", "render", "table"]
