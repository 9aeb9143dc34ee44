"""The models that MMAction2 released, by name: a recipe, a checkpoint and what was published about them.

`released.csv` holds what was published (made by `scripts/make_zoo_table.py`); `rows` holds the recipes.
"""

from vidfeat.mmaction.zoo.listing import TableRow, render, table
from vidfeat.mmaction.zoo.models import ZooEntry, find_model, is_name, released

__all__ = ["TableRow", "ZooEntry", "find_model", "is_name", "released", "render", "table"]
