# ruff: noqa: N802  (the names of `ast.NodeVisitor`'s methods)
"""The import style of 1.x configs, read as data: `with read_base():` inherits, other imports only give types names.

MMAction2's own reader resolves `type=SampleFrames` to the imported class. Nothing is imported here: a class is known
by its name, which is what classic configs write.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from vidfeat.mmaction._pyeval import Budget, Evaluator, Refusal, shown

_READ_BASE = "read_base"
_TYPE_PACKAGES = frozenset(["mmaction", "mmcv", "mmdet", "mmengine", "mmpose", "mmpretrain", "torch", "torchvision"])
"""Packages whose names public configs of the import style write for types. Any other import asks for code to run."""
_RELATIVE = "Only files beside the config can be read: write the import relative, as in `from .._base_.x import *`."


class LazyEvaluator(Evaluator):
    """Evaluates one config of the import style.

    Args:
        path, text, budget: as for `Evaluator`.
        load_base: from the place and the path of a file to its content.
    """

    def __init__(self, path: Path, text: str, budget: Budget, load_base: Callable[[str, Path], dict[str, Any]]) -> None:
        super().__init__(path, text, budget, self._no_bases)
        self._load_base = load_base

    @staticmethod
    def _no_bases(where: str, value: Any) -> dict[str, Any]:
        raise Refusal("`with read_base():` in a config with imports", f"`_base_` = {shown(value)}")

    def visit_With(self, node: ast.With) -> None:
        call = node.items[0].context_expr
        if len(node.items) != 1 or not (isinstance(call, ast.Call) and _last_name(call.func) == _READ_BASE):
            self._refuse(node)
        for statement in node.body:
            try:
                self._inherit(statement)
            except Refusal as refused:
                refused.raise_at(self._where(statement))

    def _inherit(self, node: ast.stmt) -> None:
        if not isinstance(node, ast.ImportFrom):
            self._refuse(node)
        if not node.level or not node.module:
            raise Refusal("a base beside this config", f"`{self._source(node)}`", _RELATIVE)
        folder = self._path.parent
        for _ in range(node.level - 1):
            folder = folder.parent
        inherited = self._load_base(self._where(node), folder.joinpath(*node.module.split(".")).with_suffix(".py"))
        for alias in node.names:
            if alias.name == "*":
                self._names.update({name: _Inherited.of(value) for name, value in inherited.items()})
            elif alias.name in inherited:
                self._names[alias.asname or alias.name] = _Inherited.of(inherited[alias.name])
            else:
                raise Refusal(f"a name that {node.module} defines", f"`{alias.name}`")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not _is_of_types(node.module or ""):
            self._refuse_import(node)
        for alias in node.names:
            if alias.name == "*":
                raise Refusal("imports by name", "`import *` outside of `with read_base():`", _RELATIVE)
            self._names[alias.asname or alias.name] = ImportedName(alias.name)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if not _is_of_types(alias.name):
                self._refuse_import(node)
            self._names[alias.asname or alias.name.partition(".")[0]] = ImportedName(alias.name.rpartition(".")[2])

    def _refuse_import(self, node: ast.stmt) -> NoReturn:
        raise Refusal(
            f"no import but of types, as in `from mmaction.models import ...` (of {', '.join(sorted(_TYPE_PACKAGES))})",
            f"an import: `{self._source(node)}`",
            "Configs are never executed; write the values out.",
        )

    def visit_Expr(self, node: ast.Expr) -> None:
        """`base.update(...)` changes what was inherited; it is the one call that may stand alone."""
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "update":
            read_before = set(self.names_read)
            owner = self.visit(call.func.value)
            self.names_read = read_before  # a name that is changed in place is no variable of other expressions yet
            if isinstance(owner, dict):
                keywords = [(keyword.arg, self.visit(keyword.value)) for keyword in call.keywords]
                for changes in [*self._items(call.args), dict(keywords)]:
                    owner.update(changes)
                return
        super().visit_Expr(node)

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        """`torch.optim.SGD` of an imported module is a name; `model.backbone` of an inherited dict is its item."""
        owner = self.visit(node.value)
        if isinstance(owner, ImportedName):
            return ImportedName(node.attr)
        if not isinstance(owner, _Inherited) or node.attr not in owner:
            self._refuse(node)
        return owner[node.attr]


def _is_of_types(module: str) -> bool:
    return module.partition(".")[0] in _TYPE_PACKAGES


def is_lazy(text: str) -> bool:
    """Whether a Python config is of the import style: it has an import or a `with` at its top."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return False  # the evaluator tells what is wrong
    return any(isinstance(statement, ast.Import | ast.ImportFrom | ast.With) for statement in body)


class ImportedName(str):
    """What a config knows of something that it imports: the last part of its name, as `type=` spells it."""

    __slots__ = ()


class _Inherited(dict[str, Any]):
    """A dict that comes from a base: its `update` goes into the dicts below, as that of 1.x's configs does."""

    @classmethod
    def of(cls, value: Any) -> Any:
        """A copy in which every dict is an inherited one: files that share a base do not see each other's changes."""
        if isinstance(value, dict):
            return cls({key: cls.of(item) for key, item in value.items()})
        if isinstance(value, list | tuple):
            return type(value)(cls.of(item) for item in value)
        return value

    def update(self, changes: dict[str, Any]) -> None:  # type: ignore[override]
        for key, value in changes.items():
            if isinstance(self.get(key), dict) and isinstance(value, dict):
                self[key].update(value)
            else:
                self[key] = _Inherited.of(value)

    def copy(self) -> _Inherited:
        return _Inherited(self)


def finished(config: dict[Any, Any]) -> dict[Any, Any]:
    """A whole config, bases merged, as plain data: what it only imported is left out."""
    return {key: _plain(value) for key, value in config.items() if not isinstance(value, ImportedName)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return str(value) if isinstance(value, ImportedName) else value


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
