"""Start several processes of one command with torchrun, and end with the exit code that matters.

torchrun itself ends with 1 whatever its processes ended with. Here the first failure's own code comes through, so that
"3, some videos failed" means the same with one process and with eight. A signal that ends the command gives 128 and its
number, as in a shell.

    python src/vidfeat/cli/torchrun.py --standalone --nproc_per_node 8 SCRIPT ARGUMENTS

It is run by its path, because `python -m` would import modules from the current folder.
"""

from __future__ import annotations

import sys
from typing import Any


def main(arguments: list[str] | None = None) -> int:
    """Run torchrun with these arguments; returns the exit code of the process that failed first, or 0."""
    from torch.distributed import run as torch_run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from vidfeat.cli.process import EXIT_UNFORESEEN

    untyped: Any = torch_run
    try:
        untyped.run(untyped.parse_args(sys.argv[1:] if arguments is None else arguments))
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        # A process that was killed by a signal has a negative code.
        return failure.exitcode if failure.exitcode > 0 else EXIT_UNFORESEEN
    except SignalException as signalled:
        return 128 + int(signalled.sigval)
    return 0


if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]  # this folder, whose modules are none to import by their short names
    from vidfeat.cli.process import run_process

    run_process(main)
