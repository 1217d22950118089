"""What people are shown of a deployment: the form, and that nothing else gets in."""

from __future__ import annotations

from dataclasses import replace

from a2py.deployment import Deployment
from a2py.evidence.explain import explain
from a2py.evidence.fact import Fact
from a2py.evidence.message import ServerReport
from a2py.evidence.server import ListedModel, ServerWord

BASE = "http://10.0.0.5:8000/v1"
DEPLOYMENT = Deployment("n", "i", "openai", "m", BASE, key="sk-secret")
VLLM = ServerWord("vLLM", "hosted_vllm", version="0.11", models=(ListedModel("m", 40960),), reason="owned_by: vllm")


def test_a_server_that_said_nothing_has_no_entry_and_an_unknown_context_neither() -> None:
    assert explain(DEPLOYMENT, {}, None, ()).keys() == {"quirks"}
    assert explain(DEPLOYMENT, {}, ServerReport(BASE, ServerWord(), "2026-11-01"), ()).keys() == {"quirks"}


def test_what_the_server_said_is_shown_with_its_date() -> None:
    explanation = explain(replace(DEPLOYMENT, max_input_tokens=40960), {}, ServerReport(BASE, VLLM, "2026-11-01"), ())
    assert explanation["server"] == {
        "program": "vLLM",
        "version": "0.11",
        "reason": "owned_by: vllm",
        "date": "2026-11-01",
    }
    assert explanation["context"] == 40960
    assert explanation["quirks"]["tokenizer"]["value"] == "vllm"
    assert "sk-secret" not in str(explanation) and "10.0.0.5" not in str(explanation)


def test_what_was_learned_is_shown_if_it_is_a_quirk() -> None:
    facts = [
        ("native_drop", Fact(frozenset({"b", "a"}), "refusal", "it said so", "2026-11-02")),
        ("no_quirk", Fact(1, "reply", "")),
    ]
    quirks = explain(DEPLOYMENT, {}, None, facts)["quirks"]
    assert quirks["native_drop"] == {
        "value": ["a", "b"],
        "source": "refusal",
        "reason": "it said so",
        "date": "2026-11-02",
    }
    assert "no_quirk" not in quirks


def test_what_comes_from_the_tables_has_no_date() -> None:
    quirks = explain(Deployment("n", "i", "ollama", "m", "http://localhost:11434/v1"), {}, None, ())["quirks"]
    assert quirks and all("date" not in quirk for quirk in quirks.values())


def test_the_slots_of_a_server_are_shown() -> None:
    assert explain(replace(DEPLOYMENT, slots=4), {}, None, ())["slots"] == 4
