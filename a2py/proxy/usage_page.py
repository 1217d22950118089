"""GET /usage: sums over the ledger, for `a2py usage` and `a2py statusline`.

Knows: the query's parameters. Must not know: SQL, how a sum is shown.
Invariants: the answer has every row of all workers up to the request, and names the workers of which it may not; the
file is read in a thread.
"""

from __future__ import annotations

import time
from urllib.parse import parse_qs

from a2py.errors import ApiError
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.log import Record
from a2py.proxy.reports import flush_ledger
from a2py.proxy.responses import json_response
from a2py.proxy.services import Services


async def report_usage(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    """Report `?by=` (default model), `?since=`, `?session=`. See `a2py.ledger.query`.

    A key that is no admin's gets the sums of its own answers."""
    keeper = services.books.keeper
    if keeper is None:
        raise ApiError("not_found", "This proxy keeps no ledger (`a2py: ledger: false`)", should_retry=False)
    from a2py.ledger.query import GROUPS, parse_since, sum_by

    query = parse_qs(request.query_string)
    by = query.get("by", ["model"])[-1]
    if by not in GROUPS:
        raise ApiError("invalid_request", f"by: write one of {', '.join(GROUPS)}")
    try:
        since = parse_since(query["since"][-1], time.time()) if "since" in query else 0.0
    except ValueError as error:
        raise ApiError("invalid_request", f"since: {error}") from None
    missing = await flush_ledger(services)
    session = query["session"][-1] if "session" in query else None
    caller = record.account.caller
    own = caller.name if caller.name and not caller.is_admin else None
    groups = await keeper.read(lambda: sum_by(keeper.path, by, since, session, own))
    record.status = 200
    gaps = {"missing_workers": missing} if missing else {}
    return json_response({"by": by, "groups": [group.page_row(by) for group in groups], **gaps}, record.id)
