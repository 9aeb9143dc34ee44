"""MMAction2 config files as data: the file's syntax tree is walked, and nothing in it is ever executed.

A config of MMAction2 0.x (and a classic one of 1.x) is a Python file of assignments. The part of Python that such
files use is evaluated here node by node: literals, arithmetic, comprehensions, f-strings and calls of a few harmless
functions. All else is a `ConfigError` that names file and line. Inheritance through `_base_` follows mmcv 1.7.

Configs of the import style, which 1.x also has, are read by `vidfeat.mmaction.lazy` in the same way.

Configs come from the internet, so a load has a budget: what the files, and the values that they build, may cost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidfeat.errors import ConfigError
from vidfeat.mmaction._pyeval import BASE, MAX_DEPTH, Budget, Evaluator, Refusal, shortened, shown, shown_error
from vidfeat.mmaction.lazy import LazyEvaluator, finished, is_lazy

MAX_FILE_BYTES = 128 * 1024
"""Largest config file, in bytes. The largest public one has 11 kB."""

_DELETE = "_delete_"
_BASE_REFERENCE = re.compile(r"\{\{\s*_base_\.([\w.]+)\s*\}\}")
_FILE_COST = 10_000  # in the units of a Budget; bounds the number of files of one load


@dataclass(frozen=True)
class ConfigFile:
    """What a config file, with its bases, says.

    Attributes:
        data: plain dicts, lists, tuples and scalars (sets and ranges where the file makes them). Names that start with
            `__` are dropped, and so are `_base_` and `_delete_`.
        variables: names at the top that other expressions use: parts of the text, not options.
    """

    data: dict[str, Any]
    variables: frozenset[str]


def read_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> ConfigFile:
    """Read a config file, with the files named by its `_base_` merged beneath it.

    Args:
        path: a `.py`, `.json`, `.yaml` or `.yml` file of at most `MAX_FILE_BYTES` bytes, in UTF-8.
        overrides: values to set afterwards, as in `apply_overrides`.

    Raises:
        ConfigError: a file cannot be read, uses a construct that is not supported, costs more than a config may,
            or cannot be merged with its bases; an override changes a variable, which has been used up by then.
    """
    path = Path(path).expanduser()
    variables: set[str] = set()
    try:
        config = finished(_load(path, chain=(), budget=Budget(), variables=variables))
        for key, value in (overrides or {}).items():
            _require_data(key, value)
            if key.partition(".")[0] in variables:
                raise ConfigError(
                    f"override `{shortened(key)}`",
                    expected="a key that is read at the end",
                    found=f"a variable of {path}, whose value other keys have taken already",
                    hint="Override the keys that use it, such as `data.test.pipeline.3.scale`.",
                )
        return ConfigFile(apply_overrides(config, overrides or {}), frozenset(variables))
    except (MemoryError, RecursionError):
        raise ConfigError(
            str(path), expected="a config of ordinary size and nesting", found="one that is nested too deeply"
        ) from None


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What `read_config` reads, without the variables."""
    return read_config(path, overrides).data


# --- overrides --------------------------------------------------------------------------------------------------------


def parse_override(text: str) -> tuple[str, Any]:
    """Split one `--cfg-options` item, `a.b.0.c=value`, into the dotted key and the value, typed as mmcv types it.

    Integers, floats, `true` and `false` in any case and `None` become what they look like; `[1,2]` and `1,2` a list;
    `(1,2)` a tuple; brackets nest. Anything else is a string. Quotes around a value are taken off first.

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
    """What only a program can give: a key that is no text, or a value that no config file could hold."""
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
    if inner is not None:  # None also for "(1),(2)", whose first and last bracket are not a pair
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
    """Return `config` with the values at dotted keys replaced, or merged where both are dicts; `config` stands as is.

    A part made of digits indexes a list (`test_pipeline.0.num_clips`). A key that does not exist is created, as mmcv
    does; the compiler refuses it later where it means nothing. A dict with `_delete_=True` replaces.

    Raises:
        ConfigError: an index is not in its list, or a key goes into something that has no keys.
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
        node[last] = value
    return _merge(tree, dict(config), "override", list_indices=True)


# --- merging ----------------------------------------------------------------------------------------------------------


def _merge(
    child: Mapping[Any, Any], base: Mapping[Any, Any], where: str, at: str = "", *, list_indices: bool = False
) -> dict[Any, Any]:
    """Lay `child` over `base`, dicts recursively; neither is changed."""
    merged = {**base}
    for key, value in child.items():
        if key != _DELETE:
            merged[key] = _lay_over(value, merged.get(key, {}), where, f"{at}{key}", list_indices, new=key not in base)
    return merged


def _lay_over(value: Any, base: Any, where: str, at: str, list_indices: bool, *, new: bool) -> Any:
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
        expected=f"a dict there already, to lay the keys {shown(list(value))} over",
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
        merged[int(key)] = _lay_over(value, base[int(key)], where, f"{at}.{key}", True, new=False)
    return merged


# --- files ------------------------------------------------------------------------------------------------------------


def _load(path: Path, chain: tuple[Path, ...], budget: Budget, variables: set[str]) -> dict[str, Any]:
    """Read one file and its bases; `chain` holds the files that asked for it, outermost first.

    The names that their expressions use are added to `variables`.
    """
    text = _fill_in(path, _read_text(path))
    chain = (*chain, path.resolve())

    def load_bases(where: str, value: Any) -> dict[str, Any]:
        return _load_bases(path, where, value, chain, budget, variables)

    def load_base(where: str, base: Path) -> dict[str, Any]:
        return _load_base(where, base, str(base), chain, budget, variables)

    try:
        budget.spend(_FILE_COST + len(text))
        if path.suffix == ".py":
            evaluator = (
                LazyEvaluator(path, text, budget, load_base)
                if is_lazy(text)
                else Evaluator(path, text, budget, load_bases)
            )
            own, base = evaluator.run()
            variables |= evaluator.names_read
        else:
            own = _read_data(path, text, budget)
            base = load_bases(str(path), own.pop(BASE, []))
            own = _resolve_references(own, base)
        budget.weigh([own, base])  # the last statement may have tied a knot into either
    except Refusal as refused:
        refused.raise_at(str(path))
    return _merge(own, base, f"{path}:")


def _load_bases(
    owner: Path, where: str, value: Any, chain: tuple[Path, ...], budget: Budget, variables: set[str]
) -> dict[str, Any]:
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
                hint="The part before `::` stands for an installed package; write the path to its config file instead.",
            )
        base = _load_base(where, owner.parent / name, name, chain, budget, variables)
        twice = sorted(str(key) for key in base.keys() & merged.keys())
        if twice:
            raise ConfigError(where, expected="bases that share no key", found=f"{', '.join(twice)} again in `{name}`")
        merged.update(base)
    return merged


def _load_base(
    where: str, path: Path, name: str, chain: tuple[Path, ...], budget: Budget, variables: set[str]
) -> dict[str, Any]:
    if _resolved(path) in chain:
        raise ConfigError(where, expected="bases that do not lead back here", found=f"a cycle through {shown(name)}")
    if not _is_file(path):
        raise ConfigError(
            where,
            expected="each base to be a config file, its path relative to this one",
            found=f"no file at {shown(str(path))}",
            hint="Copy the config together with the files it inherits from, in the same folders.",
        )
    return _load(path, chain, budget, variables)


def _read_text(path: Path) -> str:
    if path.suffix not in (".py", ".json", ".yaml", ".yml"):
        raise ConfigError(str(path), expected="a .py, .json, .yaml or .yml file", found=f"the suffix `{path.suffix}`")
    if not _is_file(path):  # also keeps a pipe or a device from being waited on
        raise ConfigError(str(path), expected="a config file", found="no regular file there")
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
    """Fill in mmcv's `{{ fileDirname }}` family, and spell `{{ _base_.a.b }}` as the file's own syntax can hold it."""
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
        if path.suffix == ".json":
            data = json.loads(text)
        else:
            import yaml

            try:
                data = yaml.safe_load(text)  # not the loader in C: deep nesting crashes it
            except yaml.YAMLError as error:
                raise ValueError(" ".join(str(error).split())) from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ConfigError(str(path), expected=f"valid {path.suffix[1:]}", found=shown_error(error)) from error
    if not isinstance(data, dict):
        raise ConfigError(str(path), expected="keys and values at the top", found=f"a {type(data).__name__}")
    budget.weigh(data)
    return data


def _resolve_references(value: Any, base: dict[str, Any]) -> Any:
    """Replace every `{{_base_.a.b}}` of a JSON or YAML file by what the bases say."""
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
