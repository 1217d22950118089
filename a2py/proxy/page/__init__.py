"""The page at /ui: what it reads of the proxy, and what it may do. Imported when somebody asks for it."""
