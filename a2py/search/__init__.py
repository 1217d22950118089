"""Web search for models whose upstream can't search: the searches, their results, and how a reply carries them.

Nothing here is imported unless the configuration names a backend (`a2py: search`, LiteLLM's `websearch_interception`).
"""
