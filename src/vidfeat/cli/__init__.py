"""The command line: options map one to one onto the library, and errors become one line and an exit code.

    process   the process of a command: Ctrl-C, streams, exit codes
    main      the command `vidfeat`: its commands, and what becomes of errors
    command   what all commands have in common
    options   each option that several commands take
    flags     the flag of each argument of the library
    extract, convert, estimate, report, demo, bench    a command each; `info` has the small ones

torch, av and cv2 take seconds to import, so what uses them is imported inside the functions that run: `--help` and a
mistyped option are answered at once.
"""
