"""How fast this machine is, beside MMAction2's way of working and beside what the machine can do at most.

    clips          videos to measure with, where none are given
    weights        weights to measure with, where none are given
    workload       what is measured, and what there is to know about it
    baseline       MMAction2's way of working, rebuilt
    ours           what `vidfeat extract` runs
    roofs          each half of the work alone, and the limit that follows
    process        work in a fresh process, its seconds, and the memory of its whole tree
    comparison     all of that, row by row, in turns
    growth         how cost grows with the number of videos and with their length
    table          for people, and as JSON

The process that runs the benchmark imports neither torch nor a decoder: whatever does is a process of its own, so that
none starts warm, and no memory is halved on paper because the benchmark holds the same library.
"""
