"""Start several processes of one command with torchrun, and end with the exit code that matters.

torchrun itself ends with 1 whatever its processes ended with. Here the first failure's own code comes through, so that
"3, some videos failed" means the same with one process and with eight.

    python -m vidfeat.engine.torchrun --standalone --nproc_per_node 8 SCRIPT ARGUMENTS
"""

from __future__ import annotations

import sys
from typing import Any

from torch.distributed import run as torch_run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from vidfeat.cli.guard import EXIT_UNFORESEEN


def main(argv: list[str] | None = None) -> int:
    """Run torchrun with these arguments; returns the exit code of the process that failed first, or 0."""
    untyped: Any = torch_run
    try:
        untyped.run(untyped.parse_args(sys.argv[1:] if argv is None else argv))
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        # A process that was killed by a signal has a negative code.
        return failure.exitcode if failure.exitcode > 0 else EXIT_UNFORESEEN
    return 0


if __name__ == "__main__":
    sys.exit(main())
