"""`python -m vidfeat.cli` is the command `vidfeat`."""

import sys

from vidfeat.cli import main

if __name__ == "__main__":
    sys.exit(main())
