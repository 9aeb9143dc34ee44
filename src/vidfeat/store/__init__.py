"""What is finished of a run, kept through crashes; the outputs' manifests; and reading outputs again."""

from vidfeat.store.convert import Conversion, convert
from vidfeat.store.identity import WorkIdentity
from vidfeat.store.parts import PartsStore, is_parts
from vidfeat.store.protocol import Store
from vidfeat.store.run import RunStore
from vidfeat.store.stored import StoredFeatures, load
from vidfeat.store.summary import Summary
from vidfeat.store.verify import verify

__all__ = [
    "Conversion",
    "PartsStore",
    "RunStore",
    "Store",
    "StoredFeatures",
    "Summary",
    "WorkIdentity",
    "convert",
    "is_parts",
    "load",
    "verify",
]
