"""From a file to named tensors, without running any code that the file contains."""

from __future__ import annotations

import contextlib
import io
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfeat.checkpoint import pickles
from vidfeat.checkpoint.files import CheckpointFile
from vidfeat.checkpoint.match import first_of
from vidfeat.errors import CheckpointError, quote, shorten

if TYPE_CHECKING:
    import torch

_HEAD_BYTES = 1024
_ZIP_START = b"PK\x03\x04"
# What torch.save wrote before version 1.6: five pickles, of which the first is this number, then the raw storages.
_LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PICKLES = 5
# A safetensors header is JSON of at most this length (the format's own limit), after its length in 8 bytes.
_SAFETENSORS_HEADER_LIMIT = 100_000_000
# Tensors may share bytes. A few that are seen as many would be copied into as much memory as the config asks for.
_MOST_EXPANSION = 4
_SMALL_BYTES = 1 << 20


def load_state(file: CheckpointFile | Path) -> dict[str, torch.Tensor]:
    """Read the weights of a checkpoint: what `torch.save` wrote, in either of its formats, or safetensors.

    No code of the file runs and no module that it names is imported; see `vidfeat.checkpoint.pickles`. The content is a
    dict with the weights under `state_dict` (as mmcv and mmengine save them), `model_state` or `model`, or the weights
    themselves. The prefix `module.` of the names, which data-parallel training adds, is removed.

    Args:
        file: the file, from `find`, or a path.

    Returns:
        Weight name -> tensor on the CPU, in the file's order, shapes and dtypes as stored. Names are the file's, and
        may contain any character. The tensors may be memory-mapped: the file must not be changed while they are in
        use.

    Raises:
        CheckpointError: the file is not a checkpoint, is damaged, or names Python objects that are not on the list of
            harmless ones.
    """
    path = file.path if isinstance(file, CheckpointFile) else file
    with _errors(path):
        weights = _weights_of(_content_of(path), str(path))
        expanded, size = sum(tensor.nbytes for tensor in weights.values()), path.stat().st_size
        if expanded > _MOST_EXPANSION * size + _SMALL_BYTES:
            raise CheckpointError(
                str(path), expected="complete tensors", found=f"{expanded} bytes of {size} in the file"
            )
        return weights


def load_tensor(path: Path) -> torch.Tensor:
    """Read a file that holds one tensor, as `torch.save` writes it. Runs no code, as `load_state`.

    Returns:
        The tensor on the CPU, contiguous, in memory of its own.

    Raises:
        CheckpointError: as for `load_state`; the file holds anything else.
    """
    import torch

    with _errors(path):
        content = _content_of(path)
        if not isinstance(content, torch.Tensor) or content.layout != torch.strided:
            raise CheckpointError(str(path), expected="a tensor", found=f"a {type(content).__name__}")
        # A tensor that is expanded has more numbers than the file.
        if content.nbytes > path.stat().st_size:
            raise CheckpointError(str(path), expected="a complete tensor", found=f"{content.nbytes} bytes of it")
        return content.detach().clone(memory_format=torch.contiguous_format)


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Whatever reading a file raises as an error that names it."""
    try:
        yield
    except CheckpointError:
        raise
    except (OSError, MemoryError) as error:
        found = str(error) or "too little memory for it"
        raise CheckpointError(str(path), expected="a readable file", found=found) from error
    except Exception as error:  # damaged files cause all kinds of errors in the readers below
        reason = next(iter(str(error).splitlines()), "")[:200]
        raise CheckpointError(
            str(path),
            expected="a readable checkpoint",
            found=f"{type(error).__name__} while reading it: {reason}",
            hint="The file is probably truncated or damaged: download it again.",
        ) from error


def _content_of(path: Path) -> Any:
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if head.startswith(_ZIP_START):
        _check_archive(path)
        return _torch_load(path, mmap=True)
    if int.from_bytes(head[:8], "little") <= _SAFETENSORS_HEADER_LIMIT and head[8:9] == b"{":
        from safetensors.torch import load_file

        return load_file(path)
    _check_legacy(path, head)
    return _torch_load(path, mmap=False)


def _torch_load(path: Path, *, mmap: bool) -> Any:
    import torch

    if path.suffix == ".safetensors":  # torch.load selects the reader by it
        raise CheckpointError(
            str(path), expected="safetensors, as its suffix says", found="a PyTorch file", hint="Rename it to .pth."
        )
    try:
        with pickles.stand_ins_allowed():
            return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        # PyTorch adds the advice to load the file with code execution allowed, which must not be passed on.
        reason = re.search(r"WeightsUnpickler error:\s*(.+?)(?: Please use .*)?$", str(error), re.MULTILINE)
        found = reason.group(1)[:200] if reason else "something else"
        hint = "The file is damaged, or contains more than weights: get it from its publisher."
        raise pickles.refused(str(path), found, hint) from None


# --- the kind of file ------------------------------------------------------------------------------------------------


def _check_archive(path: Path) -> None:
    """Refuse a zip file that torch.save does not write, that is damaged, or whose pickle is not harmless."""
    where = str(path)
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise _not_a_checkpoint(
            where, "a truncated PyTorch file: the list of its parts, at its end, is missing or damaged"
        ) from error
    with archive:
        entries = archive.infolist()
        names = [entry.orig_filename for entry in entries]
        roots = [name.removesuffix("/data.pkl") for name in names if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(roots) != 1:
            raise _not_a_checkpoint(where, "a zip file without the part data.pkl that torch.save writes")
        if f"{roots[0]}/constants.pkl" in names:
            raise _not_a_checkpoint(where, "a TorchScript program, which is code with weights")
        for entry in entries:
            _check_entry(entry, roots[0], where)
        if len(set(names)) != len(names) or sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise _not_a_checkpoint(where, "a zip file with parts that lie over one another")
        damaged = archive.testzip()  # PyTorch's reader does not verify check sums
        if damaged is not None:
            found = f"a damaged PyTorch file: the check sum of its part {shorten(damaged)} is wrong"
            raise _not_a_checkpoint(where, found)
        pickles.check(io.BytesIO(archive.read(f"{roots[0]}/data.pkl")), where=where)


def _check_entry(entry: zipfile.ZipInfo, root: str, where: str) -> None:
    name = entry.orig_filename
    shown = quote(name)
    if not name.startswith(f"{root}/") or ".." in name.split("/") or "\\" in name or "\x00" in name:
        raise _not_a_checkpoint(where, f"a zip file with a part named {shown}, outside the folder that holds them")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise _not_a_checkpoint(where, f"a zip file whose part {shown} is compressed, which torch.save never does")


def _check_legacy(path: Path, head: bytes) -> None:
    where = str(path)
    legacy = head.startswith(_LEGACY_START)
    try:
        with path.open("rb") as stream:
            # A plain pickle is always refused, but the error should mention a command that it would run.
            pickles.check(stream, where=where, pickles=_LEGACY_PICKLES if legacy else 1)
    except ValueError as error:
        if legacy:
            raise _not_a_checkpoint(where, f"a truncated or damaged PyTorch file ({error})") from error
    if not legacy:
        raise _not_a_checkpoint(where, _description_of(head))


def _description_of(head: bytes) -> str:
    """A description of a file that is not a checkpoint, from its first bytes."""
    start = head.lstrip().lower()
    if not head:
        return "an empty file"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the file it points to (`git lfs pull` fetches that)"
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a web page, such as an error or log-in page that was saved in place of the download"
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"Rar!", b"7z\xbc\xaf")):
        return "a compressed archive, which has to be unpacked first"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if re.match(rb"\x80[\x00-\x05]", head):
        return "a Python pickle that torch.save did not write"
    if re.fullmatch(rb"[\t\n\r -~]+", head):
        return f"text, which begins with {head[:40].decode('ascii')!r}"
    return f"a file of another type, which begins with the bytes {head[:8].hex(' ')}"


def _not_a_checkpoint(where: str, found: str) -> CheckpointError:
    return CheckpointError(
        where,
        expected="a checkpoint, as torch.save or safetensors writes it",
        found=found,
        hint="Download the file again, or give the path of the right one.",
    )


# --- the weights in the content ---------------------------------------------------------------------------------------


def _weights_of(content: object, where: str) -> dict[str, torch.Tensor]:
    if not isinstance(content, dict):
        raise CheckpointError(where, expected="a dict of weights", found=f"a {type(content).__name__}")
    outer = _plain(content)
    weights = next((inner for key in _KEYS if (inner := _inner(outer, key)) is not None), outer)
    _check_weights(weights, where)
    renamed = {name.removeprefix("module."): tensor.detach() for name, tensor in weights.items()}
    if len(renamed) != len(weights):
        doubled = sorted(shorten(name) for name in weights if f"module.{name}" in weights)
        raise CheckpointError(
            where, expected="each weight once", found=f"weights with and without `module.`: {first_of(doubled)}"
        )
    return renamed


_KEYS = ("state_dict", "model_state", "model")


def _inner(outer: dict[Any, Any], key: str) -> dict[Any, Any] | None:
    """The dict under `key`. Keys other than `state_dict` are common words, and count only if they hold tensors."""
    value = outer.get(key)
    if not isinstance(value, dict):
        return None
    inner = _plain(value)
    return inner if key == "state_dict" or (inner and not _not_tensors(inner)) else None


def _plain(mapping: dict[Any, Any]) -> dict[Any, Any]:
    # `items` of the type: a file can give an OrderedDict attributes that hide its methods.
    return dict(type(mapping).items(mapping))


def _not_tensors(weights: dict[Any, Any]) -> list[str]:
    import torch

    return [
        str(name)[:80]
        for name, value in weights.items()
        if not (isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout == torch.strided)
    ]


def _check_weights(weights: dict[Any, Any], where: str) -> None:
    if not weights:
        raise CheckpointError(where, expected="weights", found="an empty dict")
    others = _not_tensors(weights)
    if others:
        raise CheckpointError(
            where,
            expected=f"tensors only, or a dict of them under one of {', '.join(_KEYS)}",
            found=f"{len(others)} of {len(weights)} entries that are not named tensors: {first_of(others)}",
        )
