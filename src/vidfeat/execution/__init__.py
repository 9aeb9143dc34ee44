"""Execute jobs: to an output, as a stream, or one video at a time.

run(job)        computes what is missing, commits each result, and brings the output into its final form
stream(job)     yields each result as it is done, and writes nothing
Extractor       keeps a network ready for single videos

jobs, on_cluster  the loop of a job: on this machine, where `LocalExecutor` has one `Worker`, and elsewhere
workers           how a worker computes a job on this machine
extractor         one video at a time
"""

from vidfeat.execution.extractor import Extractor
from vidfeat.execution.jobs import Execution, Executor, LocalExecutor, run, stream
from vidfeat.execution.on_cluster import Amount, ClusterExecutor
from vidfeat.execution.workers import identity_of, require_hardware, versions, worker_for, worker_options

__all__ = [
    "Amount",
    "ClusterExecutor",
    "Execution",
    "Executor",
    "Extractor",
    "LocalExecutor",
    "identity_of",
    "require_hardware",
    "run",
    "stream",
    "versions",
    "worker_for",
    "worker_options",
]
