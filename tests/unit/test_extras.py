"""What is told when an optional dependency is not there."""

from __future__ import annotations

import sys

import pytest

from fedguard.cli import main


def test_a_missing_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("fedguard_simulations")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fedguard_simulations", None)
    monkeypatch.setattr("sys.argv", ["fedguard", "simulate", "backdoor"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "pip install 'fedguard[simulation]'" in capsys.readouterr().err
