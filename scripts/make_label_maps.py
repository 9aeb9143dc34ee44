"""Make `src/vidfeat/mmaction/zoo/labels.json.gz`: the names of the classes of data sets, by index.

Run: python scripts/make_label_maps.py GLUONCV TORCHVISION [JSON_GZ]

GLUONCV and TORCHVISION are the unpacked wheels of gluoncv 0.10.5 (Kinetics-700, Something-Something V2, HMDB51, UCF101)
and torchvision 0.29 (Kinetics-400). Nothing of them is run: the lists are read from their source. The order is that of
MMAction2's label maps. gluoncv writes the names of Kinetics as folders, and sorts UCF101 with capitals first.

Not there, as in no package that was found: Kinetics-600, Kinetics-710, Something-Something V1, Moments in Time,
Diving48 and others. `vidfeat.mmaction.zoo.labels` downloads MMAction2's own lists of these.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
import sys
from pathlib import Path

LABELS = Path(__file__).parents[1] / "src" / "vidfeat" / "mmaction" / "zoo" / "labels.json.gz"


def main(gluoncv: str, torchvision: str, target: str | Path = LABELS) -> None:
    data = Path(gluoncv) / "gluoncv" / "data"
    labels = {
        "kinetics400": _longest_list(Path(torchvision) / "torchvision" / "models" / "_meta.py", 400),
        "kinetics700": [_phrase(name) for name in _longest_list(data / "kinetics700" / "classification.py", 700)],
        "sthv2": _longest_list(data / "somethingsomethingv2" / "classification.py", 174),
        "ucf101": sorted(_longest_list(data / "ucf101" / "classification.py", 101), key=str.lower),
        "hmdb51": _longest_list(data / "hmdb51" / "classification.py", 51),
    }
    Path(target).write_bytes(gzip.compress(json.dumps(labels, separators=(",", ":")).encode(), 9, mtime=0))
    print({name: len(names) for name, names in labels.items()}, Path(target).stat().st_size, "bytes")


def _longest_list(source: Path, length: int) -> list[str]:
    """The list of that many strings in a Python file."""
    lists = [node for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))) if isinstance(node, ast.List)]
    (found,) = (ast.literal_eval(node) for node in lists if len(node.elts) == length)
    return list(found)


def _phrase(folder: str) -> str:
    """`hurling_-sport-` is "hurling (sport)", and `person-s` "person's"."""
    words = re.sub(r"-s\b", "'s", folder.replace("_", " "))
    return re.sub(r"(?<= )-([^-]+)-(?= |$)", r"(\1)", words)


if __name__ == "__main__":
    main(*sys.argv[1:])
