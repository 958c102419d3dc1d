"""The API key: asked for when the service does, kept for the visit, never in an address."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.service import Script, tone

KEY = "ws_live_0123456789abcdef"


@pytest.fixture
def script() -> Script:
    return Script(key=KEY)


@pytest.fixture
def page(new_page: Callable[..., Page], service: str) -> Page:
    """The page of a service that asks for a key."""
    page = new_page()
    page.goto(service)
    page.wait_for_selector("#service-dot[data-state=locked]")
    return page


def give_key(page: Page, key: str = KEY) -> None:
    page.get_by_label("API key", exact=True).fill(key)
    page.keyboard.press("Enter")


def unlock(page: Page) -> None:
    give_key(page)
    page.wait_for_selector("#service-dot[data-state=ready]")
    expect(page.get_by_label("API key", exact=True)).to_be_hidden()


def test_both_tabs_work_with_a_key_and_no_address_holds_it(page: Page, script: Script) -> None:
    unlock(page)
    page.get_by_role("button", name="Try the sample").click()
    page.wait_for_selector("#live-dot[data-state=done]")
    page.get_by_role("tab", name="File Upload").click()
    file = {"name": "a.wav", "mimeType": "audio/wav", "buffer": tone(3)}
    page.locator("#files").set_input_files([file])
    expect(page.locator(".item-head p")).to_have_text("0:03 · 7 words")
    assert len(script.tokens) == len(script.streams) == 1
    assert "/stream?" in script.addresses
    assert not [a for a in script.addresses if KEY in a or script.tokens[0] in a]


@pytest.mark.parametrize("wrong", ["ws_live_old", "nøt å key"])
def test_a_wrong_key_is_told_and_another_can_be_given(page: Page, wrong: str) -> None:
    give_key(page, wrong)
    expect(page.get_by_role("alert")).to_contain_text("does not take this key")
    unlock(page)


def test_the_key_is_kept_for_the_visit_only(page: Page) -> None:
    unlock(page)
    page.reload()
    page.wait_for_selector("#service-dot[data-state=ready]")
    stored = page.evaluate("[JSON.stringify(localStorage), JSON.stringify(sessionStorage)]")
    assert KEY not in stored[0]
    assert list(json.loads(stored[1]).values()) == [KEY]
    page.get_by_role("button", name="Forget the API key").click()
    page.wait_for_selector("#service-dot[data-state=locked]")
    assert page.evaluate("sessionStorage.length") == 0


def test_each_socket_gets_a_token_of_its_own(page: Page, script: Script) -> None:
    unlock(page)
    script.break_at = 0.7
    page.get_by_role("button", name="Start").click()
    page.locator("#live-finals .row").nth(2).wait_for(state="attached")
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("#live-dot[data-state=done]")
    assert len(script.streams) == len(script.tokens) == 2


def test_a_key_withdrawn_in_mid_stream_is_asked_for_again(page: Page, script: Script) -> None:
    unlock(page)
    page.get_by_role("button", name="Start").click()
    page.locator("#live-finals .row").first.wait_for(state="attached")
    script.key = "ws_live_new"
    script.break_at = 0.1
    expect(page.locator("#live-error")).to_contain_text("Enter one at the top of the page")
    expect(page.get_by_label("API key", exact=True)).to_be_visible()
    assert page.locator("#live-finals .row").count() > 0


def test_a_service_that_began_to_ask_for_keys_is_understood(
    new_page: Callable[..., Page], service: str, script: Script
) -> None:
    script.key = None
    page = new_page()
    page.goto(service)
    page.wait_for_selector("#service-dot[data-state=ready]")
    script.key = KEY
    page.get_by_role("button", name="Try the sample").click()
    expect(page.locator("#live-error")).to_contain_text("asks for an API key")
    unlock(page)
    page.get_by_role("button", name="Try the sample").click()
    page.wait_for_selector("#live-dot[data-state=done]")
