"""What is finished of a run, kept through crashes; the outputs' manifests; and reading outputs again."""

from vidfeat.store.convert import Conversion, convert
from vidfeat.store.identity import WorkIdentity
from vidfeat.store.run import RunStore, Summary
from vidfeat.store.stored import StoredFeatures, load
from vidfeat.store.verify import verify

__all__ = ["Conversion", "RunStore", "StoredFeatures", "Summary", "WorkIdentity", "convert", "load", "verify"]
