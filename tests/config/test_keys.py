"""keys.yaml: its fields, and what is said about a mistake."""

from __future__ import annotations

from datetime import datetime, timezone
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.budget import Budget
from a2py.caller import Caller
from a2py.config import ConfigError
from a2py.config.keys import MAX_KEYS, Key, parse_expiry, parse_keys

A, B = sha256(b"sk-a").hexdigest(), sha256(b"sk-b").hexdigest()


def parse(text: str) -> tuple[Key, ...]:
    return parse_keys(text.encode(), "keys.yaml")


def test_all_fields_of_a_key() -> None:
    text = f"""
# our keys
keys:
  alice:   # the first
    sha256: {A}
    models: [gpt-5, "claude-*"]
    rpm: 60
    tpm: 100000
    max_parallel: 4
    budget: 20/day
    expires: 2027-01-31
    admin: true
    created: 2026-11-30T10:00:00Z
    team: research
  007:
    sha256: {B.upper()}
    models: a, b
    revoked: 2026-11-30T12:00:00Z
note: of the user's own
"""
    expires = datetime(2027, 2, 1, tzinfo=timezone.utc).timestamp()
    alice = Caller("alice", True, ("gpt-5", "claude-*"), 60, 100_000, 4, Budget(20.0, "day"), expires)
    assert parse(text) == (
        Key(alice, bytes.fromhex(A)),
        Key(Caller("007", models=("a", "b")), bytes.fromhex(B), is_revoked=True),
    )


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "keys:\n", "keys: {}\n"])
def test_a_file_without_keys(text: str) -> None:
    assert parse(text) == ()


@pytest.mark.parametrize(
    ("value", "is_revoked"), [("true", True), ("false", False), ("no", False), ("2026-11-30", True)]
)
def test_a_key_is_revoked_by_a_date_or_true(value: str, is_revoked: bool) -> None:
    (key,) = parse(f"keys:\n  a:\n    sha256: {A}\n    revoked: {value}\n")
    assert key.is_revoked is is_revoked


def one(field: str, name: str = "a") -> str:
    return f"keys:\n  {name}:\n    sha256: {A}\n    {field}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key:\n  a: {}\n", "keys.yaml:1: the file has no `keys`. Begin with `keys:`."),
        ("- a\n", "keys.yaml:1: the file has no `keys`. Begin with `keys:`."),
        ("keys: [a]\n", "keys.yaml:1: `keys` must be a mapping, got a list. Write one `NAME:` a line, indented,"),
        (
            "keys:\n  a: sk-1\n",
            "keys.yaml:2: `keys.a` must be a mapping, got text. Make a key with `a2py keys new NAME`.",
        ),
        ("keys:\n  a:\n    rpm: 1\n", "keys.yaml:3: `keys.a` has no `sha256`. Make a key with"),
        ("keys:\n  a:\n    sha256: sk-a\n", "keys.yaml:3: `keys.a.sha256` must be 64 hexadecimal digits. Make a key"),
        (one("models: []"), "keys.yaml:4: `keys.a.models` must name a model. Write `models: [name, other-*]`, or"),
        (one("models:"), "keys.yaml:4: `keys.a.models` has no value. Write one, or remove the line."),
        (one("rpm: 0"), "keys.yaml:4: `keys.a.rpm` must be a whole number of at least 1, got 0."),
        (one("tpm: many"), "keys.yaml:4: `keys.a.tpm` must be a whole number"),
        (one("max_parallel: 1.5"), "keys.yaml:4: `keys.a.max_parallel` must be a whole number"),
        (one("budget: 20/year"), "keys.yaml:4: `keys.a.budget` must be an amount and a period. Write US dollars and a"),
        (one("expires: soon"), "keys.yaml:4: `keys.a.expires` must be a date. Write a date like 2027-01-31 ("),
        (one("admin: perhaps"), "keys.yaml:4: `keys.a.admin` must be"),
        (one("rpm: 1", "master"), "keys.yaml:2: `keys.'master'` is the name of the master key. Write another name."),
        (one("rpm: 1", '"a b"'), "keys.yaml:2: `keys.'a b'` must be a name: letters, digits and"),
        (one("rpm: 1", '"\\e[31m"'), "keys.yaml:2: `keys.text` must be a name: letters, digits and"),
        (
            one(f"rpm: 1\n  b:\n    sha256: {A}"),
            "keys.yaml:6: `keys.b.sha256` is the same key as `a`. Remove one of them.",
        ),
        (one(f"rpm: 1\n  a:\n    sha256: {B}"), "keys.yaml:5: the key `a` is written twice. Remove one."),
        (one("rpm: 1\n    rpm: 2"), "keys.yaml:5: the key `rpm` is written twice. Remove one."),
        ("keys:\n\ta: 1\n", "keys.yaml:2: not valid YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as excinfo:
        parse(text)
    assert str(excinfo.value).startswith(message)
    assert "sk-1" not in str(excinfo.value), "what was written by mistake may be a key"


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("model", "models"),
        ("Models", "models"),
        ("max-parallel", "max_parallel"),
        ("max_parallel_requests", "max_parallel"),
        ("max_budget", "budget"),
        ("rpm_limit", "rpm"),
        ("tpm_limit", "tpm"),
        ("expire", "expires"),
        ("revoke", "revoked"),
        ("blocked", "revoked"),
    ],
)
def test_a_limit_with_a_wrong_name_is_no_field_of_the_users_own(field: str, meant: str) -> None:
    with pytest.raises(ConfigError) as excinfo:
        parse(f"keys:\n  a:\n    sha256: {A}\n    {field}: 1\n")
    assert str(excinfo.value) == f"keys.yaml:4: `keys.a.{field!r}` is unknown. Did you mean `{meant}`?"


@pytest.mark.parametrize("field", ["team", "note", "owner", "email", "created", "rotated", "mode", "cost_center", "id"])
def test_fields_of_the_users_own_are_ignored(field: str) -> None:
    assert parse(f"keys:\n  a:\n    sha256: {A}\n    {field}: 1\n") == parse(f"keys: {{a: {{sha256: {A}}}}}")


def test_there_are_only_so_many_keys() -> None:
    text = "keys:\n" + "".join(f"  k{n}: {{sha256: {n:064x}}}\n" for n in range(MAX_KEYS + 1))
    with pytest.raises(ConfigError, match=f"more than {MAX_KEYS} keys"):
        parse(text)
    assert len(parse(text[: text.rindex("  k")])) == MAX_KEYS


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-31", "2027-02-01T00:00:00+00:00"),
        ("2027-12-31", "2028-01-01T00:00:00+00:00"),
        ("2027-01-31T12:00", "2027-01-31T12:00:00+00:00"),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00+00:00"),
        ("2027-01-31 12:00+02:00", "2027-01-31T10:00:00+00:00"),
    ],
)
def test_a_key_expires_with_its_day_or_at_a_time(text: str, moment: str) -> None:
    assert parse_expiry(text) == datetime.fromisoformat(moment).timestamp()


@pytest.mark.parametrize("text", ["1969-12-31", "1970-01-01T00:00:00Z", "1960-01-01"])
def test_the_first_moment_of_all_is_not_never(text: str) -> None:
    (key,) = parse(one(f"expires: {text}"))
    assert key.caller.is_expired(2.0)


@pytest.mark.parametrize("text", ["", "31.1.2027", "2027-02-30", "9999-12-31", "tomorrow"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write a date like"):
        parse_expiry(text)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_read_or_refused(name: str, value: str) -> None:
    for text in (value, f"keys:\n  {name}:\n    sha256: {value}\n", one(f"{name}: {value}")):
        try:
            parse(text)
        except ConfigError as error:
            assert str(error).isprintable() or "\n" not in str(error)
