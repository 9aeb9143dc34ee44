"""The shape of the project: imports point one way, the public names are what they say, recipes have identities."""

import ast
import dataclasses
from pathlib import Path

import pytest

import vidfeat
from vidfeat.mmaction import compile_file

SOURCE = Path(vidfeat.__file__).parent

ORDER = (
    "errors",
    "lazy_import",
    "hardware",
    "recipe",
    "storage",
    "videos",
    "video",
    "preprocessing",
    "models",
    "checkpoint",
    "mmaction",
    "features",
    "inference",
    "encoders",
    "engine",
    "formats",
    "store",
    "job",
    "execution",
    "cluster",
    "tools",
    "cli",
)
"""The rooms of the package: each may import those before it, and nothing else of the package."""


def name_of(path: Path) -> str:
    return ".".join(("vidfeat", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {name_of(path) for path in SOURCE.rglob("*.py")}


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
        rooms |= {name.split(".")[1] for name in names if name.startswith("vidfeat.")}
    return rooms


def runtime_imports(tree: ast.Module) -> set[str]:
    """The modules that a module imports when it is itself imported: not inside of functions, nor for type checkers."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            # Names that are modules themselves: nothing of their package is used.
            found |= names if names <= MODULES else {node.module or "", *names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_every_room_has_its_place() -> None:
    rooms = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py")}
    assert rooms - {"__init__", "__main__"} == set(ORDER)
    modules = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert len(modules) <= 8, modules


@pytest.mark.parametrize("room", ORDER)
def test_imports_point_one_way(room: str) -> None:
    paths = [SOURCE / f"{room}.py"] if (SOURCE / f"{room}.py").exists() else list((SOURCE / room).rglob("*.py"))
    assert paths
    for path in paths:
        assert imported_rooms(path) - {room} <= set(ORDER[: ORDER.index(room)]), path


def test_no_module_imports_itself_through_others() -> None:
    graph = {name_of(path): runtime_imports(ast.parse(path.read_text())) & MODULES for path in SOURCE.rglob("*.py")}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in graph[name] - {name}:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_public_names() -> None:
    assert vidfeat.__all__ == sorted(vidfeat.__all__)
    assert dir(vidfeat) == vidfeat.__all__
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
