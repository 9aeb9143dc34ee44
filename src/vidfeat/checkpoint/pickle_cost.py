"""The work that building a pickle's values takes, computed from its opcodes before anything is built.

Python hashes a tuple by hashing its items, every time. A tuple of two references to a tuple of two references, sixty
levels deep, is a file of 500 bytes and a dictionary key that takes centuries to hash, in one call that no signal can
interrupt. `PickleCost` runs the opcodes on sizes in place of values, and refuses such a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Union

from vidfeat.errors import CheckpointError

_COST_OF_ANY_FILE = 2_000_000
_COST_PER_OPCODE = 20
"""The cost limit of a file. MMAction2's released checkpoints cost 2 per opcode."""
_MAX_TUPLE_DEPTH = 500
"""Deepest nesting of tuples; hashing deeper ones overflows the C stack."""

_SCALARS = frozenset(
    """
    NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINSTRING GLOBAL
    """.split()
)
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(eq=False)
class _Container:
    """A tuple, list, dict, set or called object: the cost of its scalars, and the containers in it.

    Attributes:
        scalars: cost of the items that are not containers.
        containers: the items that are; a shared one is listed at every place.
        tuple_depth: nesting of tuples; 0 for other containers, which cannot be hashed.
    """

    scalars: int = 0
    containers: list[_Container] = field(default_factory=list)
    tuple_depth: int = 0


_Size = Union[int, _Container]


class PickleCost:
    """The pickle machine of PyTorch's weights-only unpickler, on sizes.

    A pickle that the unpickler refuses, because of an opcode or of a value of the wrong type, need not be refused here.

    Args:
        where: the file, for the error.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._left = _COST_OF_ANY_FILE
        self._unsupported = False
        self.start_pickle()

    def start_pickle(self) -> None:
        """Begin the next pickle of the file: memo and stack are empty, the cost limit is the file's."""
        self._stack: list[_Size] = []
        self._outer_stacks: list[list[_Size]] = []
        self._memo: dict[int, _Size] = {}

    def add(self, opcode: str, argument: object) -> None:
        """Account for one opcode, with the name and the argument that `pickletools` gives it.

        Raises:
            CheckpointError: the values cost more than a checkpoint's do.
            ValueError: the opcode needs values that are not on the stack.
        """
        self._left += _COST_PER_OPCODE
        if self._unsupported:
            return
        try:
            self._run(opcode, argument)
        except (IndexError, KeyError) as error:
            raise ValueError(f"the pickle opcode {opcode} has no operand") from error

    def _run(self, opcode: str, argument: object) -> None:
        stack = self._stack
        if opcode in _SCALARS:
            stack.append(1 + len(argument) // 8 if isinstance(argument, str) else 1)
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            self._memo[int(str(argument))] = stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[int(str(argument))])
        elif opcode == "MARK":
            self._outer_stacks.append(stack)
            self._stack = []
        elif opcode in _TUPLES:
            items = [stack.pop() for _ in range(_TUPLES[opcode])]
            stack.append(self._tuple(items))
        elif opcode == "TUPLE":
            items = self._pop_mark()
            self._stack.append(self._tuple(items))
        elif opcode in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"):
            stack.append(_Container())
        elif opcode == "APPEND":
            item = stack.pop()
            _put(stack[-1], item)
        elif opcode == "APPENDS":
            items = self._pop_mark()
            _put(self._stack[-1], *items)
        elif opcode == "SETITEM":
            value, key = stack.pop(), stack.pop()
            self._charge(key)
            _put(stack[-1], key, value)
        elif opcode == "SETITEMS":
            items = self._pop_mark()
            for key in items[::2]:
                self._charge(key)
            _put(self._stack[-1], *items)
        elif opcode in ("REDUCE", "NEWOBJ"):  # the function may iterate over its arguments, and hash what it finds
            arguments, _function = stack.pop(), stack.pop()
            self._charge(arguments)
            made = _Container()
            _put(made, arguments)
            stack.append(made)
        elif opcode == "BUILD":
            self._charge(stack.pop())
        elif opcode == "BINPERSID":
            self._charge(stack.pop())
            stack.append(1)
        elif opcode == "STOP":
            self._charge_keys(stack.pop())
        elif opcode != "PROTO":  # the unpickler stops here
            self._unsupported = True

    def _pop_mark(self) -> list[_Size]:
        items, self._stack = self._stack, self._outer_stacks.pop()
        return items

    def _tuple(self, items: list[_Size]) -> _Container:
        depths = (item.tuple_depth for item in items if isinstance(item, _Container))
        made = _Container(tuple_depth=1 + max(depths, default=0))
        if made.tuple_depth > _MAX_TUPLE_DEPTH:
            raise self._refusal(f"tuples nested more than {_MAX_TUPLE_DEPTH} deep")
        _put(made, *items)
        return made

    def _charge(self, value: _Size) -> None:
        """Charge for a walk over everything in `value`, a shared part once per place."""
        todo = [value]
        while todo:
            part = todo.pop()
            if isinstance(part, int):
                self._left -= part
            else:
                self._left -= 1 + part.scalars + len(part.containers)
                todo += part.containers
            if self._left < 0:
                raise self._refusal("nested values that expand to a multiple of the file's size")

    def _charge_keys(self, result: _Size) -> None:
        """Charge for the items of the result: the names of a legacy file's storages are a list, used as keys."""
        for item in result.containers if isinstance(result, _Container) else ():
            if item.tuple_depth:
                self._charge(item)

    def _refusal(self, found: str) -> CheckpointError:
        return CheckpointError(
            self._where,
            expected="values that can be read in a time proportional to the file's size",
            found=found,
            hint="Get the checkpoint from its publisher.",
        )


def _put(target: _Size, *items: _Size) -> None:
    if isinstance(target, _Container):
        target.scalars += sum(item for item in items if isinstance(item, int))
        target.containers += [item for item in items if isinstance(item, _Container)]
