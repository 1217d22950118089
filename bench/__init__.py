"""a2py's bench suite: `make bench`. Start with README.md; nothing here is installed with a2py."""
