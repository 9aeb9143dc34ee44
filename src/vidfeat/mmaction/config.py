"""MMAction2 config files: read as data, and then key by key.

`read_config` reads a file and the files that it inherits from. Python configs are evaluated by `evaluator`; nothing in
them is executed. Inheritance through `_base_` follows mmcv 1.7. `Node` is one dict of the result: it checks what is
read from it and refuses what is not.

Configs are untrusted, so a load has a cost limit, which covers the files and the values that they build.
"""

from __future__ import annotations

import copy
import difflib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vidfeat.errors import ConfigError, shorten
from vidfeat.mmaction.evaluator import (
    BASE,
    MAX_COST,
    MAX_DEPTH,
    Budget,
    Refusal,
    evaluate,
    plain_data,
    shortened,
    shown,
    shown_error,
)

MAX_FILE_BYTES = 128 * 1024
"""Largest config file, in bytes. The largest public one has 11 kB."""

MAX_NUMBER = 1_000_000
"""Largest number of an option that is compiled. More frames, channels or layers than that would exhaust memory."""

_LONGEST_WORDS = 600

T = TypeVar("T")
Options = dict[str, Any]  # a name for it inside `Node`, which has a method `dict`
_MISSING = object()
_DELETE = "_delete_"
_BASE_REFERENCE = re.compile(r"\{\{\s*_base_\.([\w.]+)\s*\}\}")
_FILE_COST = 10_000  # in the units of a Budget; bounds the number of files of one load


@dataclass(frozen=True)
class ConfigFile:
    """The content of a config file and its bases.

    Attributes:
        data: plain dicts, lists, tuples and scalars (sets and ranges where the file makes them). Names that start with
            `__` are dropped, and so are `_base_` and `_delete_`.
        variables: top-level names that other expressions use: they are parts of the file, not options.
    """

    data: dict[str, Any]
    variables: frozenset[str]


def read_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> ConfigFile:
    """Read a config file, with the files named by its `_base_` merged beneath it.

    Args:
        path: a `.py`, `.json`, `.yaml` or `.yml` file of at most `MAX_FILE_BYTES` bytes, in UTF-8.
        overrides: values to set afterwards, as in `apply_overrides`.

    Raises:
        ConfigError: a file cannot be read, uses a construct that is not supported, exceeds the cost limit, or cannot be
            merged with its bases; an override changes a variable, whose value other keys already have.
    """
    overrides = overrides or {}
    try:
        load = _Load()
        path = _expanded(path)
        config = plain_data(load.file(path))
        for key, value in overrides.items():
            _require_data(key, value)
            if key.partition(".")[0] in load.variables:
                raise ConfigError(
                    f"override `{shortened(key)}`",
                    expected="a key that is not a variable of the config",
                    found=f"a variable of {path}, whose value other keys already have",
                    hint="Override the keys that use it, such as `data.test.pipeline.3.scale`.",
                )
        return ConfigFile(apply_overrides(config, overrides), frozenset(load.variables))
    except (MemoryError, RecursionError):
        raise ConfigError(
            str(path), expected="a config of ordinary size and nesting", found="one that is nested too deeply"
        ) from None


def _expanded(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # no such user, or no home folder
        raise ConfigError(str(path), expected="a path", found=f"{error}") from None


# --- files ------------------------------------------------------------------------------------------------------------


@dataclass
class _Load:
    """One load: the files that are being read, their common cost limit, and the variables found so far."""

    budget: Budget = field(default_factory=Budget)
    variables: set[str] = field(default_factory=set)
    chain: list[Path] = field(default_factory=list)  # outermost first

    def file(self, path: Path) -> dict[str, Any]:
        """Read one file, merged over its bases."""
        text = _fill_in(path, _read_text(path))
        self.chain.append(path.resolve())
        try:
            self.budget.spend(_FILE_COST + len(text))
            if path.suffix == ".py":
                own, base, names_read = evaluate(
                    path, text, self.budget, lambda where, value: self._bases(path, where, value), self._base
                )
                self.variables |= names_read
            else:
                own = _read_data(path, text, self.budget)
                base = self._bases(path, str(path), own.pop(BASE, []))
                own = _resolve_references(own, base)
            self.budget.weigh([own, base])  # the last statement may have made either contain itself
        except Refusal as refused:
            refused.raise_at(str(path))
        self.chain.pop()
        return _merge(own, base, f"{path}:")

    def _bases(self, owner: Path, where: str, value: Any) -> dict[str, Any]:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise ConfigError(where, expected="`_base_` to be a path or a list of paths", found=shown(value))
        merged: dict[str, Any] = {}
        for name in names:
            if "::" in name:
                raise ConfigError(
                    where,
                    expected="each `_base_` to be a path",
                    found=shown(name),
                    hint="The part before `::` names an installed package; write the path to its config file instead.",
                )
            base = self._base(where, owner.parent / name, name)
            twice = sorted(str(key) for key in base.keys() & merged.keys())
            if twice:
                raise ConfigError(
                    where, expected="bases that share no key", found=f"{', '.join(twice)} again in `{name}`"
                )
            merged.update(base)
        return merged

    def _base(self, where: str, path: Path, name: str = "") -> dict[str, Any]:
        if _resolved(path) in self.chain:
            found = f"a cycle through {shown(name or str(path))}"
            raise ConfigError(where, expected="`_base_` files without a cycle", found=found)
        if not _is_file(path):
            raise ConfigError(
                where,
                expected="each base to be a config file, its path relative to this one",
                found=f"no file at {shown(str(path))}",
                hint="Copy the config together with the files it inherits from, in the same folders.",
            )
        return self.file(path)


def _read_text(path: Path) -> str:
    if path.suffix not in (".py", ".json", ".yaml", ".yml"):
        raise ConfigError(str(path), expected="a .py, .json, .yaml or .yml file", found=f"the suffix `{path.suffix}`")
    if not _is_file(path):  # a read from a pipe or a device would wait
        found = "no regular file there" if os.path.exists(path) else "no such file"  # noqa: PTH110  # no errors
        raise ConfigError(str(path), expected="a config file", found=found)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(str(path), expected="a readable file", found=f"{error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            str(path), expected="text in UTF-8", found=f"byte 0x{data[error.start]:02x} at offset {error.start}"
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(str(path), expected=f"a config of at most {MAX_FILE_BYTES} bytes", found="a larger file")
    if "\0" in text:
        raise ConfigError(str(path), expected="text", found=f"a NUL byte at character {text.index(chr(0))}")
    return text


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with characters that no path can have
        return False


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # as above, or a loop of symbolic links
        return path


def _fill_in(path: Path, text: str) -> str:
    """Replace mmcv's `{{ fileDirname }}` family, and write `{{ _base_.a.b }}` as the file's syntax allows."""
    if "{{" not in text:
        return text
    full = path.absolute()
    variables = {
        "fileDirname": full.parent,
        "fileBasename": full.name,
        "fileBasenameNoExtension": full.stem,
        "fileExtname": full.suffix,
    }
    names = "|".join(variables)
    text = re.sub(rf"\{{\{{\s*({names})\s*\}}\}}", lambda match: str(variables[match[1]]).replace("\\", "/"), text)
    return _BASE_REFERENCE.sub(r" _base_.\1 " if path.suffix == ".py" else r'"{{_base_.\1}}"', text)


def _read_data(path: Path, text: str, budget: Budget) -> dict[str, Any]:
    try:
        data = json.loads(text) if path.suffix == ".json" else _read_yaml(text, budget)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ConfigError(str(path), expected=f"valid {path.suffix[1:]}", found=shown_error(error)) from error
    if not isinstance(data, dict):
        raise ConfigError(str(path), expected="keys and values at the top", found=f"a {type(data).__name__}")
    budget.weigh(data)
    return data


def _read_yaml(text: str, budget: Budget) -> Any:
    """The file's only document, as `yaml.safe_load` reads it; its size is charged before any value is built."""
    import yaml

    try:
        loader = yaml.SafeLoader(text)  # not the loader in C: deep nesting crashes it
        root = loader.get_single_node()
        if root is None:
            return None
        budget.spend(_built_size(root, {}))
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _built_size(node: Any, sizes: dict[int, int]) -> int:
    """Values under a YAML node, an alias counted at every place.

    The loader copies what a merge key (`<<`) names, so a few lines of nested ones build any number of values.
    """
    if id(node) not in sizes:
        sizes[id(node)] = MAX_COST + 1  # of an alias to a node that contains it
        parts = node.value
        if isinstance(parts, str):
            if ":" in parts and node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
                raise Refusal("numbers in base 10", f"one in base 60: {shown(parts)}", "Put quotes around text.")
            parts = ()
        elif parts and isinstance(parts[0], tuple):
            parts = [part for pair in parts for part in pair]
        sizes[id(node)] = 1 + sum(_built_size(part, sizes) for part in parts)
    return sizes[id(node)]


def _resolve_references(value: Any, base: dict[str, Any]) -> Any:
    """Replace every `{{_base_.a.b}}` of a JSON or YAML file by the bases' value."""
    if isinstance(value, dict):
        return {key: _resolve_references(item, base) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve_references(item, base) for item in value]
    match = _BASE_REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    found: Any = base
    for key in match[1].split("."):
        if not isinstance(found, dict) or key not in found:
            raise Refusal("a key that the bases define", f"`{value}`")
        found = found[key]
    return found


# --- a dict, key by key -----------------------------------------------------------------------------------------------


@dataclass
class Node:
    """One dict of a config, read key by key.

    Every reading method checks type and range, and marks its key as read. `refuse_rest` then raises an error for any
    key that was not read. Nothing is ignored by accident.

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
        """Key path of the value that holds this dict."""
        return self.path.rpartition(".")[0]

    def error(self, key: str, *, expected: str, found: str, hint: str = "") -> ConfigError:
        """An error at a key of this dict. What is long, as a value may be, is cut."""
        expected, found, hint = (shorten(text, _LONGEST_WORDS) for text in (expected, found, hint))
        return ConfigError(f"{self.file}: {self._at(key)}", expected=expected, found=found, hint=hint)

    def value(self, key: str, default: Any = _MISSING) -> Any:
        """The value as it is; its numbers are finite and at most `MAX_NUMBER` in size."""
        self._read.add(key)
        if key in self.data:
            value = self.data[key]
            if not _is_small(value):
                raise self.error(key, expected=f"numbers of at most {MAX_NUMBER:,} in size", found=_short(value))
            return value
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

    def flag(self, key: str, default: Any = _MISSING) -> bool:
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

    def factor(self, key: str, default: Any = _MISSING) -> float:
        """A finite number above 0."""
        value = self.value(key, default)
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            raise self.error(key, expected="a number above 0", found=_short(value))
        return float(value)

    def series(self, key: str, least: int = 1) -> tuple[int, ...]:
        """A list of integers from `least` up, not empty."""
        value = self.frozen(key)
        if not (isinstance(value, tuple) and value and all(type(x) is int and x >= least for x in value)):
            raise self.error(key, expected=f"a list of integers from {least} up", found=_short(value))
        return value

    def frozen(self, key: str, default: Any = _MISSING) -> Any:
        """The value as it is, with tuples in place of lists."""
        return _frozen(self.value(key, default))

    def given(self, names: Iterable[str], read: Callable[[str], Any] | None = None) -> Options:
        """Those of the named options that are present, each as the method `read` returns it; by default `frozen`."""
        return {name: (read or self.frozen)(name) for name in names if name in self.data}

    def build(self, make: Callable[..., T], options: Mapping[str, Any]) -> T:
        """Call `make` with the options; its `TypeError` or `ValueError` becomes an error at the key `type`."""
        try:
            return make(**options)
        except (TypeError, ValueError) as error:
            raise self.error("type", expected="options that make a network", found=str(error)) from None

    def choice(self, key: str, choices: Mapping[str, T], default: Any = _MISSING) -> T:
        """The value that a string selects; an error lists the accepted strings."""
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
        """Mark keys as read that may be present and have no effect on features."""
        self._read.update(keys)

    def refuse_rest(self, known: str) -> None:
        """Raise for the first key that was not read.

        Raises:
            ConfigError: names the key path, the value and the nearest accepted key.
        """
        for key in self.data:
            if key not in self._read:
                near = difflib.get_close_matches(key, self._read, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else "Remove it, or correct its name."
                raise self.error(
                    key, expected=known, found=f"an unknown key with value {_short(self.data[key])}", hint=hint
                )

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_small(value: object) -> bool:
    """Whether all numbers in a value are at most `MAX_NUMBER` in size; NaN is not. Those of dicts are nodes' own."""
    if isinstance(value, list | tuple):
        return all(map(_is_small, value))
    return not isinstance(value, int | float) or abs(value) <= MAX_NUMBER


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


# --- overrides --------------------------------------------------------------------------------------------------------


def parse_override(text: str) -> tuple[str, Any]:
    """Split one `--cfg-options` item, `a.b.0.c=value`, into the dotted key and the value, typed as mmcv types it.

    Integers, floats, `true` and `false` in any case, and `None` are converted; `[1,2]` and `1,2` become a list, `(1,2)`
    a tuple; brackets nest. Anything else is a string. Quotes around a value are removed first.

    Raises:
        ConfigError: there is no `=`, a part of the key is empty, or brackets do not match.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise ConfigError(f"override `{shortened(text)}`", expected="`key.path=value`", found="no key or no `=`")
    try:
        return key, _parse_value(value)
    except ValueError:
        raise ConfigError(
            f"override `{shortened(text)}`", expected=f"matching brackets, at most {MAX_DEPTH} deep", found=shown(value)
        ) from None


def _require_data(key: object, value: object) -> None:
    """Refuse what only a program can pass: a key that is not text, or a value that no config file can hold."""
    if not isinstance(key, str):
        raise ConfigError(
            f"override {key!r}", expected="a dotted key as text", found=f"a key of type {type(key).__name__}"
        )
    parts: Iterable[object] = ()
    if isinstance(value, Mapping):
        parts = (*value.keys(), *value.values())
    elif isinstance(value, (list, tuple)):
        parts = value
    elif not (value is None or isinstance(value, (bool, int, float, str))):
        raise ConfigError(
            f"override `{shortened(key)}`",
            expected="None, a number, text, or lists, tuples and dicts of them",
            found=f"{shown(value)} of type {type(value).__name__}",
        )
    for part in parts:
        _require_data(key, part)


def _parse_value(text: str, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    text = text.strip().strip("'\"").strip()
    inner = _split_at_commas(text[1:-1]) if text[:1] + text[-1:] in ("()", "[]") else None
    if inner is not None:  # None also for "(1),(2)", whose outer brackets are not a pair
        items = [_parse_value(part, depth + 1) for part in inner]
        return tuple(items) if text[0] == "(" else items
    if "," not in text:
        return _parse_scalar(text)
    parts = _split_at_commas(text)
    if parts is None:
        raise ValueError("unbalanced")
    if parts == [text]:  # its commas are all inside brackets: "f(1,2)"
        return text
    return [_parse_value(part, depth + 1) for part in parts]


def _split_at_commas(text: str) -> list[str] | None:
    """The parts of `text` between the commas outside all brackets, a last empty one left out; None if unbalanced."""
    open_brackets: list[str] = []
    starts = [0]
    for index, char in enumerate(text):
        if char in "([":
            open_brackets.append(char)
        elif char in ")]":
            if not open_brackets or open_brackets.pop() + char not in ("()", "[]"):
                return None
        elif char == "," and not open_brackets:
            starts.append(index + 1)
    if open_brackets:
        return None
    parts = [text[start : end - 1] for start, end in zip(starts, [*starts[1:], len(text) + 1], strict=True)]
    return parts if parts[-1] else parts[:-1]


def _parse_scalar(text: str) -> Any:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return None if text == "None" else text


def apply_overrides(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with the values at dotted keys replaced, or merged where both are dicts; `config` is not changed.

    A part made of digits indexes a list (`test_pipeline.0.num_clips`). A key that does not exist is created, as mmcv
    does; the compiler refuses it later where it has no meaning. A dict with `_delete_=True` replaces.

    Raises:
        ConfigError: an index is not in its list, or a key leads into a value that has no keys.
    """
    tree: dict[str, Any] = {}
    for key, value in overrides.items():
        *parents, last = key.split(".")
        if len(parents) >= MAX_DEPTH:
            raise ConfigError(f"override `{shortened(key)}`", expected=f"at most {MAX_DEPTH} parts", found="more")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(
                    f"override `{key}`", expected="one value per key", found=f"another override for `{part}`"
                )
        node[last] = copy.deepcopy(value)  # a longer key may lead into it
    return _merge(tree, dict(config), "override", list_indices=True)


# --- merging ----------------------------------------------------------------------------------------------------------


def _merge(
    child: Mapping[Any, Any], base: Mapping[Any, Any], where: str, at: str = "", *, list_indices: bool = False
) -> dict[Any, Any]:
    """Merge `child` over `base`, dicts recursively; neither is changed."""
    merged = {**base}
    for key, value in child.items():
        if key != _DELETE:
            merged[key] = _merge_value(
                value, merged.get(key, {}), where, f"{at}{key}", list_indices, new=key not in base
            )
    return merged


def _merge_value(value: Any, base: Any, where: str, at: str, list_indices: bool, *, new: bool) -> Any:
    if not isinstance(value, dict):
        return value
    if new or value.get(_DELETE):
        base = {}
    if isinstance(base, dict):
        return _merge(value, base, where, f"{at}.", list_indices=list_indices)
    if list_indices and isinstance(base, list):
        return _merge_into_list(value, base, where, at)
    raise ConfigError(
        f"{where} `{at}`",
        expected=f"a dict in the base, to merge the keys {shown(list(value))} into",
        found=f"{shown(base)} of type {type(base).__name__}",
        hint=f"Give `{at}` as a whole." if list_indices else f"Set `{_DELETE}=True` in the dict to replace the value.",
    )


def _merge_into_list(child: Mapping[Any, Any], base: list[Any], where: str, at: str) -> list[Any]:
    merged = [*base]
    for key, value in child.items():
        if not (isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10 and int(key) < len(base)):
            raise ConfigError(
                f"{where} `{at}.{key}`", expected=f"an index into the list of {len(base)}", found=f"`{key}`"
            )
        merged[int(key)] = _merge_value(value, base[int(key)], where, f"{at}.{key}", True, new=False)
    return merged
