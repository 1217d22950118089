"""Errors of upstreams: the rules and their goldens, bare statuses, errors inside a 200, connections, whatever else
comes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.deployment import Deployment
from a2py.errors import KINDS, ApiError
from a2py.messages.sent import NOTHING, SentBody
from a2py.wires import failure
from a2py.wires.refusal import message, scrub, verdict, waiting
from a2py.wires.refusal.body import parse_body
from a2py.wires.refusal.peer import Peer
from tests import golden

GOLDENS = golden.read(golden.FOLDER / "errors.md")
DOCS = Path(__file__).parents[2] / "docs" / "errors.md"


def of(value: Any, status: int = 400, headers: dict[str, str] | None = None, **peer: Any) -> ApiError:
    return failure.read(status, headers or {}, orjson.dumps(value), Peer(**peer))


def read_error(message: str, status: int = 400, **peer: Any) -> ApiError:
    return of({"error": {"message": message}}, status, **peer)


# -- rules and goldens -------------------------------------------------------------------------------------------------


def golden_rule(case: golden.Case) -> str:
    match = re.search(r"Rule `([\w.]+)`", case.prose)
    assert match, f"{case.id}: names no rule"
    return match[1]


@pytest.mark.parametrize("case", GOLDENS, ids=lambda case: case.title)
def test_a_golden_is_decided_by_the_rule_that_it_names(case: golden.Case) -> None:
    """And becomes what its client block says (../goldens/test_goldens.py runs the same through the wire)."""
    blocks = {block.name: block for block in case.blocks}
    status, *options = blocks["upstream"].options
    data = golden.upstream_bytes(blocks["upstream"])
    request = SentBody(orjson.dumps(blocks["request"].json())) if "request" in blocks else NOTHING
    rule = verdict.find_rule(int(status), parse_body(data), "", request).rule
    assert (rule.name if rule else "status") == golden_rule(case)
    headers = {name: value for name, _, value in (option.partition("=") for option in options)}
    assert (
        golden.error_lines(failure.read(int(status), headers, data, Peer(sent_body=request))) == blocks["client"].lines
    )


def test_each_rule_has_a_golden() -> None:
    """But those for errors inside a 200 and for one provider alone, which stand below."""
    proven = {golden_rule(case) for case in GOLDENS}
    rules = [rule.name for rule in verdict.rules() if not rule.name.startswith("inside.") and not rule.provider]
    assert [name for name in rules if name not in proven] == []
    assert len(set(rules)) == len(rules)


def test_each_rule_names_who_says_it_and_when() -> None:
    for rule in verdict.rules():
        assert rule.kind in KINDS
        assert rule.text or rule.codes
        assert re.search(r"20\d\d|many$|adds itself$", rule.source), f"{rule.name}: seen by whom, and when?"


@pytest.mark.parametrize("status", [*verdict.STATUSES, 400, 418, 422, 451, 500, 501, 507, 599])
def test_a_bare_status(status: int) -> None:
    error = failure.read(status, {}, b"", Peer(provider="acme"))
    assert error.kind == verdict.STATUSES.get(status, "invalid_request" if status < 500 else "api")
    is_kept = status in message.KEPT_STATUSES or status not in verdict.STATUSES
    assert error.status == (status if is_kept else KINDS[error.kind].status)
    assert "acme" in error.message


@pytest.mark.parametrize(
    ("status", "kind"), [(302, "upstream"), (0, "api"), (-1, "api"), (99, "upstream"), (1000, "api")]
)
def test_a_status_that_is_none(status: int, kind: str) -> None:
    error = failure.read(status, {}, b"oops")
    assert (error.kind, error.status, error.message) == (kind, KINDS[kind].status, "oops")


def test_a_provider_of_its_own_kind() -> None:
    quota = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    assert of(quota, 429, provider="azure").kind == "rate_limit"
    assert of(quota, 429, provider="openai").kind == "billing"
    for status in (400, 413):
        assert failure.read(status, {}, b" ", Peer(provider="cerebras")).message == "prompt is too long"
        assert failure.read(status, {}, b"", Peer(provider="groq")).kind != "context_overflow"
    assert failure.read(500, {}, b"", Peer(provider="cerebras")).kind == "api"
    assert failure.read(400, {}, b"{}", Peer(provider="cerebras")).kind == "invalid_request"


def test_whose_fault_it_is_stands_in_front() -> None:
    assert read_error("too many requests", 429, provider="groq").message == "groq: too many requests"
    assert (
        read_error("Bad schema", provider="groq").message == "Bad schema"
    )  # about the request: native upstreams' words stay theirs
    assert failure.read(404, {}, b"<title>404</title>", Peer(provider="acme")).message == (
        "acme answered with a web page (HTTP 404): 404 (check `api_base` and the model's name)"
    )
    assert failure.read(405, {}, b"", Peer(provider="acme")).message.endswith(
        ". Check `api_base` and the model's name."
    )
    assert (
        of({"error": {"code": "odd", "type": "odder"}}, 500, provider="acme").message
        == "acme answered HTTP 500 without saying why (odd, odder). Try again. If it fails again, check the server's log."
    )


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize(
    ("wire", "base", "advice"),
    [
        ("chat", "http://127.0.0.1:8000", "try `api_base: http://127.0.0.1:8000/v1`, and check the model's name"),
        ("responses", "http://[::1]:8000", "try `api_base: http://[::1]:8000/v1`, and check the model's name"),
        ("chat", "http://127.0.0.1:8000/v1", "check `api_base` and the model's name"),
        ("native", "http://127.0.0.1:8000", "check `api_base` and the model's name"),  # it asks for /v1/messages
    ],
)
def test_a_base_without_a_path_is_named_where_the_server_does_not_know_it(
    wire: str, base: str, advice: str, status: int
) -> None:
    peer = Peer.of(Deployment("local", "local/1", "openai", "qwen3", base, wire=wire))
    assert f"({advice})" in failure.read(status, {}, b'{"detail": "Not Found"}', peer).message
    assert f". {advice[0].upper()}{advice[1:]}." in failure.read(status, {}, b"", peer).message


OWN_SERVER = Peer.of(Deployment("local", "local/1", "openai", "qwen3", "http://127.0.0.1:8000/v1", key="sk-local"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            failure.transport_error("connect", "Connection refused", OWN_SERVER),
            "cannot connect to 127.0.0.1:8000 (model local): connection refused."
            " Check that the server is running and that `api_base` is right.",
        ),
        (
            failure.transport_error("tls", "CA cert not found", OWN_SERVER),  # an abbreviation keeps its capital
            "no secure connection to 127.0.0.1:8000 (model local): CA cert not found."
            " Check the server's certificate, or set `ssl_verify` to the file of its CA.",
        ),
        (
            of({"error": {"message": "sk-local?", "code": "invalid_api_key"}}, 401, **OWN_SERVER._asdict()),
            "127.0.0.1:8000 (model local) refused the API key (HTTP 401). The proxy sends this key, not the client: check `api_key` of this"
            " model in the configuration, or the key variable of its provider.",
        ),
        (read_error("too many requests", 429, **OWN_SERVER._asdict()), "127.0.0.1:8000: too many requests"),
        (
            failure.read(503, {}, b"", OWN_SERVER),
            "127.0.0.1:8000 answered HTTP 503 without saying why. Wait, then try again.",
        ),
        (
            failure.web_page_error(b"<title>Sign in</title>", OWN_SERVER),
            "127.0.0.1:8000 answered with a web page: Sign in (check `api_base`)",
        ),
        (
            failure.reply_error("sent an empty reply", OWN_SERVER),
            "127.0.0.1:8000 sent an empty reply. Try again. If it fails again, check the server's log.",
        ),
    ],
)
def test_a_message_names_the_address_and_the_next_step(error: ApiError, message: str) -> None:
    """Not the provider's prefix: `openai/…` is also written for a server of one's own."""
    assert error.message == message


def test_a_5xx_is_not_the_clients_fault_though_it_is_worded_so() -> None:
    error = read_error("requires --jinja", 503)
    assert (error.kind, error.status, error.should_retry) == ("api", 503, False)
    assert read_error("Unknown parameter: 'stream_options'", 500).kind == "unsupported"  # a lesson cures it


def test_should_retry() -> None:
    assert read_error("nope", headers={"X-Should-Retry": "true"}).should_retry is True
    assert read_error("nope", headers={"x-should-retry": "false"}).should_retry is False
    assert read_error("nope", headers={"x-should-retry": "perhaps"}).should_retry is None
    assert read_error("invalid api key", 401, headers={"x-should-retry": "true"}).should_retry is False
    assert of({"error": {"message": "Failed", "code": "tool_use_failed"}}).should_retry is True


def test_no_wait_for_what_no_wait_cures() -> None:
    size = "on tokens per minute (TPM): Limit 6000, Requested 14810"
    assert read_error(size, 429, headers={"retry-after": "9"}).retry_after is None
    assert read_error("bad", 400, headers={"retry-after": "9"}).retry_after is None
    assert read_error("slow down", 429, headers={"Retry-After": "9"}).retry_after == 9


def test_room_is_worth_having_from_1024_tokens_or_half_of_what_was_asked() -> None:
    def room(prompt: int, out: int) -> ApiError:
        return read_error(f"input length and `max_tokens` exceed context limit: {prompt} + {out} > 10000")

    assert (room(8976, 32000).kind, room(8976, 32000).limit) == ("max_tokens", 1024)
    assert room(8977, 32000).message == "prompt is too long"
    assert (room(9990, 20).field, room(9990, 20).limit) == ("room", 10)
    assert room(9991, 20).kind == "context_overflow"
    assert room(10000, 1).message == "prompt is too long"
    assert room(5000, 10).message == "prompt is too long"  # the numbers contradict the sentence
    assert room(10001, 1).message == "prompt is too long: 10001 tokens > 10000 maximum"


def test_the_cap_names_the_model_where_it_is_known() -> None:
    text = "max_tokens is too large: 32000. This model supports at most 16384 completion tokens, whereas you provided 32000."
    assert (
        read_error(text, model="gpt-4o").message
        == "max_tokens: 32000 > 16384, which is the maximum allowed number of output tokens for gpt-4o"
    )


# -- overflows by their meaning ------------------------------------------------------------------------------------------

#: A sentence that no rule names, and what the client gets.
MEANT = [
    ("Prompt too long: 32799 tokens exceeds max context window of 32768 tokens", "32799 tokens > 32768 maximum"),
    ("The prompt has 5,000 tokens, which is more than the 4,096 that this model takes", "5000 tokens > 4096 maximum"),
    ("Input tokens (5000) exceed the model limit (4096)", "5000 tokens > 4096 maximum"),
    ("Your request of 5000 tokens is over the context size of 4096", "5000 tokens > 4096 maximum"),
    ("context overflow: 5000 tokens > 4096", "5000 tokens > 4096 maximum"),
    ("prompt tokens must be less than 4096, got 5000", "5000 tokens > 4096 maximum"),
    ("The maximum input is 4096 tokens but the request has 5000", "5000 tokens > 4096 maximum"),
    ("This input allows at most 4096 tokens but 5000 were given: got 5000", "5000 tokens > 4096 maximum"),
    ("Request has too many tokens", ""),
    ("Too many input tokens", ""),
    ("The prompt exceeds the limit", ""),
    ("Input length exceeds the allowed maximum", ""),
    ("Number of input tokens is larger than the window", ""),
    ("The number of tokens must be less than the maximum of the model", ""),
    ("The conversation is too long for this model", ""),
    ("Prompt is too large", ""),
    ("context window exceeded", ""),
    ("The context limit was reached", ""),
    ("max_tokens must be at least 1, got -1234.", ""),
    ("max_completion_tokens must be at least 1, got -1", ""),
    ("Invalid value for max_tokens: -37", ""),
]


@pytest.mark.parametrize(("sentence", "numbers"), MEANT)
def test_an_overflow_is_recognized_by_its_meaning(sentence: str, numbers: str) -> None:
    message = f"prompt is too long: {numbers}" if numbers else "prompt is too long"
    for body in ({"error": {"message": sentence, "type": "invalid_request_error"}}, {"detail": sentence}):
        for status in (400, 413, 422, 500):
            error = of(body, status)
            assert (error.kind, error.status, error.message) == ("context_overflow", 400, message)
        inside = failure.find_error(body)
        assert inside is not None and (inside.kind, inside.message) == ("context_overflow", message)


@pytest.mark.parametrize(
    "sentence",
    [
        "This request would exceed your organization's rate limit of 40,000 input tokens per minute",
        "Your input tokens exceed the configured limit of 30000 tokens per minute",
        "The prompt of 5000 tokens exceeds the limit of 4096 tokens per day",
        "Too many tokens per day",
        "Rate limit reached: prompt tokens exceed the maximum of 10000 TPM",
        "You have exceeded your token quota: context tokens 5000 > 4096",
        "maximum context length is 4096 tokens/min",
        "Input exceeds the rate-limit of the context window",
    ],
)
def test_a_rate_limit_that_mentions_tokens_is_no_overflow(sentence: str) -> None:
    error = of({"error": {"message": sentence}}, 429)
    assert (error.kind, error.status) == ("rate_limit", 429)
    inside = failure.find_error({"error": {"message": sentence, "code": 429}})
    assert inside is not None and inside.kind == "rate_limit"
    assert of({"error": {"message": sentence}}, 400).kind != "context_overflow"


@pytest.mark.parametrize(
    "sentence",
    [
        "temperature: Input should be less than or equal to 2",
        "max_tokens 5000 exceeds the maximum of 4096 output tokens for this request",
        "Your request of 5000 output tokens exceeds the maximum of 4096",
        "prompt_cache_key: string too long, maximum length 64",
        "Prompt cache key exceeds the maximum length of 64",
        "messages[3].tool_call_id is too long, at most 40 are allowed",
        "messages.0.content.0.image.source: the image exceeds 5 MB maximum: 6000000 bytes > 5242880 bytes",
        "The request body of 50 MB exceeds the maximum of 32 MB",
        "messages: at most 100 items, got 200",
        "max_tokens must be -1 (no limit) or greater than 0",
        "Token limit reached",
        "context canceled",
        "Invalid input: expected a string",
    ],
)
def test_what_is_no_overflow(sentence: str) -> None:
    assert of({"error": {"message": sentence}}).kind != "context_overflow"


# -- errors inside a 200 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"choices": [], "usage": {"total_tokens": 3}},
        {"choices": [{"delta": {}}], "code": 17, "message": "x"},
        {"error": None, "id": "x"},
        {"error": {}, "choices": []},
        {"base_resp": {"status_code": 0, "status_msg": "success"}},
        {"base_resp": "odd"},
        {"code": 0, "message": "ok"},
        {"code": 200, "message": "success"},
        {"code": "17"},
        {"message": {"role": "assistant"}},
        {"type": "response.created", "response": {"error": None}},
        {"detail": None},
    ],
)
def test_no_error_inside(payload: dict[str, Any]) -> None:
    assert failure.find_error(payload) is None


@pytest.mark.parametrize(
    ("payload", "kind", "status"),
    [
        ({"error": {"message": "m", "code": 429}}, "rate_limit", 429),
        ({"error": {"message": "m", "code": "500"}}, "api", 500),
        ({"error": {"message": "m", "code": 504}}, "timeout", 504),
        ({"error": {"message": "m", "code": 502}}, "upstream", 502),
        ({"error": {"message": "m", "code": 503}}, "overloaded", 529),
        ({"error": {"message": "m", "type": "server_error"}}, "api", 500),
        ({"error": "m"}, "api", 500),
        ({"error": True}, "api", 500),
        ({"error": {"message": "maximum context length is 5 tokens"}}, "context_overflow", 400),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "overloaded", 529),
        ({"type": "error", "error": {"type": "invalid_request_error", "message": "m"}}, "invalid_request", 400),
        ({"type": "error", "error": {"type": "permission_error", "message": "m"}}, "permission", 403),
        ({"type": "error", "error": {"type": "not_found_error", "message": "m"}}, "not_found", 404),
        ({"type": "error", "error": {"type": "request_too_large", "message": "m"}}, "request_too_large", 413),
        ({"type": "error", "error": {"type": "timeout_error", "message": "m"}}, "timeout", 504),
        ({"type": "error", "error": {"type": "billing_error", "message": "m"}}, "billing", 402),
        ({"type": "error", "error": {"type": "authentication_error", "message": "m"}}, "authentication", 401),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "m", "param": None}, "rate_limit", 429),
        ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "m"}}}, "api", 500),
        ({"object": "error", "message": "m", "code": 400}, "invalid_request", 400),
        ({"detail": "m"}, "api", 500),
        ({"success": False, "message": "m"}, "api", 500),
        ({"code": 50508, "message": "System is too busy now", "data": None}, "overloaded", 529),
        ({"choices": None, "code": 17, "msg": "m"}, "api", 500),
        (
            {
                "choices": None,
                "base_resp": {"status_code": 2061, "status_msg": "your current token plan not support model"},
            },
            "permission",
            403,
        ),
        (
            {"base_resp": {"status_code": 2013, "status_msg": "invalid params, context window exceeds limit"}},
            "context_overflow",
            400,
        ),
        ({"base_resp": {"status_code": 1008, "status_msg": "m"}}, "billing", 402),
        ({"base_resp": {"status_code": 1002, "status_msg": "m"}}, "rate_limit", 429),
        ({"base_resp": {"status_code": "odd"}}, "invalid_request", 400),
    ],
)
def test_an_error_inside(payload: dict[str, Any], kind: str, status: int) -> None:
    error = failure.find_error(payload)
    assert error is not None
    assert (error.kind, error.status) == (kind, status)


def test_an_error_inside_tells_the_wait_and_the_provider() -> None:
    error = failure.find_error(
        {"error": {"message": "Rate limit, try again in 6s", "code": 429}}, Peer(provider="groq")
    )
    assert error is not None
    assert (error.retry_after, error.message) == (6, "groq: Rate limit, try again in 6s")
    unknown = failure.find_error({"error": {"code": "odd"}}, Peer(provider="groq"))
    assert unknown is not None
    assert (
        unknown.message
        == "groq reported an error without saying which (odd). Try again. If it fails again, check the server's log."
    )
    key = failure.find_error(
        {"error": {"code": "invalid_api_key", "message": "sk-abc is wrong"}}, Peer(provider="groq")
    )
    assert key is not None
    assert key.message.startswith("groq refused the API key. ")


# -- transport ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("connect", "upstream"),
        ("dns", "upstream"),
        ("tls", "upstream"),
        ("not_tls", "upstream"),
        ("timeout_connect", "timeout"),
        ("timeout_first_byte", "timeout"),
        ("timeout_idle", "timeout"),
        ("timeout_contentless", "timeout"),
        ("timeout_total", "timeout"),
        ("broken", "upstream"),
        ("cut", "upstream"),
        ("anything else", "upstream"),
    ],
)
def test_transport(kind: str, expected: str) -> None:
    error = failure.transport_error(kind, "refused by https://u:p@host/x?key=1 with sk-abc.", Peer(address="acme"))
    assert error.kind == expected
    assert "acme" in error.message
    assert "refused by https://host/x with …" in error.message
    assert not re.search(r"key=1|sk-abc|u:p", error.message)
    assert error.should_retry is (False if kind in ("tls", "not_tls") else None)
    assert error.message.endswith(".") and error.message.count(". ") >= 1, "what to do is missing"


def test_transport_knows_little() -> None:
    assert failure.transport_error("cut", "").message == (
        "the upstream closed the stream early: the cause is unknown. Try again. If it fails again, check the server's log."
    )


# -- whatever comes ----------------------------------------------------------------------------------------------------

KEYS = st.from_regex(r"(sk|gsk|xai|csk|nvapi|pplx)[-_][A-Za-z0-9]{8,40}", fullmatch=True) | st.from_regex(
    r"(AIza|ghp_|eyJ)[A-Za-z0-9_-]{8,40}", fullmatch=True
)
WORDS = st.sampled_from(
    [rule.text.pattern[:60] for rule in verdict.rules() if rule.text]
    + [
        "prompt is too long: 9 tokens > 3 maximum",
        "x-api-key",
        "maximum context length is 7 tokens",
        "max_tokens: 9 > 3, which is the maximum",
    ]
)
TEXTS = st.text(max_size=60) | WORDS | st.builds(lambda a, b: f"{a} {b}", WORDS, st.text(max_size=30))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "code",
                    "type",
                    "param",
                    "detail",
                    "loc",
                    "msg",
                    "metadata",
                    "raw",
                    "headers",
                    "status",
                    "base_resp",
                    "status_code",
                    "choices",
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "retry-after",
            "retry-after-ms",
            "date",
            "x-ratelimit-reset",
            "x-ratelimit-remaining-a",
            "x-ratelimit-reset-a",
            "x-should-retry",
        ]
    ),
    st.text(max_size=30)
    | st.sampled_from(["7", "0", "Sun, 06 Nov 1994 08:49:37 GMT", "1754667660000", "6m0s", "true"]),
)
STATUSES = st.integers(-5, 1100) | st.sampled_from([400, 401, 402, 403, 404, 413, 422, 429, 500, 503])
OVERFLOW = re.compile(
    r"prompt is too long|maximum context length|context_length_exceeded|reduce the length of the messages",
    re.IGNORECASE,
)


def check(error: ApiError) -> None:
    assert error.kind in KINDS
    assert 400 <= error.status < 600
    assert len(error.message) <= scrub.LIMIT
    assert error.message
    assert "x-api-key" not in error.message.lower()
    assert OVERFLOW.search(error.message) is None or error.kind in ("context_overflow", "max_tokens")
    assert error.retry_after is None or 0 <= error.retry_after <= waiting.LONGEST
    assert error.limit >= 0
    error.headers()
    assert orjson.loads(error.body("req_1"))["error"]["message"] == error.message


@given(
    STATUSES,
    HEADERS,
    st.binary(max_size=300) | JSON.map(orjson.dumps),
    st.sampled_from(["", "openai", "azure", "cerebras"]),
)
def test_read_raises_on_nothing(status: int, headers: dict[str, str], data: bytes, provider: str) -> None:
    check(failure.read(status, headers, data, Peer(provider=provider)))


@given(JSON.map(orjson.dumps), st.integers(0, 400))
def test_read_raises_on_no_cut(data: bytes, length: int) -> None:
    check(failure.read(400, {}, data[:length]))


@given(
    st.dictionaries(
        st.sampled_from(["error", "base_resp", "choices", "type", "code", "message", "detail"]), JSON, max_size=5
    )
)
def test_inside_raises_on_nothing(payload: dict[str, Any]) -> None:
    error = failure.find_error(payload)
    if error is not None:
        check(error)


@given(KEYS, STATUSES, TEXTS, TEXTS, st.sampled_from(["message", "code", "param", "type", "detail"]))
def test_no_planted_key_gets_out(key: str, status: int, before: str, after: str, place: str) -> None:
    body = {"error": {"message": "refused", place: f"{before} {key} {after}"}, "detail": f"{before}\n{key}"}
    for data in (orjson.dumps(body), f"{before} {key}".encode(), orjson.dumps(body)[:-9]):
        assert key not in failure.read(status, {}, data, Peer(provider="acme")).message
    assert key not in failure.transport_error("connect", f"{before} {key} {after}", Peer(address="acme")).message


@given(st.text(alphabet="abcdefgh123*!", min_size=4, max_size=20), TEXTS)
def test_no_known_secret_gets_out(secret: str, text: str) -> None:
    message = failure.read(
        400, {}, orjson.dumps({"error": {"message": f"{text} {secret}"}}), Peer(secrets=(secret,))
    ).message
    assert secret not in message or secret in failure.read(400, {}, orjson.dumps({"error": {"message": text}})).message


def test_a_gigabyte_is_not_read() -> None:
    error = failure.read(400, {}, b'{"error":{"message":"bad"},"echo":"' + b"A" * 50_000_000)
    assert error.message == "bad"


# -- docs --------------------------------------------------------------------------------------------------------------


def test_the_docs_list_each_kind_with_its_status_and_type() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| `(\w+)` \| (yes|no) \|", DOCS.read_text("utf-8"), re.MULTILINE)
    assert {name: (int(status), type_, again == "yes") for name, status, type_, again in rows} == {
        name: (kind.status, kind.type, kind.retryable) for name, kind in KINDS.items()
    }


@pytest.mark.parametrize(
    ("details", "is_kept"),
    [
        ({"error_code": "thread_not_found"}, True),
        ({"error_code": "other", "hint": "thread_not_found"}, False),
        ({"hint": "thread_not_found"}, False),
        ("thread_not_found", False),
    ],
)
def test_an_error_about_a_thread_keeps_the_details_by_which_the_sdks_recover(details: Any, is_kept: bool) -> None:
    error = of({"error": {"type": "invalid_request_error", "message": "No.", "details": details}}, 404)
    assert (error.details == details and error.should_retry is False) is is_kept
