"""Read the configurations of other proxies for Claude Code, and turn them into one of ours.

`a2py config import` writes the result; `a2py` itself serves the models that such a `.env` names. What the formats mean
was read in the projects themselves in 2026-11; each file names its source. Nothing is imported here: a start with a
file needs none of it.
"""
