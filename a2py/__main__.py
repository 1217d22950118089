"""`python -m a2py`: the command line."""

import sys

from a2py.cli import main

if __name__ == "__main__":
    sys.exit(main())
