"""Rules, alerts, routes and runbooks, checked by Prometheus's and Alertmanager's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitoring_files import FILES

RULES = FILES / "prometheus" / "fedguard.rules.yml"
ALERTMANAGER = FILES / "alertmanager" / "alertmanager.yml"
TESTS = Path(__file__).parents[1] / "monitoring" / "fedguard.test.yml"
DOCS = Path(__file__).parents[2] / "docs"
HEADINGS = ["Confirm", "Contain", "Roll back", "Learn"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


def ran(*command: str, cwd: Path | None = None) -> str:
    if not shutil.which(command[0]):
        pytest.skip("needs Debian's packages prometheus and prometheus-alertmanager")
    told = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def test_rules_hold_on_made_up_series(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(TESTS, tmp_path)
    assert "SUCCESS" in ran("promtool", "test", "rules", TESTS.name, cwd=tmp_path)


def test_the_configurations_are_accepted() -> None:
    ran("promtool", "check", "config", str(FILES / "prometheus" / "prometheus.yml"))
    ran("amtool", "check-config", str(ALERTMANAGER))


def test_every_alert_is_tried_firing_and_not_firing() -> None:
    tests = yaml.safe_load(TESTS.read_text(encoding="utf8"))["tests"]
    tried = [case for test in tests for case in test.get("alert_rule_test", ())]
    names = {rule["alert"] for rule in ALERTS}
    assert {case["alertname"] for case in tried if case["exp_alerts"]} == names
    assert {case["alertname"] for case in tried if not case["exp_alerts"]} == names


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_tells_whoever_gets_it_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["labels"]["service"] == "fedguard"
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    book = DOCS.parent / alert["annotations"]["runbook_url"]
    text = book.read_text(encoding="utf8")
    assert alert["alert"] in text.splitlines()[0]
    assert "**Symptom.**" in text
    assert re.findall(r"^## (.*)$", text, re.M) == HEADINGS
    confirm = text.split("## Confirm")[1].split("## ")[0]
    assert "```bash" in confirm


def test_no_runbook_is_left_over() -> None:
    told = {Path(rule["annotations"]["runbook_url"]).name for rule in ALERTS}
    assert {path.name for path in (DOCS / "runbooks").glob("*.md")} == told


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: rule["alert"])
def test_pages_wake_somebody_and_tickets_do_not(alert: dict[str, Any]) -> None:
    severity = alert["labels"]["severity"]
    labels = [f"alertname={alert['alert']}", f"severity={severity}", "service=fedguard"]
    where = f"--config.file={ALERTMANAGER}"
    told = ran("amtool", "config", "routes", "test", where, *labels).strip()
    assert told == {"page": "pager", "ticket": "tickets"}[severity]
