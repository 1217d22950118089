"""The ledger: one row for each answer, with its tokens and its cost, in a SQLite file.

Knows: SQLite, threads, list prices. Must not know: asyncio, HTTP, how an answer came about.
Nothing here is imported where `a2py: ledger` is false.
"""
