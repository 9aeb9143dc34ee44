"""The part of Python that configs use, evaluated node by node from the syntax tree. Nothing is ever executed.

Two styles are read. Classic configs assign values and inherit through `_base_`. Import-style configs, which 1.x also
has, inherit through `with read_base():`; their other imports only name types. MMAction2's own reader resolves
`type=SampleFrames` to the imported class. Nothing is imported here: a class is known by its name, which is what classic
configs write.

Configs are untrusted, so each load has a `Budget`, and every value is charged to it before it is used.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections import ChainMap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from vidfeat.errors import ConfigError

MAX_COST = 1_000_000
"""Cost limit of one load, bases included: one unit per evaluated node, per item of its value, per byte read."""
MAX_ITEMS = 100_000
"""Longest `range`, and longest result of `text * n` or `list * n`."""
MAX_DEPTH = 100
"""Deepest nesting of a value."""
MAX_INT_BITS = 64
"""Larger integers are refused: no config needs them, and arithmetic and hashing with them can take forever."""

BASE = "_base_"
"""Where a file assigns this name, it holds the paths of the bases; where a file reads it, their merged content."""

_SUPPORTED = (
    "a config made of assignments, literals, arithmetic, comprehensions, f-strings and calls of "
    "`dict()`, `list()`, `tuple()`, `range()`, `len()` and the like"
)
_TOO_COSTLY = "Configs are read as untrusted data; write the value out, or simplify the file."


# --- the cost of a load -----------------------------------------------------------------------------------------------


class Refusal(Exception):  # noqa: N818  (never leaves this package)
    """Raised by code that does not know its location in the file; converted into a `ConfigError` where it is known."""

    def __init__(self, expected: str, found: str, hint: str = "") -> None:
        super().__init__(expected)
        self.expected, self.found, self.hint = expected, found, hint

    def raise_at(self, where: str) -> NoReturn:
        raise ConfigError(where, expected=self.expected, found=self.found, hint=self.hint) from None


class Budget:
    """The remaining cost of one load; every value is charged before it is used."""

    def __init__(self) -> None:
        self._left = MAX_COST

    def spend(self, cost: int) -> None:
        self._left -= cost
        if self._left < 0:
            raise Refusal("a config that is cheap to read", "one that builds too many values", _TOO_COSTLY)

    def weigh(self, value: Any) -> None:
        """Charge for `value`; a shared item counts once per place where it appears, as it does when it is walked."""
        layers = [iter((value,))]
        while layers:
            for item in layers[-1]:
                self.spend(1)
                if isinstance(item, dict):
                    layers.append(iter([part for pair in item.items() for part in pair]))
                    break
                if isinstance(item, (list, tuple, set)):
                    layers.append(iter(item))
                    break
                self._weigh_scalar(item)
            else:
                layers.pop()
            if len(layers) > MAX_DEPTH:
                raise Refusal(f"values nested at most {MAX_DEPTH} deep", "a deeper one", _TOO_COSTLY)

    def _weigh_scalar(self, item: Any) -> None:
        if isinstance(item, str):
            self.spend(len(item) // 8)
        elif isinstance(item, range):
            self.spend(len(item))
        elif isinstance(item, int):
            if item.bit_length() > MAX_INT_BITS:
                raise Refusal(f"integers of at most {MAX_INT_BITS} bits", "a larger one", _TOO_COSTLY)
        elif item is not None and not isinstance(item, float):
            raise Refusal("text, numbers, booleans, None and containers of them", f"a {type(item).__name__}")


# --- operators and functions that a config may use --------------------------------------------------------------------


def _multiply(left: Any, right: Any) -> Any:
    for sequence, times in ((left, right), (right, left)):
        if isinstance(sequence, (str, list, tuple)) and isinstance(times, int) and len(sequence) * times > MAX_ITEMS:
            raise Refusal(f"at most {MAX_ITEMS} items", f"{len(sequence)} items times {times}", _TOO_COSTLY)
    return left * right


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > 2 * MAX_INT_BITS:
        raise Refusal(f"integers of at most {MAX_INT_BITS} bits", f"{base} ** {exponent}", _TOO_COSTLY)
    return base**exponent


# A width of four digits, a width taken from the arguments, or a key that hides one behind nested parentheses.
_WIDE_PERCENT = re.compile(r"%(\([^()]*\))?[^%a-zA-Z(]*(\d{4}|\*)|%\([^()]*\(")


def _modulo(left: Any, right: Any) -> Any:
    if isinstance(left, str) and _WIDE_PERCENT.search(left):
        raise Refusal("a `%` format with a plain width below 1000", shown(left), _TOO_COSTLY)
    return left % right


def _short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_ITEMS:
        raise Refusal(f"a range of at most {MAX_ITEMS} items", f"{numbers}", _TOO_COSTLY)
    return numbers


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: _multiply,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: _modulo,
    ast.Pow: _power,
    ast.BitOr: operator.or_,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
}
_CONVERSIONS: dict[int, Callable[[Any], Any]] = {ord("s"): str, ord("r"): repr, ord("a"): ascii}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "bool": bool,
    "dict": dict,
    "float": float,
    "int": int,
    "len": len,
    "list": list,
    "max": max,
    "min": min,
    "range": _short_range,
    "set": set,
    "str": str,
    "tuple": tuple,
}
_WORDS: dict[type[ast.AST], str] = {
    ast.Import: "an import",
    ast.ImportFrom: "an import",
    ast.With: "`with` (only `with read_base():` is read)",
    ast.FunctionDef: "a function",
    ast.ClassDef: "a class",
    ast.Lambda: "a lambda",
    ast.For: "a `for` loop",
    ast.While: "a `while` loop",
    ast.If: "an `if` statement",
    ast.Try: "`try`",
    ast.NamedExpr: "`:=`",
    ast.GeneratorExp: "a generator outside a call",
    ast.Attribute: "an attribute",
    ast.Call: "a call",
}


# --- the evaluator ----------------------------------------------------------------------------------------------------


class Evaluated(NamedTuple):
    """A config file, evaluated.

    Attributes:
        own: the names that the file assigns, in order, without `_base_` and those that start with `__`.
        base: the merged content of its bases.
        names_read: the names of the file that its expressions use.
    """

    own: dict[str, Any]
    base: dict[str, Any]
    names_read: set[str]


def evaluate(
    path: Path,
    text: str,
    budget: Budget,
    load_bases: Callable[[str, Any], dict[str, Any]],
    load_base: Callable[[str, Path], dict[str, Any]],
) -> Evaluated:
    """Evaluate one Python config.

    Args:
        path: the file, for messages.
        text: its source.
        budget: what remains of the load's cost limit.
        load_bases: from the location and the value of `_base_` to the merged content of the files that it names.
        load_base: from the location of an import in `with read_base():` and the path that it means to the content of
            that file.

    Raises:
        ConfigError: the file is not Python, or not the part of it that is supported; a base cannot be read.
        Refusal: the budget is spent.
    """
    body = _parse(path, text).body
    import_style = any(isinstance(statement, ast.Import | ast.ImportFrom | ast.With) for statement in body)
    evaluator = (
        _ImportStyleEvaluator(path, text, budget, load_base)
        if import_style
        else _Evaluator(path, text, budget, load_bases)
    )
    for statement in body:
        evaluator.visit(statement)
    names = evaluator.names.items()
    own = {name: value for name, value in names if not name.startswith("__") and name != BASE}
    return Evaluated(own, evaluator.base, evaluator.names_read)


def _parse(path: Path, text: str) -> ast.Module:
    try:
        with warnings.catch_warnings():  # about escapes such as "\d", which public configs have
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        where = f"{path}:{error.lineno}" if error.lineno else str(path)
        raise ConfigError(where, expected="Python syntax", found=f"{error.msg}") from None
    except ValueError as error:
        raise ConfigError(str(path), expected="Python syntax", found=shown_error(error)) from None


class _Evaluator(ast.NodeVisitor):
    """Evaluates one classic config; `visit` of an expression returns its value. Arguments as for `evaluate`."""

    def __init__(self, path: Path, text: str, budget: Budget, load_bases: Callable[[str, Any], dict[str, Any]]) -> None:
        self._path, self._text, self._budget, self._load_bases = path, text, budget, load_bases
        self.names: ChainMap[str, Any] = ChainMap()
        self.names_read: set[str] = set()
        self.base: dict[str, Any] = {}

    def visit(self, node: ast.AST) -> Any:
        """Evaluate `node`, charge for its value, and add its location to any error."""
        try:
            value = super().visit(node)
            self._budget.weigh(value)
        except Refusal as refused:
            refused.raise_at(self._where(node))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            found = f"`{self._source(node)}`, which fails: {shown_error(error)}"
            raise ConfigError(self._where(node), expected="a value", found=found) from error
        return value

    def generic_visit(self, node: ast.AST) -> NoReturn:
        self._refuse(node)

    def _refuse(self, node: ast.AST) -> NoReturn:
        what = _WORDS.get(type(node), f"the construct {type(node).__name__}")
        raise Refusal(
            _SUPPORTED, f"{what}: `{self._source(node)}`", "Configs are never executed; write the values out."
        )

    def _where(self, node: ast.AST) -> str:
        return f"{self._path}:{getattr(node, 'lineno', 1)}"

    def _source(self, node: ast.AST) -> str:
        return shortened(" ".join((ast.get_source_segment(self._text, node) or "").split()))

    # Statements.

    def visit_Assign(self, node: ast.Assign) -> None:
        value = self.visit(node.value)
        for target in node.targets:
            self._bind(target, value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._bind(node.target, self.visit(node.value))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        old = self.visit(node.target)
        new = self._binary(node, node.op, old, self.visit(node.value))
        if isinstance(old, list):  # in place, as in Python: other names of the same object see the change
            old[:], new = new, old
        elif isinstance(old, (dict, set)):
            old.clear()
            old.update(new)
            new = old
        self._bind(node.target, new)

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if not isinstance(target, ast.Name):
                self._refuse(target)
            del self.names[target.id]

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a constant is a comment in quotes; nothing else has an effect
            self._refuse(node.value)

    def visit_Pass(self, node: ast.Pass) -> None:
        pass

    def _bind(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name) and target.id == BASE:
            self.base = self.names[BASE] = self._load_bases(self._where(target), value)
        elif isinstance(target, ast.Name):
            self.names[target.id] = value
        elif isinstance(target, ast.Subscript):
            self.visit(target.value)[self.visit(target.slice)] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            for part, item in zip(target.elts, value, strict=True):
                self._bind(part, item)
        else:
            self._refuse(target)

    # Literals and names.

    def visit_Constant(self, node: ast.Constant) -> Any:
        return node.value

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id in self.names:
            self.names_read.add(node.id)
            return self.names[node.id]
        if node.id in _FUNCTIONS:
            raise Refusal("a value", f"the function `{node.id}`", f"Call it: `{node.id}(...)`.")
        raise Refusal("a name assigned above", f"`{node.id}`", "Names of a base are written `_base_.name`.")

    def visit_List(self, node: ast.List) -> list[Any]:
        return self._items(node.elts)

    def visit_Tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self._items(node.elts))

    def visit_Set(self, node: ast.Set) -> set[Any]:
        return set(self._items(node.elts))

    def visit_Dict(self, node: ast.Dict) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:  # `**value`
                result.update(self._mapping(value))
            else:
                result[self.visit(key)] = self.visit(value)
        return result

    def visit_JoinedStr(self, node: ast.JoinedStr) -> str:
        return "".join(self.visit(part) for part in node.values)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> str:
        spec = self.visit(node.format_spec) if node.format_spec else ""
        if re.search(r"\d{4}", spec):
            raise Refusal("a format width below 1000", f"`{shortened(spec)}`", _TOO_COSTLY)
        value = self.visit(node.value)
        if node.conversion in _CONVERSIONS:
            value = _CONVERSIONS[node.conversion](value)
        return format(value, spec)

    # Expressions.

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        return self._binary(node, node.op, self.visit(node.left), self.visit(node.right))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        return _UNARY[type(node.op)](self.visit(node.operand))

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        decided = isinstance(node.op, ast.Or)
        value = None
        for part in node.values:
            value = self.visit(part)
            if bool(value) == decided:
                break
        return value

    def visit_Compare(self, node: ast.Compare) -> bool:
        left = self.visit(node.left)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.visit(comparator)
            if not _COMPARE[type(op)](left, right):
                return False
            left = right
        return True

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        return self.visit(node.body if self.visit(node.test) else node.orelse)

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        return self.visit(node.value)[self._subscript(node.slice)]

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name) or root.id != BASE:
            self._refuse(node)
        owner = self.visit(node.value)
        if not isinstance(owner, dict) or node.attr not in owner:
            raise Refusal("a key that the bases define", f"`{self._source(node)}`")
        return owner[node.attr]

    def visit_Call(self, node: ast.Call) -> Any:
        function = self._function(node)
        arguments = self._items(node.args)
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            added = self._mapping(keyword.value) if keyword.arg is None else {keyword.arg: self.visit(keyword.value)}
            if keywords.keys() & added.keys():
                raise Refusal("each keyword once", f"{shown(sorted(keywords.keys() & added.keys()))} again")
            keywords.update(added)
        return function(*arguments, **keywords)

    def _function(self, node: ast.Call) -> Callable[..., Any]:
        target = node.func
        if isinstance(target, ast.Name) and target.id in _FUNCTIONS and target.id not in self.names:
            return _FUNCTIONS[target.id]
        owner = self.visit(target.value) if isinstance(target, ast.Attribute) and target.attr == "copy" else None
        if not isinstance(owner, (dict, list)):
            self._refuse(node)
        return owner.copy

    def visit_ListComp(self, node: ast.ListComp) -> list[Any]:
        return self._comprehend(node.generators, partial(self.visit, node.elt))

    def visit_SetComp(self, node: ast.SetComp) -> set[Any]:
        return set(self._comprehend(node.generators, partial(self.visit, node.elt)))

    def visit_DictComp(self, node: ast.DictComp) -> dict[Any, Any]:
        return dict(self._comprehend(node.generators, lambda: (self.visit(node.key), self.visit(node.value))))

    def _comprehend(self, generators: list[ast.comprehension], evaluate: Callable[[], Any]) -> list[Any]:
        outer = self.names
        self.names = outer.new_child()
        try:
            return [evaluate() for _ in self._bindings(generators)]
        finally:
            self.names = outer

    def _bindings(self, generators: list[ast.comprehension]) -> Iterator[None]:
        """Run the loops of a comprehension, outermost first; the loop variables are set before each yield."""
        loop, *inner = generators
        if loop.is_async:
            raise Refusal(_SUPPORTED, "`async`")
        for item in self.visit(loop.iter):
            self._bind(loop.target, item)
            if all(self.visit(condition) for condition in loop.ifs):
                if inner:
                    yield from self._bindings(inner)
                else:
                    yield

    # Shared parts.

    def _binary(self, node: ast.AST, op: ast.operator, left: Any, right: Any) -> Any:
        if type(op) not in _BINARY:
            self._refuse(node)
        return _BINARY[type(op)](left, right)

    def _items(self, nodes: list[ast.expr]) -> list[Any]:
        """The values of list items or arguments, `*values` expanded."""
        items: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                items.extend(self.visit(node.value))
            elif isinstance(node, ast.GeneratorExp):  # evaluated at once: no function here depends on laziness
                items.append(self._comprehend(node.generators, partial(self.visit, node.elt)))
            else:
                items.append(self.visit(node))
        return items

    def _mapping(self, node: ast.expr) -> dict[Any, Any]:
        value = self.visit(node)
        if not isinstance(value, dict):
            raise Refusal("a dict after `**`", shown(value))
        return value

    def _subscript(self, node: ast.expr) -> Any:
        if not isinstance(node, ast.Slice):
            return self.visit(node)
        return slice(*(part and self.visit(part) for part in (node.lower, node.upper, node.step)))


# --- the import style -------------------------------------------------------------------------------------------------

_READ_BASE = "read_base"
_TYPE_PACKAGES = frozenset(["mmaction", "mmcv", "mmdet", "mmengine", "mmpose", "mmpretrain", "torch", "torchvision"])
"""Packages from which public import-style configs import types. Any other import would require running code."""
_RELATIVE = "Only files beside the config can be read: write the import relative, as in `from .._base_.x import *`."


class _ImportStyleEvaluator(_Evaluator):
    """Evaluates one import-style config. Arguments as for `evaluate`."""

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
                self.names.update({name: _Inherited.of(value) for name, value in inherited.items()})
            elif alias.name in inherited:
                self.names[alias.asname or alias.name] = _Inherited.of(inherited[alias.name])
            else:
                raise Refusal(f"a name that {node.module} defines", f"`{alias.name}`")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not _is_of_types(node.module or ""):
            self._refuse_import(node)
        for alias in node.names:
            if alias.name == "*":
                raise Refusal("imports by name", "`import *` outside of `with read_base():`", _RELATIVE)
            self.names[alias.asname or alias.name] = ImportedName(alias.name)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if not _is_of_types(alias.name):
                self._refuse_import(node)
            self.names[alias.asname or alias.name.partition(".")[0]] = ImportedName(alias.name.rpartition(".")[2])

    def _refuse_import(self, node: ast.stmt) -> NoReturn:
        raise Refusal(
            f"imports of types only, as in `from mmaction.models import ...` (of {', '.join(sorted(_TYPE_PACKAGES))})",
            f"an import: `{self._source(node)}`",
            "Configs are never executed; write the values out.",
        )

    def visit_Expr(self, node: ast.Expr) -> None:
        """`base.update(...)` changes an inherited dict; no other call may be a statement."""
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "update":
            read_before = set(self.names_read)
            owner = self.visit(call.func.value)
            self.names_read = read_before  # a name that is only changed in place is not a variable of other values
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


class ImportedName(str):
    """The value of an imported name: its last part, as `type=` writes it."""

    __slots__ = ()


class _Inherited(dict[str, Any]):
    """A dict that comes from a base: its `update` is recursive, as in 1.x's import-style configs."""

    @classmethod
    def of(cls, value: Any) -> Any:
        """A copy in which every dict is inherited: files that share a base do not see each other's changes."""
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


def plain_data(config: dict[Any, Any]) -> dict[Any, Any]:
    """A whole config, bases merged, as plain data, without the names that it only imports."""
    return {key: _plain(value) for key, value in config.items() if not isinstance(value, ImportedName)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return str(value) if isinstance(value, ImportedName) else value


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


# --- wording ----------------------------------------------------------------------------------------------------------


def shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def shown(value: Any) -> str:
    return f"`{shortened(repr(value))}`"


def shown_error(error: Exception) -> str:
    return shortened(f"{error}") or type(error).__name__
