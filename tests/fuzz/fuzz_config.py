"""Fuzz target: configs. Whatever a file says, the answer is a recipe or a `ConfigError`, quickly, and nothing runs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import fuzzing

from vidfeat.errors import ConfigError
from vidfeat.mmaction import compile_file
from vidfeat.mmaction.config import read_config

REPOSITORY = Path(__file__).resolve().parents[2]

WORDS = [
    *b"import from as def class lambda exec eval open __import__ __class__ __subclasses__ __builtins__".split(),
    *b"_base_ _delete_ None True False and or not in is if else for".split(),
    *b"( ) [ ] { } : = == ** * + - / // % @ , . ; ' \" ''' # \\ | & ~ ^ << >> := ...".split(),
    *b"dict(type='TSN') type='ResNet' 9**99 10**10 1e999 -1 0 0x7fffffffffffffff float('nan') '\\x00'".split(),
    *b"a.b a[0] a[::-1] a() a.append(a) getattr(a,'b') '{}'.format(a) range(10**12) list(range(9))".split(),
    *(b"\n", b"\t", b"\n a=1\n", b"\na += a\n", b"\nfor i in range(9):\n    pass\n", b"[x for x in range(99)]"),
    *(b"{**a}", b"f'{a}'", b"'a' * 99999", b"\xff\xfe", "\ufeff".encode(), "é鍵🔑".encode()),
]

SEED_EXPRESSIONS = b"""a = [0, 1.5, 'two', None, True, (1, 2), {'k': [1]}]
b = dict(x=a[0], y=-a[1], **{'z': 3})
c = [i * 2 for i in range(4) if i % 2 == 0] + list(range(3))
d = 'a' if a else f'{b}'
model = dict(type='Recognizer2D', backbone=dict(type='ResNet', depth=50), test_cfg=dict(feature_extraction=True))
"""


class ConfigTarget:
    """The config parser, and the compiler behind it."""

    name = "config"
    suffix = ".py"

    def prepare(self, folder: Path) -> None:
        """Nothing."""

    def seeds(self) -> list[bytes]:
        """The configs of the repository that stand alone, without a base."""
        examples = [REPOSITORY / "examples" / "tiny_slowonly.py", *(REPOSITORY / "configs").rglob("*.py")]
        return [path.read_bytes() for path in examples if b"_base_" not in path.read_bytes()] + [SEED_EXPRESSIONS]

    def mutate(self, rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
        """Whole lines or single bytes."""
        if rng.random() < 0.5:
            return fuzzing.change_bytes(rng, data, WORDS, others)
        lines = data.splitlines(keepends=True) or [b""]
        for _ in range(rng.choice([1, 2, 4])):
            at = rng.randrange(len(lines))
            other = rng.choice(others).splitlines(keepends=True) or [b""]
            change = rng.randrange(4)
            if change == 0:
                lines[at : at + 1] = []
            elif change == 1:
                lines.insert(at, rng.choice(other))
            elif change == 2:
                lines[at] = fuzzing.change_bytes(rng, lines[at], WORDS, others)
            else:
                before, after = rng.choice([(b"=", b"+="), (b"'", b""), (b"(", b"(("), (b",", b"**")])
                lines[at] = lines[at].replace(before, after)
            lines = lines or [b""]
        return b"".join(lines)

    def read(self, path: Path) -> str:
        """Parse, then compile what parsed."""
        read_config(path)
        try:
            recipe = compile_file(path)
        except ConfigError as error:
            return f"parsed; {error.expected:.60}"
        return f"compiled, digest of {len(recipe.digest)} digits"
