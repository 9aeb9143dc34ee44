"""What goes in and out of a run: lists of videos, the journal of finished work, the outputs and their manifest."""

from vidfeat.store.identity import RunIdentity
from vidfeat.store.manifest import ManifestHeader
from vidfeat.store.results import Failure, Result, Success
from vidfeat.store.run import RunStore, Summary, nothing_pending
from vidfeat.store.verify import verify
from vidfeat.store.writers import Format, open_format
from vidfeat.videos import VIDEO_SUFFIXES, Entry, list_digest, read_list, scan

__all__ = [
    "VIDEO_SUFFIXES",
    "Entry",
    "Failure",
    "Format",
    "ManifestHeader",
    "Result",
    "RunIdentity",
    "RunStore",
    "Success",
    "Summary",
    "list_digest",
    "nothing_pending",
    "open_format",
    "read_list",
    "scan",
    "verify",
]
