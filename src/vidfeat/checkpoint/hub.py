"""Files of a repository on the Hugging Face hub, or of a folder laid out like one.

    repository = Repository.open("openai/clip-vit-base-patch32@main")
    repository.read_json("config.json")
    file = repository.weights()          # safetensors only
    state = load_shards(file)

Downloads are those of `huggingface_hub`: its cache, `HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` apply.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfeat.checkpoint.files import CheckpointFile, find
from vidfeat.checkpoint.read import load_state
from vidfeat.errors import CheckpointError, UsageError, quote

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
_MOST_JSON_BYTES = 50_000_000


@dataclass(frozen=True)
class Repository:
    """A repository at one revision, or a folder.

    Attributes:
        name: `ORG/NAME`, or the path of the folder.
        revision: the commit; empty for a folder.
    """

    name: str
    revision: str = ""

    @classmethod
    def open(cls, reference: str) -> Repository:
        """A folder, or a repository whose revision is looked up.

        Args:
            reference: a folder with a `config.json`, `ORG/NAME` or `ORG/NAME@REVISION`.

        Raises:
            UsageError: it is none of these.
            CheckpointError: the repository, its revision or its `config.json` cannot be had.
        """
        if reference and Path(reference).expanduser().is_dir():
            folder = cls(str(Path(reference).expanduser()))
            folder.file("config.json")
            return folder
        name, _, revision = reference.partition("@")
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
            no_folder = ", which is no folder" if name.startswith(("/", ".", "~")) else ""
            raise UsageError(
                "model",
                expected="hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:FOLDER",
                found=quote(f"hf:{reference}") + no_folder,
            )
        path = cls(name, revision or "main").file("config.json")
        return cls(name, path.parent.name)  # .../snapshots/COMMIT/config.json

    @property
    def reference(self) -> str:
        """What `open` takes."""
        return f"{self.name}@{self.revision}" if self.revision else self.name

    @property
    def short_name(self) -> str:
        """The last part of the name, as outputs have it."""
        return Path(self.name).resolve().name if not self.revision else self.name.rpartition("/")[2]

    def file(self, name: str) -> Path:
        """A file that must be there.

        Raises:
            CheckpointError: it is not, or cannot be had.
        """
        found = self.find(name)
        if found is None:
            raise CheckpointError(
                self.reference,
                expected=f"{name}, as in a transformers repository",
                found="no such file",
                hint="Name another repository or folder; timm's have the prefix timm: instead.",
            )
        return found

    def find(self, name: str) -> Path | None:
        """The path of a file, downloaded where necessary; None where the repository has none of that name.

        Raises:
            CheckpointError: it cannot be had.
        """
        if not self.revision:
            path = Path(self.name) / name
            return path if path.is_file() else None
        from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        with self._hub_errors(name):
            try:
                if try_to_load_from_cache(self.name, name, revision=self.revision) is _CACHED_NO_EXIST:
                    return None
                return Path(hf_hub_download(self.name, name, revision=self.revision))
            except LocalEntryNotFoundError:
                # Without a network a downloaded repository is what its folder holds.
                if isinstance(try_to_load_from_cache(self.name, "config.json", revision=self.revision), str):
                    return None
                raise
            except EntryNotFoundError:
                return None

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The content of a JSON file, a dict; None where there is no such file.

        Raises:
            CheckpointError: it cannot be had, or is no JSON dict.
        """
        path = self.find(name)
        if path is None:
            return None
        try:
            if path.stat().st_size > _MOST_JSON_BYTES:
                raise ValueError("more than 50 MB")
            data = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(data, dict):
                raise ValueError(f"a {type(data).__name__}")
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(str(path), expected="a JSON object", found=str(error)[:200]) from error
        return data

    def weights(self) -> CheckpointFile:
        """The weights in safetensors format; of several files, their index, with the SHA-256 over all of them.

        Raises:
            CheckpointError: there are none, or only as pickles, or they cannot be had.
        """
        source = f"hf:{self.reference}"
        single = self.find(WEIGHTS)
        if single is not None:
            return CheckpointFile(single, find(str(single)).sha256, source)
        index = self.find(INDEX)
        if index is None:
            pickles = [name for name in self._names() if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
            raise CheckpointError(
                self.reference,
                expected=f"weights as {WEIGHTS} or {INDEX}",
                found=f"pickles only: {', '.join(pickles[:3])}" if pickles else "no weights",
                hint="Pickles can run code and are not read. Ask for a safetensors version, or convert it yourself."
                if pickles
                else "Name a repository that holds a model, and download all of it before you work offline.",
            )
        shards = [self.file(name) for name in _shards_of(index)]
        lines = "".join(f"{find(str(shard)).sha256}  {shard.name}\n" for shard in shards)
        return CheckpointFile(index, hashlib.sha256(lines.encode()).hexdigest(), source)

    def _names(self) -> list[str]:
        if not self.revision:
            return sorted(path.name for path in Path(self.name).iterdir())
        from huggingface_hub import list_repo_files

        try:
            return list_repo_files(self.name, revision=self.revision)
        except Exception:  # it only makes a message more precise
            return []

    @contextlib.contextmanager
    def _hub_errors(self, name: str) -> Iterator[None]:
        """The hub's errors as this project's: where, what is missing, what to do."""
        from huggingface_hub import constants, errors

        try:
            yield
        except errors.GatedRepoError as error:
            raise self._unavailable(
                "access to it",
                "a gated repository, and no token with access to it",
                "Accept its conditions on its page, and set HF_TOKEN.",
            ) from error
        except errors.RevisionNotFoundError as error:
            raise self._unavailable(f"the revision {self.revision}", "no such revision") from error
        except errors.RepositoryNotFoundError as error:
            raise self._unavailable(
                "a repository of that name", "none, or a private one", "Check the name; set HF_TOKEN for a private one."
            ) from error
        except (errors.HFValidationError, OSError, errors.HfHubHTTPError, errors.EntryNotFoundError) as error:
            raise self._unavailable(
                f"{name} from the hub, or in {constants.HF_HUB_CACHE}",
                "it is not in that folder, and offline mode is on"
                if constants.is_offline_mode()
                else f"it is not in that folder, and the hub does not answer ({type(error).__name__})",
                "Download the repository where there is a network, and copy the folder; or name a local folder.",
            ) from error

    def _unavailable(self, expected: str, found: str, hint: str = "") -> CheckpointError:
        return CheckpointError(f"hf:{self.reference}", expected=expected, found=found, hint=hint)


@contextlib.contextmanager
def downloads(*, progress: bool) -> Iterator[None]:
    """While files are downloaded: whether progress bars are shown on stderr."""
    from importlib import import_module

    bars = import_module("huggingface_hub.utils")  # whose names are not declared as exported
    shown = not bars.are_progress_bars_disabled()
    if shown and not progress:
        bars.disable_progress_bars()
    try:
        yield
    finally:
        if shown and not progress:
            bars.enable_progress_bars()


def load_shards(file: CheckpointFile) -> dict[str, torch.Tensor]:
    """The weights of `Repository.weights`, by the names of their files.

    Raises:
        CheckpointError: as `load_state` does.
    """
    if not file.path.name.endswith(".index.json"):
        return load_state(file)
    state: dict[str, torch.Tensor] = {}
    for name in _shards_of(file.path):
        state.update(load_state(file.path.parent / name))
    return state


def _shards_of(index: Path) -> list[str]:
    """The files that an index names, which are beside it."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if not names or not all(re.fullmatch(r"[\w.-]+\.safetensors", name) for name in names):
            raise ValueError(f"files {names[:3]}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            str(index), expected="a `weight_map` from names to .safetensors files beside it", found=str(error)[:200]
        ) from error
    return names
