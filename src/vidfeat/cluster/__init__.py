"""Jobs on more than one machine."""

from vidfeat.cluster.ray_executor import Ray

__all__ = ["Ray"]
