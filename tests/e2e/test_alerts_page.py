"""The alerts page in a real browser: what comes meanwhile appears by itself, and takes nothing away that is being typed."""

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import OpenPage
from tests.support.alert_rows import add_alert, add_rule
from tests.support.system import System

pytestmark = pytest.mark.browser


def test_a_new_alert_appears_and_what_is_typed_stays(web: System, open_page: OpenPage) -> None:
    with web.engine.begin() as connection:
        rule = add_rule(connection)
        first = add_alert(connection, None, rule_id=rule)
    page = open_page("/alerts")
    comment = page.locator(f"#comment-acknowledge-{first}")
    comment.fill("On my way, ten min")
    with web.engine.begin() as connection:
        second = add_alert(connection, None, severity=4, rule_id=rule, cause={"kind": "gateway", "gateway": "gw-03"})
    expect(page.locator(f"#alert-{second}")).to_contain_text("Gateway gw-03 offline", timeout=15_000)
    expect(comment).to_have_value("On my way, ten min")
    page.locator(f"#form-acknowledge-{first} button").click()
    expect(page.locator("[role=status]").last).to_contain_text("the alert is acknowledged")
    expect(page.locator(f"#alert-{first}")).to_have_attribute("data-state", "acknowledged")
    assert web.scalar("SELECT acknowledged_by FROM alerts WHERE id = :id", id=first) == "officer"
    expect(page.locator(".alert-card").first).to_have_attribute("id", f"alert-{second}")
