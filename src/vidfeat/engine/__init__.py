"""Runs: decode processes, batches across videos, progress, and this process's share of the work.

local             a run on one machine: what is read goes to the networks, what is computed to the store
readers           the videos, each given to a decode process, and what becomes of the processes
events, budget    what the readers tell, and how far they may be ahead
worker_handle     one decode process as its parent holds it
decode_worker    the same from within
channel           what the two say to each other
children, faults  how processes end; what an unforeseen error means
writing           results, committed many at once in a thread of its own
progress          what the person at the terminal sees
launch, torchrun  one process of several that share a list
"""
