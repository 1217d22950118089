"""The benchmark of a2py: `make bench`. Start with README.md. Nothing in this folder is installed with a2py."""
