"""How fast this machine is, beside MMAction2's way of working and beside what the machine can do at most.

    clips          videos to measure with, where none are given
    workload       what is measured, and what is known of it before
    baseline       MMAction2's way of working, rebuilt
    extraction     what `vidfeat extract` runs
    upper_bounds   each stage alone, and the limit that follows
    process        work in a fresh process, its seconds, and the memory of its whole tree
    comparison     all of that, row by row, interleaved
    scaling        how cost grows with the number of videos and with their length
    table          for people, and as JSON

The process that runs the benchmark imports neither torch nor a decoder: whatever does is a process of its own, so that
none starts warm, and no memory is divided between it and the benchmark because both hold the same library.
"""
