"""Which share of a run this process has: rank and size, read from what started it.

Processes of one run never talk to each other. All that they need to know is which of them they are.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from vidfeat.errors import UsageError
from vidfeat.hardware import usable_cores

Launcher = Literal["none", "pytorch", "slurm", "mpi"]

_VARIABLES: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "pytorch": (("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),),
    "slurm": (("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),),
    "mpi": (
        (
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
            "OMPI_COMM_WORLD_LOCAL_RANK",
            "OMPI_COMM_WORLD_LOCAL_SIZE",
        ),
        ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ),
}
"""For each launcher: variables of rank, size, rank on this machine, size on this machine; the last two may be absent.
MPI has two dialects, Open MPI's and that of the MPICH family."""


@dataclass(frozen=True)
class Share:
    """This process's place among those of its run.

    Attributes:
        rank: in `[0, world_size)`.
        world_size: processes in the run, on all machines.
        local_rank: in `[0, local_size)`, the place among those on this machine; it chooses the GPU.
        local_size: processes on this machine, which share its cores.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def cores(self) -> int:
        """Cores for this process: the processes of one machine share those that they may use."""
        return max(1, len(usable_cores()) // self.local_size)


def read_share(launcher: Launcher) -> Share:
    """This process's share.

    Args:
        launcher: what started the process; "none" is a run of one process.

    Raises:
        UsageError: the launcher's variables are not there or make no sense.
    """
    if launcher == "none":
        return Share()
    for rank_name, size_name, local_rank_name, local_size_name in _VARIABLES[launcher]:
        if rank_name in os.environ and size_name in os.environ:
            rank, size = _number(rank_name), _number(size_name)
            local_rank = _number(local_rank_name) if local_rank_name in os.environ else rank
            local_size = _number(local_size_name) if local_size_name in os.environ else max(1, local_rank + 1)
            if not 0 <= rank < size:
                raise UsageError(
                    f"`launcher={launcher}`", expected=f"{rank_name} below {size_name}", found=f"{rank} and {size}"
                )
            return Share(rank, size, local_rank, max(1, local_size))
    names = " or ".join(f"{rank} and {size}" for rank, size, _, _ in _VARIABLES[launcher])
    raise UsageError(
        f"`launcher={launcher}`",
        expected=f"the environment variables {names}",
        found="neither" if len(_VARIABLES[launcher]) == 1 else "none of them",
        hint="Start the command with torchrun, srun or mpirun, or leave `launcher` out.",
    )


def _number(name: str) -> int:
    try:
        return int(os.environ[name])
    except ValueError:
        raise UsageError(name, expected="an integer", found=repr(os.environ[name])) from None
