"""`python -m a2py`: the command line."""

import os
import sys

if __name__ == "__main__":
    # `python -m` puts the working folder first in sys.path, and a stranger's folder may contain a yaml.py. It stays if
    # a2py itself is there.
    home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(os.getcwd()) != home:
        del sys.path[0]
    from a2py.cli import main

    sys.exit(main())
