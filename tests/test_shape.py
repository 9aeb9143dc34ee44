"""The shape of the project: imports point one way, the public names are what they say, recipes have identities."""

import ast
import dataclasses
from pathlib import Path

import pytest

import vidfeat
from vidfeat.mmaction import compile_file

SOURCE = Path(vidfeat.__file__).parent

MAY_IMPORT = {
    "errors": set(),
    "first_use": set(),
    "recipe": {"errors"},
    "video": {"errors"},
    "sampling": {"errors", "recipe"},
    "transforms": {"errors", "recipe"},
    "pooling": {"errors", "recipe"},
    "models": {"errors", "recipe", "machine"},
    "checkpoint": {"errors"},
    "mmaction": {"errors", "recipe", "models"},
    "describe": {"errors", "recipe", "models", "sampling", "transforms"},
    "views": {"errors", "recipe", "sampling", "transforms", "video"},
    "machine": set(),
    "stopwatch": set(),
    "out_of_memory": set(),
    "normalize": {"recipe"},
    "kernels": {"errors", "recipe", "models", "normalize", "out_of_memory", "pooling", "stopwatch"},
    "network": {"errors", "recipe", "kernels", "machine", "models", "out_of_memory", "stopwatch", "views"},
    "batches": {"recipe", "views", "network"},
    "extract": {
        "errors",
        "recipe",
        "models",
        "pooling",
        "checkpoint",
        "mmaction",
        "views",
        "video",
        "network",
        "batches",
    },
    "store": {"errors"},
    "engine": {"errors", "extract", "views", "video", "batches", "network", "machine", "stopwatch", "store", "cli"},
    "report": {"errors", "store", "video"},
    "demo": {"errors", "store", "report", "video"},
    "doctor": {"errors", "video"},
    "plan": {"errors", "recipe", "sampling", "transforms", "video", "views", "models", "mmaction", "machine", "extract"}
    | {"store", "engine"},
    "bench": {"errors", "recipe", "describe", "models", "normalize", "pooling", "checkpoint", "mmaction", "video"}
    | {"views", "machine", "network", "extract", "store", "engine"},
    "cli": {"errors", "recipe", "describe", "extract", "machine", "mmaction", "network", "engine", "store", "views"}
    | {"first_use", "report", "demo", "doctor", "plan", "bench"},
}
"""For each room, the rooms that it may know. `engine` knows `cli` in one place: torchrun's exit codes."""


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
        rooms |= {name.split(".")[1] for name in names if name.startswith("vidfeat.")}
    return rooms


def test_imports_point_one_way() -> None:
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        assert imported_rooms(path) - {room} <= MAY_IMPORT[room], path


def test_public_names() -> None:
    assert vidfeat.__all__ == sorted(vidfeat.__all__)
    for name in vidfeat.__all__:
        assert getattr(vidfeat, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = vidfeat.no_such_name


def test_the_digest_is_the_identity_of_a_recipe(repository: Path) -> None:
    path = repository / "examples" / "tiny_slowonly.py"
    recipe = compile_file(path)
    assert recipe == compile_file(path)
    assert recipe.digest == compile_file(path).digest
    others = [
        dataclasses.replace(recipe, normalize=dataclasses.replace(recipe.normalize, to_bgr=True)),
        dataclasses.replace(recipe, sampling=dataclasses.replace(recipe.sampling, num_clips=5)),
        dataclasses.replace(recipe, transforms=recipe.transforms[:1]),
        compile_file(path, {"model.backbone.depth": 34}),
    ]
    assert len({recipe.digest, *(other.digest for other in others)}) == 5


def test_errors_say_where_expected_found_and_what_to_do() -> None:
    error = vidfeat.UsageError("list.txt:3", expected="a video", found="a folder", hint="Name a file.")
    assert str(error) == "list.txt:3: expected a video; found a folder. Name a file."
    assert issubclass(vidfeat.VideoError, vidfeat.VidfeatError)
