"""`python -m a2py`: the command line."""

import os
import sys

if __name__ == "__main__":
    # `-m` puts the working folder in front of every import, and a stranger's folder may hold a yaml.py. An a2py that lies in the folder
    # itself is meant to be found there.
    home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(os.getcwd()) != home:
        del sys.path[0]
    from a2py.cli import main

    sys.exit(main())
