"""The Python names that a checkpoint's pickle may use, and the stand-ins for classes that are not installed.

A pickle is a program that calls the Python objects it names, so the names determine what it can do. There are two
guards, each sufficient alone:

1. `check` walks the opcodes without executing any, refuses every name that is not in the literal tables below, and
   bounds the work of building the values (`pickle_cost`).
2. PyTorch's weights-only unpickler, which never imports a module, builds the objects.

Checkpoints of mmcv and mmengine have metadata beside the weights (log histories, NumPy scalars, config objects) whose
classes are not needed. PyTorch is given stand-ins under their names: classes of this module that ignore their arguments
and hold nothing. A stand-in runs no code of the file. The tables are fixed: a name in no table is refused even in
metadata, because a literal list can be reviewed and a rule about probably harmless names cannot.
"""

from __future__ import annotations

import contextlib
import pickle
import pickletools
import re
import threading
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Iterator
from encodings.aliases import aliases
from typing import Any, BinaryIO

from vidfeat.checkpoint.pickle_cost import PickleCost
from vidfeat.errors import CheckpointError, quote, shorten

_DTYPES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")

TENSOR_NAMES = frozenset(
    {
        "collections.OrderedDict",
        "collections.Counter",  # milestones of a learning rate schedule
        "builtins.set",
        "_codecs.encode",  # how protocol 2 spells bytes
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.nn.parameter.Parameter",
        "torch.Size",
        "torch.device",
        *(f"torch.{name}Storage" for name in _DTYPES),
        *(f"torch.cuda.{name}Storage" for name in _DTYPES),
        *(f"torch.{name}" for name in ("float16", "bfloat16", "float32", "float64", "bool", "uint8")),
        *(f"torch.int{bits}" for bits in (8, 16, 32, 64)),
    }
)
"""Names that PyTorch's weights-only unpickler resolves itself: plain tensors and the containers around them."""


class _Ignored:
    """Stand-in for a class or function: any call returns an empty object, any state is dropped."""

    def __new__(cls, *_args: object, **_kwargs: object) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


class _HistoryBuffer(_Ignored):
    """Stand-in for mmengine's history of a logged number."""


class _IgnoredDict:
    """Stand-in for a dict class. The unpickler sets items only in dicts, so an `OrderedDict` replaces it."""

    def __new__(cls, *_args: object, **_kwargs: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


def _ignored_attribute(owner: object, name: object) -> _Ignored:
    """Stand-in for `getattr`, which a history uses for its own methods (`HistoryBuffer.mean`); no other use passes."""
    if owner is not _HistoryBuffer:
        raise pickle.UnpicklingError(f"a call of builtins.getattr for {str(name)[:80]!r}")
    return _Ignored()


_IGNORED_NAMES = """
    mmengine.logging.message_hub.MessageHub mmengine.logging.MessageHub mmengine.config.config.Config
    mmengine.config.Config mmcv.utils.config.Config

    numpy.core.multiarray.scalar numpy._core.multiarray.scalar numpy.core.multiarray._reconstruct
    numpy._core.multiarray._reconstruct numpy.dtype numpy.ndarray

    argparse.Namespace copyreg._reconstructor datetime.date datetime.datetime datetime.timedelta datetime.timezone
    pathlib.Path pathlib.PosixPath pathlib.PurePosixPath pathlib.PureWindowsPath pathlib.WindowsPath
    pathlib._local.Path pathlib._local.PosixPath pathlib._local.PurePosixPath pathlib._local.PureWindowsPath
    pathlib._local.WindowsPath torch.torch_version.TorchVersion

    builtins.bool builtins.float builtins.int builtins.list builtins.object builtins.slice builtins.str builtins.tuple
"""
_IGNORED_DICT_NAMES = """
    mmengine.config.config.ConfigDict mmengine.config.ConfigDict mmcv.utils.config.ConfigDict addict.addict.Dict
    collections.defaultdict builtins.dict
"""
_HISTORY_NAMES = "mmengine.logging.history_buffer.HistoryBuffer mmengine.logging.HistoryBuffer"

STAND_INS: dict[str, Any] = {
    **dict.fromkeys(_IGNORED_NAMES.split(), _Ignored),
    **dict.fromkeys(_IGNORED_DICT_NAMES.split(), _IgnoredDict),
    **dict.fromkeys(_HISTORY_NAMES.split(), _HistoryBuffer),
    "builtins.getattr": _ignored_attribute,
}
"""Names of inert metadata, as Python 3 writes them, and their stand-ins."""

# Only for the wording of the error: names that exploits use. Every name in no table is refused.
_RUNS_CODE = re.compile(
    r"(os|posix|nt|subprocess|sys|shutil|socket|pty|commands|runpy|importlib|ctypes|webbrowser|asyncio|timeit)\..*"
    r"|builtins\.(eval|exec|compile|open|__import__|setattr|apply|execfile|breakpoint|input)"
)

_BYTES_CODECS = {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"}
_BYTES_CODEC_NAMES = {
    name.replace("_", "") for alias, codec in aliases.items() if codec in _BYTES_CODECS for name in (alias, codec)
}

_lock = threading.Lock()


@contextlib.contextmanager
def stand_ins_allowed() -> Iterator[None]:
    """Let `torch.load(weights_only=True)` use the stand-ins. PyTorch's list is global: one thread at a time."""
    import torch

    with _lock, torch.serialization.safe_globals([(stand_in, name) for name, stand_in in STAND_INS.items()]):
        yield


def check(stream: BinaryIO, *, where: str, pickles: int = 1) -> None:
    """Refuse what does not belong into a checkpoint's pickle, without executing any of it.

    Args:
        stream: positioned at the first of `pickles` pickles, one after the other.
        where: the file, for the error.
        pickles: how many there are.

    Raises:
        CheckpointError: a name in no table, a codec that multiplies data, values that take longer to build than the
            file's size explains, or a protocol that PyTorch does not write.
        ValueError: the pickle is not well-formed.
    """
    names: set[str] = set()
    codecs: set[str] = set()
    protocol = 2
    cost = PickleCost(where)
    for _ in range(pickles):
        cost.start_pickle()
        last, before_last = "", ""
        for opcode, argument, _position in pickletools.genops(stream):
            if opcode.name in ("GLOBAL", "INST"):
                names.add(_check_name(str(argument), where))
            elif opcode.name == "STACK_GLOBAL":
                # Later protocols are refused below. This only improves the error, from the last two strings: the
                # opcode's operands are on the stack, and the memo can put any string there.
                _refuse_if_it_runs_code(f"{before_last}.{last}", where)
            elif opcode.name == "PROTO" and argument != 2:
                protocol = int(argument or 0)
            elif isinstance(argument, str):
                last, before_last = argument, last
                if _is_bytes_codec(argument):
                    codecs.add(argument)
            cost.add(opcode.name, argument)
    if codecs and "_codecs.encode" in names:
        codec = quote(min(codecs))
        raise refused(where, f"_codecs.encode together with the codec {codec}, which let a small file fill the memory")
    if protocol != 2:
        raise CheckpointError(
            where,
            expected="pickle protocol 2, which torch.save writes by default",
            found=f"protocol {protocol}",
            hint="If you trust the file, load it with PyTorch and save it again with torch.save.",
        )


def _check_name(argument: str, where: str) -> str:
    """The dotted Python 3 name of the two words `module name`; an error if it is in no table."""
    module, _, name = argument.partition(" ")
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    dotted = f"{module}.{name}"
    if dotted in STAND_INS or dotted in TENSOR_NAMES:
        return dotted
    _refuse_if_it_runs_code(dotted, where)
    raise refused(
        where,
        f"the name {shorten(dotted)}, which is not on the list of harmless names: the file may contain code",
        "If you trust the file, load it in the program that wrote it and save only the weights: "
        "torch.save({'state_dict': model.state_dict()}, path).",
    )


def _refuse_if_it_runs_code(dotted: str, where: str) -> None:
    if _RUNS_CODE.fullmatch(dotted):
        raise refused(
            where,
            f"a call of {shorten(dotted)}: loading the file would run commands on this machine",
            "Do not load it with any program. Delete it, and get the checkpoint from its publisher.",
        )


def refused(where: str, found: str, hint: str = "Get the checkpoint from its publisher.") -> CheckpointError:
    """The error of a file whose pickle is more than weights."""
    return CheckpointError(where, expected="only tensors and inert metadata", found=found, hint=hint)


def _is_bytes_codec(text: str) -> bool:
    """Whether `text` names a codec from bytes to bytes: `hex`, applied forty times, makes a terabyte of one letter.

    Python ignores case, punctuation and letters beyond ASCII in such names, and so does this.
    """
    return re.sub(r"[^a-z0-9]", "", text.lower()) in _BYTES_CODEC_NAMES
