# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""What a start refuses of keys.yaml, and `a2py config validate` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from a2py.cli import exits, main
from a2py.cli.keycheck import check_keys
from a2py.config import load
from tests.commands import nothing


def test_validate_names_what_a_start_refuses_of_the_keys(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = nothing / "a2py.yaml"
    file.write_text("model_list: [{model_name: gpt, litellm_params: {model: openai/x, api_key: k}}]\n")
    file.chmod(0o600)
    assert main(["keys", "new", "alice", "--budget", "5/day"]) == exits.OK
    assert main(["config", "validate"]) == exits.OK
    file.write_text(file.read_text() + "a2py: {ledger: false}\n")
    capsys.readouterr()
    assert main(["config", "validate"]) == exits.FAILED
    err = capsys.readouterr().err
    assert "the key alice has a budget, and no ledger is kept" in err and "Remove `a2py: ledger: false`" in err
    (nothing / "keys.yaml").write_text("keys: [")
    assert main(["config", "validate"]) == exits.FAILED
    assert "keys.yaml:" in capsys.readouterr().err


def test_whether_clients_need_a_key(nothing: Path) -> None:
    (nothing / "a2py.yaml").write_text("model_list: [{model_name: gpt, litellm_params: {model: openai/x}}]\n")
    assert not check_keys(load(None, {}, str(nothing))) and not check_keys(None)
    assert main(["keys", "new", "alice"]) == exits.OK
    assert check_keys(load(None, {}, str(nothing)))
