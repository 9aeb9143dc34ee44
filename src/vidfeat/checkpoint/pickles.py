"""Which Python names a checkpoint's pickle may use, and what stands in for the foreign ones.

A pickle is a program that calls the Python objects it names, so the names decide what it can do. Two guards, each
sufficient alone:

1. `check` walks the opcodes without executing any and refuses every name that is not in the literal tables below.
2. PyTorch's weights-only unpickler, which never imports a module, builds the objects.

Checkpoints of mmcv and mmengine carry metadata beside the weights (log histories, NumPy scalars, config objects) whose
classes we neither have nor want. PyTorch is given stand-ins under their names: classes of this module that ignore
whatever they are called with and hold nothing. A stand-in runs no foreign code, and what it stood for is not needed for
features. The tables are fixed: a name in no table is refused even in metadata, since a list that a person can read is
worth more than a rule about which unknown names are probably harmless.

What this does not promise: a hostile file cannot run code, but it can still waste memory and time.
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

from vidfeat.errors import CheckpointError

ONLY_TENSORS = "only tensors and inert metadata"

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
    """Stands for a foreign class or function: any call gives an empty object, any state is dropped."""

    def __new__(cls, *_args: object, **_kwargs: object) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


class _HistoryBuffer(_Ignored):
    """Stands for mmengine's history of a logged number."""


class _IgnoredDict:
    """Stands for a foreign dict class. The unpickler sets items only in dicts, so an `OrderedDict` takes its place."""

    def __new__(cls, *_args: object, **_kwargs: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


def _ignored_attribute(owner: object, name: object) -> _Ignored:
    """Stands for `getattr`, with which a history names its own methods (`HistoryBuffer.mean`); for nothing else."""
    if owner is not _HistoryBuffer:
        raise pickle.UnpicklingError(f"a call of builtins.getattr for {str(name)[:80]!r}")
    return _Ignored()


STAND_INS: dict[str, Any] = {
    # mmengine: the message hub of the run, and configs
    "mmengine.logging.history_buffer.HistoryBuffer": _HistoryBuffer,
    "mmengine.logging.HistoryBuffer": _HistoryBuffer,
    "mmengine.logging.message_hub.MessageHub": _Ignored,
    "mmengine.logging.MessageHub": _Ignored,
    "mmengine.config.config.ConfigDict": _IgnoredDict,
    "mmengine.config.ConfigDict": _IgnoredDict,
    "mmengine.config.config.Config": _Ignored,
    "mmengine.config.Config": _Ignored,
    "builtins.getattr": _ignored_attribute,
    # mmcv
    "mmcv.utils.config.ConfigDict": _IgnoredDict,
    "mmcv.utils.config.Config": _Ignored,
    "addict.addict.Dict": _IgnoredDict,
    # NumPy numbers and arrays (the module was renamed in NumPy 2)
    "numpy.core.multiarray.scalar": _Ignored,
    "numpy._core.multiarray.scalar": _Ignored,
    "numpy.core.multiarray._reconstruct": _Ignored,
    "numpy._core.multiarray._reconstruct": _Ignored,
    "numpy.dtype": _Ignored,
    "numpy.ndarray": _Ignored,
    # the standard library's records, and the command line of a training script
    "argparse.Namespace": _Ignored,
    "collections.defaultdict": _IgnoredDict,
    "copyreg._reconstructor": _Ignored,
    "datetime.date": _Ignored,
    "datetime.datetime": _Ignored,
    "datetime.timedelta": _Ignored,
    "datetime.timezone": _Ignored,
    "pathlib.Path": _Ignored,
    "pathlib.PosixPath": _Ignored,
    "pathlib.PurePosixPath": _Ignored,
    "pathlib.PureWindowsPath": _Ignored,
    "pathlib.WindowsPath": _Ignored,
    "pathlib._local.Path": _Ignored,  # as Python 3.13 spells them
    "pathlib._local.PosixPath": _Ignored,
    "pathlib._local.PurePosixPath": _Ignored,
    "pathlib._local.PureWindowsPath": _Ignored,
    "pathlib._local.WindowsPath": _Ignored,
    "torch.torch_version.TorchVersion": _Ignored,
    "builtins.bool": _Ignored,
    "builtins.dict": _IgnoredDict,
    "builtins.float": _Ignored,
    "builtins.int": _Ignored,
    "builtins.list": _Ignored,
    "builtins.object": _Ignored,
    "builtins.slice": _Ignored,
    "builtins.str": _Ignored,
    "builtins.tuple": _Ignored,
}
"""Names of inert metadata, as Python 3 spells them, and what PyTorch is given instead."""

LONGEST_NAME_TOLD = 120
"""How much of a name from the file goes into a message."""

# Only for the wording of the error: what exploits use. Everything in no table is refused alike.
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
    """Let `torch.load(weights_only=True)` use the stand-ins. PyTorch's list is the process's: one thread at a time."""
    import torch

    with _lock, torch.serialization.safe_globals([(stand_in, name) for name, stand_in in STAND_INS.items()]):
        yield


def check(stream: BinaryIO, *, where: str, pickles: int = 1) -> None:
    """Refuse what a checkpoint's pickle has no business to contain, without executing any of it.

    Args:
        stream: positioned at the first of `pickles` pickles, one after the other.
        where: the file, for the error.
        pickles: how many there are.

    Raises:
        CheckpointError: a name in no table, a codec that multiplies data, or a protocol that PyTorch does not write.
        ValueError: this is no well-formed pickle.
    """
    names: set[str] = set()
    codecs: set[str] = set()
    protocol = 2
    for _ in range(pickles):
        last, before_last = "", ""
        for opcode, argument, _position in pickletools.genops(stream):
            if opcode.name in ("GLOBAL", "INST"):
                names.add(_check_name(str(argument), where))
            elif opcode.name == "STACK_GLOBAL":
                # Later protocols are refused below. This only words the error, from the last two strings: what such an
                # opcode names lies on the stack, and a memo can bring it there from anywhere.
                _refuse_if_it_runs_code(f"{before_last}.{last}", where)
            elif opcode.name == "PROTO" and argument != 2:
                protocol = int(argument or 0)
            elif isinstance(argument, str):
                last, before_last = argument, last
                if _is_bytes_codec(argument):
                    codecs.add(argument)
    if codecs and "_codecs.encode" in names:
        raise CheckpointError(
            where,
            expected=ONLY_TENSORS,
            found=f"_codecs.encode together with the codec {short(min(codecs))!r}, "
            "with which a small file fills the memory",
            hint="Get the checkpoint from its publisher.",
        )
    if protocol != 2:
        raise CheckpointError(
            where,
            expected="pickle protocol 2, which torch.save writes by default",
            found=f"protocol {protocol}",
            hint="Where you trust the file, load it there and save it again with torch.save.",
        )


def _check_name(argument: str, where: str) -> str:
    """The dotted Python 3 name behind the two words `module name`; an error where it is in no table."""
    module, _, name = argument.partition(" ")
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    dotted = f"{module}.{name}"
    if dotted in STAND_INS or dotted in TENSOR_NAMES:
        return dotted
    _refuse_if_it_runs_code(dotted, where)
    raise CheckpointError(
        where,
        expected=ONLY_TENSORS,
        found=f"the name {short(dotted)}, which is not known to be harmless: the file may contain code",
        hint="Where you trust the file, load it in the program that made it and save only the weights: "
        "torch.save({'state_dict': model.state_dict()}, path).",
    )


def _refuse_if_it_runs_code(dotted: str, where: str) -> None:
    if _RUNS_CODE.fullmatch(dotted):
        raise CheckpointError(
            where,
            expected=ONLY_TENSORS,
            found=f"a call of {short(dotted)}: loading the file would run commands on this machine",
            hint="Do not load it with anything. Delete it, and get the checkpoint from its publisher.",
        )


def short(name: str) -> str:
    """A name from the file, as a message can hold it."""
    return name if len(name) <= LONGEST_NAME_TOLD else f"{name[:LONGEST_NAME_TOLD]}..."


def _is_bytes_codec(text: str) -> bool:
    """Whether `text` names a codec that turns bytes into more bytes: forty times `hex` makes a terabyte of a letter.

    Python ignores case, punctuation and letters beyond ASCII in such names, and so does this.
    """
    return re.sub(r"[^a-z0-9]", "", text.lower()) in _BYTES_CODEC_NAMES
