"""The part of Python that configs use, evaluated node by node from the syntax tree; nothing is ever executed.

Configs come from the internet, so each load has a `Budget`, and every value is weighed before anything is done with it.
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
from typing import Any, NoReturn

from vidfeat.errors import ConfigError

MAX_COST = 1_000_000
"""What one load may cost, its bases included: one unit per evaluated node, per item of its value, per byte read."""
MAX_ITEMS = 100_000
"""Longest `range`, and longest result of `text * n` or `list * n`."""
MAX_DEPTH = 100
"""Deepest nesting of a value."""
MAX_INT_BITS = 64
"""Larger integers are refused: no config needs them, and arithmetic and hashing with them can take forever."""

BASE = "_base_"
"""The name that holds the paths of the bases where a file assigns it, and their merged content where it is read."""

_SUPPORTED = (
    "a config made of assignments, literals, arithmetic, comprehensions, f-strings and calls of "
    "`dict()`, `list()`, `tuple()`, `range()`, `len()` and the like"
)
_TOO_COSTLY = "Configs are read as untrusted data; write the value out, or simplify the file."


# --- what a load may cost ---------------------------------------------------------------------------------------------


class Refusal(Exception):  # noqa: N818  (never leaves this package)
    """Raised by code that does not know the place; turned into a `ConfigError` where the place is known."""

    def __init__(self, expected: str, found: str, hint: str = "") -> None:
        super().__init__(expected)
        self.expected, self.found, self.hint = expected, found, hint

    def raise_at(self, where: str) -> NoReturn:
        raise ConfigError(where, expected=self.expected, found=self.found, hint=self.hint) from None


class Budget:
    """The cost that is left to one load; every value is weighed before anything is done with it."""

    def __init__(self) -> None:
        self._left = MAX_COST

    def spend(self, cost: int) -> None:
        self._left -= cost
        if self._left < 0:
            raise Refusal("a config that is cheap to read", "one that builds too much", _TOO_COSTLY)

    def weigh(self, value: Any) -> None:
        """Pay for `value`, a shared item once per place where it appears, since that is what walking it costs."""
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


class Evaluator(ast.NodeVisitor):
    """Evaluates one Python config; `visit` of an expression returns its value.

    Args:
        path: the file, for messages.
        text: its source.
        budget: what is left to the load.
        load_bases: from the place and the value of `_base_` to the merged content of the files that it names.

    Attributes:
        names_read: the names of the file that its expressions use.
    """

    def __init__(self, path: Path, text: str, budget: Budget, load_bases: Callable[[str, Any], dict[str, Any]]) -> None:
        self._path, self._text, self._budget, self._load_bases = path, text, budget, load_bases
        self._names: ChainMap[str, Any] = ChainMap()
        self.names_read: set[str] = set()
        self._base: dict[str, Any] = {}

    def run(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Evaluate the file.

        Returns:
            The names that the file assigns, in order, without `_base_` and those that start with `__`; and what its
            bases say.

        Raises:
            ConfigError: the file is not Python, or not the part of it that is supported; a base cannot be read.
            Refusal: the budget is spent.
        """
        for statement in self._parse().body:
            self.visit(statement)
        own = {name: value for name, value in self._names.items() if not name.startswith("__") and name != BASE}
        return own, self._base

    def _parse(self) -> ast.Module:
        try:
            with warnings.catch_warnings():  # about escapes such as "\d", which public configs have
                warnings.simplefilter("ignore")
                return ast.parse(self._text)
        except SyntaxError as error:
            where = f"{self._path}:{error.lineno}" if error.lineno else str(self._path)
            raise ConfigError(where, expected="Python syntax", found=f"{error.msg}") from None
        except ValueError as error:
            raise ConfigError(str(self._path), expected="Python syntax", found=shown_error(error)) from None

    def visit(self, node: ast.AST) -> Any:
        """Evaluate `node`, pay for its value, and say where it is if anything goes wrong."""
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
        if isinstance(old, list):  # in place, as in Python: other names for the same object see the change
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
            del self._names[target.id]

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a constant is a comment in quotes; all else has no effect here
            self._refuse(node.value)

    def visit_Pass(self, node: ast.Pass) -> None:
        pass

    def _bind(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name) and target.id == BASE:
            self._base = self._names[BASE] = self._load_bases(self._where(target), value)
        elif isinstance(target, ast.Name):
            self._names[target.id] = value
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
        if node.id in self._names:
            self.names_read.add(node.id)
            return self._names[node.id]
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
        if isinstance(target, ast.Name) and target.id in _FUNCTIONS and target.id not in self._names:
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
        outer = self._names
        self._names = outer.new_child()
        try:
            return [evaluate() for _ in self._bindings(generators)]
        finally:
            self._names = outer

    def _bindings(self, generators: list[ast.comprehension]) -> Iterator[None]:
        """Run the loops of a comprehension, outermost first; at each item the loop variables are set."""
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

    # Parts of the above.

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
            elif isinstance(node, ast.GeneratorExp):  # run at once: no function here can tell the difference
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


# --- wording ----------------------------------------------------------------------------------------------------------


def shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def shown(value: Any) -> str:
    return f"`{shortened(repr(value))}`"


def shown_error(error: Exception) -> str:
    return shortened(f"{error}") or type(error).__name__
