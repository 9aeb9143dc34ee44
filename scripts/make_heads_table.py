"""Write the table of docs/scores.md: the heads of the released models.

Run: python scripts/make_heads_table.py
"""

from __future__ import annotations

from pathlib import Path

from vidfeat.mmaction.zoo import ZooEntry, released
from vidfeat.mmaction.zoo.labels import data_set_of

PAGE = Path(__file__).parents[1] / "docs" / "scores.md"
BEGIN, END = "<!-- made by scripts/make_heads_table.py -->\n", "<!-- end -->\n"
AVERAGED = {"prob": "probabilities", "score": "scores, averaged", None: "scores"}


def table() -> str:
    """The table, in Markdown."""
    groups: dict[tuple[str, str, str], list[ZooEntry]] = {}
    for entry in released():
        model = entry.config["model"]
        averaged = model["test_cfg"] if entry.line == "0.x" else model["cls_head"]
        key = (entry.family, model["cls_head"]["type"], AVERAGED[averaged["average_clips"]])
        groups.setdefault(key, []).append(entry)
    lines = ["| family | head | models | gives | data sets |", "|---|---|---|---|---|"]
    for (family, head, gives), entries in sorted(groups.items()):
        sets = {f"{e.dataset} ({e.classes})" + ("*" if data_set_of(e.name, e.classes) else "") for e in entries}
        lines.append(f"| {family} | {head} | {len(entries)} | {gives} | {', '.join(sorted(sets))} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
