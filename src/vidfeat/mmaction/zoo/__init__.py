"""The models that MMAction2 released, by name: a recipe, a checkpoint and the published numbers.

`released.csv` holds the published numbers (written by `scripts/make_zoo_table.py`), `rows` the recipes, and `sizes.csv`
what follows from these (written by `scripts/make_zoo_sizes.py`).
"""

from typing import TYPE_CHECKING

from vidfeat.lazy_import import lazy_names

if TYPE_CHECKING:
    from vidfeat.mmaction.zoo.listing import TableRow, render, table, to_json
    from vidfeat.mmaction.zoo.models import ZooEntry, find_model, released

__all__ = ["TableRow", "ZooEntry", "find_model", "released", "render", "table", "to_json"]

__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("TableRow", "render", "table", "to_json"), "vidfeat.mmaction.zoo.listing"),
        **dict.fromkeys(("ZooEntry", "find_model", "released"), "vidfeat.mmaction.zoo.models"),
    },
)
"""The models import PyTorch, which the table does without."""
