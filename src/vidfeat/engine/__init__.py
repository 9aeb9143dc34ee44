"""The engine: decode processes, batches across videos, and the loop that turns videos into features.

worker            the loop: what is decoded goes to the networks, and their rows become outcomes
probing           what is known of videos before they are decoded
decode_pool       the videos, each given to a decode process, and what happens to the processes
events, budget    what the pool delivers, and how far it may be ahead
worker_handle     one decode process as its parent holds it
decode_worker     the same from within
channel           the messages between the two
subprocesses, faults  how processes end; what an unforeseen error means
committing        outcomes, committed many at once in a thread of its own
progress          what a person at the terminal sees
launch            one process of several that share a list
"""
