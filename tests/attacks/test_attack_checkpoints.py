"""Checkpoints made to run code, to fill the memory, or simply broken: an error every time, and no code runs.

Each exploit is first shown to work on the unprotected reader, so that the tests cannot pass for want of an attack.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import time
import timeit
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidfeat.checkpoint import CheckpointFile, find, load_into, load_state
from vidfeat.errors import CheckpointError

WEIGHTS = {"backbone.w": torch.arange(6.0).reshape(2, 3), "backbone.n": torch.tensor(3), "cls_head.b": torch.ones(2)}
FORMATS = ["zip", "legacy"]


class Call:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class Poisoned:
    """A class of the attacker's whose `__setstate__`, or whose construction, does the work."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["marker"]).touch()


def save(path: Path, content: Any, form: str) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    return path


def exploits(marker: Path) -> dict[str, tuple[Any, str]]:
    """Name -> an object that creates `marker` when it is unpickled, and what the error has to name."""
    python = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    return {
        "system": (Call(os.system, f"touch '{marker}'"), "posix.system"),
        "eval": (Call(eval, python), "builtins.eval"),
        "exec": (Call(exec, python), "builtins.exec"),
        "open": (Call(open, str(marker), "w"), f"{open.__module__}.open"),
        "touch": (Call(Path.touch, marker), "builtins.getattr"),
        "mkfile": (Call(os.open, str(marker), os.O_CREAT), "posix.open"),
        "setstate": (Poisoned(str(marker)), f"{Poisoned.__module__}.Poisoned"),
        "timeit": (Call(timeit.timeit, python, "pass", time.perf_counter, 1), "timeit.timeit"),
    }


PLACES: dict[str, Callable[[Any], Any]] = {
    "top": lambda evil: evil,
    "entry": lambda evil: {**WEIGHTS, "backbone.evil": evil},
    "state_dict": lambda evil: {"state_dict": {**WEIGHTS, "backbone.evil": evil}},
    "meta": lambda evil: {"meta": {"config": "", "hooks": [({"a": evil},)]}, "state_dict": WEIGHTS},
    "key": lambda evil: {"state_dict": WEIGHTS, "optimizer": OrderedDict([(("a", evil), 1)])},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", exploits(Path("x")))
def test_exploits_do_not_run(tmp_path: Path, name: str, place: str, form: str) -> None:
    marker = tmp_path / "marker"
    evil, named = exploits(marker)[name]
    path = save(tmp_path / "x.pth", PLACES[place](evil), form)

    with pytest.raises(CheckpointError) as caught:
        load_state(path)
    assert not marker.exists()
    assert caught.value.where == str(path)
    assert named in caught.value.found

    if name != "touch":  # a method of a class is spelt through getattr; the call itself is the same as the others'
        unprotected(path)
        assert marker.exists()


def unprotected(path: Path) -> None:
    loaded = None
    try:
        loaded = torch.load(path, weights_only=False)
    except TypeError:
        pass  # `timeit` and `open` in a dict key: the call is made before the key turns out not to fit
    finally:
        close(loaded)


def close(value: Any) -> None:
    if isinstance(value, io.IOBase):
        value.close()
    elif isinstance(value, dict):
        for item in [*value.keys(), *value.values()]:
            close(item)
    elif isinstance(value, list | tuple):
        for item in value:
            close(item)


# --- pickles written by hand ------------------------------------------------------------------------------------------


def archive(path: Path, data: bytes, **others: bytes) -> Path:
    """A zip file as torch.save writes it, around the pickle `data`."""
    with zipfile.ZipFile(path, "w") as out:
        for name, part in {"x/data.pkl": data, "x/version": b"3\n", **others}.items():
            out.writestr(name, part)
    return path


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def a_call(module: str, name: str, *arguments: str) -> bytes:
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(map(text, arguments)) + b"tR"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (a_call("os", "system", "touch M"), "os.system"),
        (a_call("posix", "system", "touch M"), "posix.system"),
        (a_call("nt", "system", "echo > M"), "nt.system"),
        (a_call("subprocess", "Popen", "touch M"), "subprocess.Popen"),
        (a_call("commands", "getoutput", "touch M"), "subprocess.getoutput"),
        (a_call("__builtin__", "eval", "open('M', 'w')"), "builtins.eval"),
        (a_call("__builtin__", "execfile", "M"), "builtins.execfile"),
        (a_call("__builtin__", "__import__", "antigravity"), "builtins.__import__"),
        (a_call("torch.hub", "load", "evil/repository", "M"), "torch.hub.load"),
        (a_call("torch", "load", "M"), "torch.load"),
        (a_call("torch.storage", "_load_from_bytes", "M"), "torch.storage._load_from_bytes"),
        (a_call("numpy", "load", "M"), "numpy.load"),
        (a_call("numpy.f2py", "compile", "M"), "numpy.f2py.compile"),
        (a_call("operator", "attrgetter", "M"), "operator.attrgetter"),
        (a_call("functools", "partial", "M"), "functools.partial"),
        (a_call("vidfeat.cli", "main", "M"), "vidfeat.cli.main"),
        (a_call("mmengine.config", "Config.fromfile", "M"), "mmengine.config.Config.fromfile"),
        (a_call("collections OrderedDict", "x", "M"), "collections.OrderedDict x"),
        (b"(" + text("touch M") + b"ios\nsystem\n", "os.system"),
        (text("os") + text("system") + b"\x93(" + text("touch M") + b"tR", "os.system"),
        # mmengine's own way with getattr, turned on something else
        (b"c__builtin__\ngetattr\n(ccollections\nOrderedDict\n" + text("__init__") + b"tR", "builtins.getattr"),
        # NumPy's _reconstruct of another class
        (b"cnumpy.core.multiarray\n_reconstruct\n(cos\n_wrap_close\n" + text("b") + b"tR", "os._wrap_close"),
    ],
)
@pytest.mark.parametrize("form", ["archive", "plain"])
def test_names_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, named: str, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    modules = set(sys.modules)
    data = b"\x80\x02}" + text("meta") + body + b"s."
    path = tmp_path / "x.pth"
    if form == "archive":
        archive(path, data)
    else:
        path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        load_state(path)
    if form == "archive" or named != "builtins.getattr":
        assert named in caught.value.found
    assert [child.name for child in tmp_path.iterdir()] == ["x.pth"]
    assert not {"antigravity", "numpy.f2py", "mmengine"} & (set(sys.modules) - modules)


def test_stand_ins_cannot_be_put_to_work(tmp_path: Path) -> None:
    """What a stand-in returns is no function, and its attributes cannot be set."""
    ignored = b"cmmengine.logging.history_buffer\nHistoryBuffer\n"
    method = b"c__builtin__\ngetattr\n(" + ignored + text("mean") + b"tR"
    for body in (
        method + b"(" + text("touch M") + b"tR",  # call what getattr gave
        ignored + b"}" + text("__call__") + text("x") + b"sb",  # BUILD on the class itself
        b"c__builtin__\ngetattr\n}" + text("__defaults__") + text("x") + b"sb",  # BUILD on the function
        b"ccollections\nOrderedDict\n}" + text("items") + text("x") + b"sb",
    ):
        with pytest.raises(CheckpointError, match="only tensors and inert metadata; found"):
            load_state(archive(tmp_path / "x.pth", b"\x80\x02" + body + b"."))


def test_methods_of_a_dict_cannot_be_hidden(tmp_path: Path) -> None:

    class Hidden:
        def __reduce__(self) -> Any:
            hiding = dict.fromkeys(("items", "keys", "values", "get", "__iter__"), "x")
            return OrderedDict, (), hiding, None, iter(WEIGHTS.items())

    state = load_state(save(tmp_path / "x.pth", {"state_dict": Hidden()}, "zip"))
    assert {name: tensor.tolist() for name, tensor in state.items()} == {
        name: tensor.tolist() for name, tensor in WEIGHTS.items()
    }


# --- archives ---------------------------------------------------------------------------------------------------------

GOOD = pickle.dumps({"a": 1}, protocol=2)


@pytest.mark.parametrize("name", ["/etc/marker", "../marker", "x/../../marker", "y/data/0", "x\\..\\marker", "C:\\m"])
def test_parts_outside_the_archive(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "x.pth", GOOD, **{name: b"0"})
    with pytest.raises(CheckpointError, match="outside the folder"):
        load_state(path)
    assert [child.name for child in tmp_path.iterdir()] == ["x.pth"]


def test_compressed_parts(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("x/data.pkl", GOOD)
        out.writestr("x/data/0", bytes(50_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match=r"'x/data\.pkl' is compressed"):
        load_state(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_parts_of_one_name(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.pth", GOOD)
    with zipfile.ZipFile(path, "a") as out:
        out.writestr("x/version", b"4\n")
    with pytest.raises(CheckpointError, match="over one another"):
        load_state(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_pickles_of_one_name(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.pth", GOOD)
    with zipfile.ZipFile(path, "a") as out:
        out.writestr("x/data.pkl", b"\x80\x02" + a_call("os", "system", "touch M") + b".")
    with pytest.raises(CheckpointError, match=r"without the part data\.pkl|one another|os\.system"):
        load_state(path)


# --- bombs ------------------------------------------------------------------------------------------------------------


def bounded(path: Path, match: str) -> None:
    started = time.process_time()  # other processes of a busy machine do not count
    with pytest.raises(CheckpointError, match=match):
        load_state(path)
    assert time.process_time() - started < 5


def test_a_codec_bomb(tmp_path: Path) -> None:
    """Forty times `hex` would make a terabyte of one letter."""
    for codec in ("hex", "HEX-codec", "h\u00e9ex", " hex" + " " * 100, "quopri", "zip"):
        bomb = text("a")
        for _ in range(40):
            bomb = b"c_codecs\nencode\n(" + bomb + text(codec) + b"tR"
        bounded(archive(tmp_path / "x.pth", b"\x80\x02" + bomb + b"."), "_codecs.encode together with the codec")


def test_allocation_bombs(tmp_path: Path) -> None:
    huge = b"\x8a\x06" + (10**13).to_bytes(6, "little")
    for module, name in (("__builtin__", "bytearray"), ("torch", "Tensor"), ("torch.storage", "UntypedStorage")):
        data = b"\x80\x02" + f"c{module}\n{name}\n".encode() + b"(" + huge + b"tR."
        bounded(archive(tmp_path / "x.pth", data), name)


def test_a_string_that_claims_to_be_huge(tmp_path: Path) -> None:
    bounded(archive(tmp_path / "x.pth", b"\x80\x02X\xff\xff\xff\xff" + b"a."), "ValueError")


def test_lists_that_double_and_lists_that_nest(tmp_path: Path) -> None:
    double = b"\x80\x02]q\x00" + b"".join(b"]q%c(h%ch%ce" % (i, i - 1, i - 1) for i in range(1, 60)) + b"."
    bounded(archive(tmp_path / "x.pth", double), "found a list")
    bounded(archive(tmp_path / "x.pth", b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."), "found a list")


# A tuple of two references to a tuple of two references, sixty levels deep; and one of one, very deep.
DOUBLED = b")q\x00" + b"".join(b"h%c\x86q%c" % (level, level + 1) for level in range(60))
NESTED = b")" + b"\x85" * 300_000

WHERE_TUPLES_ARE_HASHED = {
    "a key": b"}%sK\x01s",
    "a key of many": b"}(%sK\x01u",
    "a key of metadata": b"}X\x04\x00\x00\x00meta}%sK\x01ss",
    "a set": b"c__builtin__\nset\n(]%satR",
    "a counter": b"ccollections\nCounter\n(]%satR",
    "a dict's pairs": b"ccollections\nOrderedDict\n(](](%sK\x01eetR",
    "an object's state": b"ccollections\nOrderedDict\n)R]](%sK\x01eab",
    "a storage's name": b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n%sX\x03\x00\x00\x00cpuK\x01tQ",
}


@pytest.mark.parametrize("place", WHERE_TUPLES_ARE_HASHED)
def test_tuples_that_take_forever_to_hash(tmp_path: Path, place: str) -> None:
    """Python does not store the hash of a tuple, and a signal does not interrupt its computation."""
    for tuples in (DOUBLED, NESTED):
        data = b"\x80\x02" + WHERE_TUPLES_ARE_HASHED[place] % tuples + b"."
        bounded(archive(tmp_path / "x.pth", data), "in a time proportional to the file's size")


def test_names_of_legacy_storages_that_take_forever_to_hash(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pth", {}, "legacy")
    start = path.read_bytes()
    names = pickle.dumps([], protocol=2)
    assert names in start
    path.write_bytes(start.replace(names, b"\x80\x02]" + DOUBLED + b"a."))
    bounded(path, "in a time proportional to the file's size")


def test_one_long_tuple_hashed_again_and_again(tmp_path: Path) -> None:
    data = b"\x80\x02}(" + b"K\x01" * 50_000 + b"tq\x00K\x01s" + b"h\x00K\x01s" * 50_000 + b"."
    bounded(archive(tmp_path / "x.pth", data), "in a time proportional")


def test_ordinary_shared_values_are_read(tmp_path: Path) -> None:
    shared = tuple((number, str(number)) for number in range(1000))
    meta = {("a", number): [shared, {shared[number]: shared}] for number in range(300)}
    state = load_state(save(tmp_path / "x.pth", {"meta": meta, "state_dict": WEIGHTS}, "zip"))
    assert state.keys() == WEIGHTS.keys()


@pytest.mark.parametrize(
    "ref",
    [
        "x" * 9_000,
        "x/" * 9_000,
        "~nosuchuser/x.pth",
        "a\0b.pth",
        "http://[::1",
        "http://[::1/x.pth",
        "file://[::1/x.pth",
        "file:///a\0b.pth",
        f"http://127.0.0.1:9/{'x' * 300}.pth",
        "http://127.0.0.1:9/\ud800.pth",
        "http://127.0.0.1:9/\x9b2J.pth",
        "http://127.0.0.1:9/\x1b[2J/x.pth",
        f"http://{'a' * 300}/x.pth",
        "http://\u2100/x.pth",
    ],
)
def test_references_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ref: str) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(CheckpointError) as caught:
        find(ref, progress=False)
    assert str(caught.value).isprintable()


def test_names_of_heads_can_be_printed() -> None:
    model = torch.nn.Module()
    model.backbone = torch.nn.Linear(1, 1)
    state = {f"backbone.{name}": torch.zeros(tensor.shape) for name, tensor in model.backbone.state_dict().items()}
    for prefix in ("\x1b[2J_head", "\x9b_head", "a\nb_head", "\u202e_head"):
        with pytest.raises(CheckpointError) as caught:
            load_into(model, {**state, f"{prefix}.w": torch.zeros(1)}, source="x.pth")
        assert str(caught.value).isprintable()
    assert load_into(model, {**state, "roi_head.w": torch.zeros(1)}, source="x.pth").heads == ("roi_head",)


def test_a_tensor_that_claims_to_be_huge(tmp_path: Path) -> None:
    """Four bytes seen as many numbers are a view, which is not copied into a network of as many."""
    for many in (1_000_000, 1_000):
        path = save(tmp_path / "x.pth", {"w": torch.ones(1).expand(many, 1_000)}, "zip")
        with pytest.raises(CheckpointError, match="complete tensors"):
            load_state(path)
    path = save(tmp_path / "x.pth", dict.fromkeys("abcdefgh", torch.ones(1_000_000)), "zip")
    with pytest.raises(CheckpointError, match="complete tensors"):
        load_state(path)
    path = save(tmp_path / "x.pth", {"w": torch.ones(1000, 1000), "ids": torch.ones(1).expand(100)}, "zip")
    assert load_state(path)["ids"].tolist() == [1.0] * 100


def test_a_tensor_that_reaches_beyond_its_storage(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load_state(lying_tensor(tmp_path / "x.pth", numel=2**40, size=2**40))
    with pytest.raises(CheckpointError):
        load_state(lying_tensor(tmp_path / "x.pth", numel=4, size=2**40))
    assert load_state(lying_tensor(tmp_path / "x.pth", numel=4, size=4))["w"].tolist() == [0.0] * 4


def lying_tensor(path: Path, *, numel: int, size: int) -> Path:
    def number(value: int) -> bytes:
        return b"\x8a\x08" + value.to_bytes(8, "little")

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(numel) + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + number(size) + b"\x85K\x01\x85\x89)RtR"
    tensor = tensor.replace(b"\x89)RtR", b"\x89ccollections\nOrderedDict\n)RtR")
    return archive(path, b"\x80\x02}" + text("w") + tensor + b"s.", **{"x/data/0": bytes(16)})


# --- random changes ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutations")


def mutated(whole: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for place, removed, inserted in edits:
        start = int(place * len(whole))
        whole = whole[:start] + inserted + whole[start + removed :]
    return whole


EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([0, 1, 1, 1, 8]), st.binary(max_size=3)),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=150)
@given(edits=EDITS)
def test_random_changes_are_errors_or_harmless(folder: Path, form: str, edits: list[tuple[float, int, bytes]]) -> None:
    path = save(folder / "x.pth", {"meta": {"seed": 1}, "state_dict": WEIGHTS}, form)
    whole = path.read_bytes()
    changed = mutated(whole, edits)
    path.write_bytes(changed)
    try:
        state = load_state(path)
    except CheckpointError:
        return
    assert all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items())
    if form == "zip":  # its check sums cover the tensors; of the legacy format only the hash in the name does
        assert [tensor.tolist() for tensor in state.values()] == [tensor.tolist() for tensor in WEIGHTS.values()]


@settings(max_examples=60)
@given(edits=EDITS)
def test_random_changes_never_pass_the_hash_in_the_name(folder: Path, edits: list[tuple[float, int, bytes]]) -> None:
    path = save(folder / "y.pth", WEIGHTS, "legacy")
    whole = path.read_bytes()
    named = folder / f"y-{find(str(path)).sha256[:8]}.pth"
    named.write_bytes(mutated(whole, edits))
    if named.read_bytes() == whole:
        assert isinstance(find(str(named)), CheckpointFile)
    else:
        with pytest.raises(CheckpointError, match="truncated or altered"):
            find(str(named))


def test_a_message_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A name from the file may be of any length, and hold what a terminal would obey."""
    name = b"c" + b"os\x1b[2J" * 5000 + b"\nsystem\n)R."
    for head in (b"\x80\x02", b""):
        path = tmp_path / "evil.pth"
        path.write_bytes(head + name)
        with pytest.raises(CheckpointError) as caught:
            load_state(path)
        assert len(str(caught.value)) < 1000
        assert "\x1b" not in str(caught.value)
