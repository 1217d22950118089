"""Which account made a stored response, so that `previous_response_id` goes back there.

OpenAI's Responses API keeps responses for the account that asked. Another account answers that it knows no such
response.

Knows: ids and digests of accounts. Must not know: deployments, HTTP.
Invariants: at most MAX_RESPONSES ids are kept, the newest ones; nothing is written down, so a restart forgets them.
"""

from __future__ import annotations

#: Ids that are kept: 10 MiB at 256 characters each.
MAX_RESPONSES = 20_000


class Accounts:
    def __init__(self) -> None:
        self._accounts: dict[str, str] = {}

    def note(self, response: str, account: str) -> None:
        """Note that `account` made the response of this id."""
        self._accounts.pop(response, None)  # so that the new entry becomes the last one
        self._accounts[response] = account
        if len(self._accounts) > MAX_RESPONSES:
            del self._accounts[next(iter(self._accounts))]  # the oldest

    def find(self, response: str) -> str:
        """Return the account that made the response; "" if that is not known."""
        return self._accounts.get(response, "")
