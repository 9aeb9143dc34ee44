"""A config's dict, read key by key, that knows where it stands and what nobody has read."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vidfeat.errors import ConfigError

T = TypeVar("T")
_MISSING = object()


@dataclass
class Node:
    """One dict of a config.

    Every reading method checks type and range, and marks its key as read; `refuse_rest` then turns whatever is left
    into an error. Nothing is ever ignored by accident.

    Attributes:
        data: the dict.
        file: the config's path.
        path: key path of this dict, such as `data.test.pipeline.3`; empty at the top.
    """

    data: Mapping[str, Any]
    file: str
    path: str = ""
    _read: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, data: object, file: str, path: str = "") -> Node:
        """A node for a value that must be a dict with string keys."""
        if not isinstance(data, Mapping):
            raise ConfigError(f"{file}: {path or 'config'}", expected="a dict", found=f"{_short(data)}")
        if not all(isinstance(key, str) for key in data):
            raise ConfigError(f"{file}: {path or 'config'}", expected="string keys", found=f"{_short(list(data))}")
        return cls(data, file, path)

    @property
    def parent_path(self) -> str:
        """Key path of what holds this dict."""
        return self.path.rpartition(".")[0]

    def error(self, key: str, *, expected: str, found: str, hint: str = "") -> ConfigError:
        """An error at a key of this dict."""
        return ConfigError(f"{self.file}: {self._at(key)}", expected=expected, found=found, hint=hint)

    def value(self, key: str, default: Any = _MISSING) -> Any:
        """The value as it is."""
        self._read.add(key)
        if key in self.data:
            return self.data[key]
        if default is _MISSING:
            near = difflib.get_close_matches(key, self.data, n=1)
            found = f"no such key (but {near[0]!r})" if near else "no such key"
            raise self.error(key, expected="a value", found=found)
        return default

    def dict(self, key: str) -> Node:
        """A dict below this one."""
        return Node.of(self.value(key), self.file, self._at(key))

    def list_of_dicts(self, key: str) -> list[Node]:
        """A list of dicts below this one; not empty."""
        items = self.value(key)
        if not isinstance(items, list | tuple) or not items:
            raise self.error(key, expected="a list of dicts", found=_short(items))
        return [Node.of(item, self.file, f"{self._at(key)}.{number}") for number, item in enumerate(items)]

    def text(self, key: str) -> str:
        """A string."""
        value = self.value(key)
        if not isinstance(value, str):
            raise self.error(key, expected="a string", found=_short(value))
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or False."""
        value = self.value(key, default)
        if not isinstance(value, bool):
            raise self.error(key, expected="True or False", found=_short(value))
        return value

    def positive(self, key: str, default: Any = _MISSING) -> int:
        """An integer above 0."""
        value = self.value(key, default)
        if type(value) is not int or value < 1:
            raise self.error(key, expected="an integer above 0", found=_short(value))
        return value

    def choice(self, key: str, choices: Mapping[str, T], default: Any = _MISSING) -> T:
        """What a string stands for; an error lists the strings that are known."""
        value = self.value(key, default)
        if not isinstance(value, str) or value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else ""
            raise self.error(key, expected=f"one of {', '.join(map(repr, choices))}", found=_short(value), hint=hint)
        return choices[value]

    def pair(self, key: str) -> tuple[int, int]:
        """Two integers above 0, or one that stands for both."""
        value = self.value(key)
        pair = (value, value) if type(value) is int else value
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(type(x) is int and x > 0 for x in pair)):
            raise self.error(key, expected="an integer above 0, or two of them", found=_short(value))
        return pair[0], pair[1]

    def triple(self, key: str) -> tuple[float, float, float]:
        """Three numbers."""
        value = self.value(key)
        if not (isinstance(value, list | tuple) and all(type(x) in (int, float) for x in value) and len(value) == 3):
            raise self.error(key, expected="three numbers, one per RGB channel", found=_short(value))
        return float(value[0]), float(value[1]), float(value[2])

    def ignore(self, keys: Collection[str]) -> None:
        """Mark keys as read that may be there and do not matter."""
        self._read.update(keys)

    def refuse_rest(self, known: str) -> None:
        """Raise for the first key that nobody has read.

        Raises:
            ConfigError: names the key path, the value and the nearest key that is known.
        """
        for key in self.data:
            if key not in self._read:
                near = difflib.get_close_matches(key, self._read, n=1)
                do = f"Did you mean {near[0]!r}?" if near else "Remove it, or correct its name."
                raise self.error(
                    key, expected=known, found=f"an unknown key with value {_short(self.data[key])}", hint=do
                )

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
