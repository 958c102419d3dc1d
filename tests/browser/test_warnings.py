"""What the service warns of in `GET /stats`, on the page."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.api.fakes import FakeDecoder
from tests.browser.service import PAGE, Script, serve
from whisper_service.api.app import create_app
from whisper_service.settings import Settings

KEY = "0123456789abcdef"


@pytest.mark.parametrize("is_from_disk", [False, True], ids=["served", "from disk"])
def test_a_service_open_to_everybody_says_so(
    new_page: Callable[..., Page], *, is_from_disk: bool
) -> None:
    page = new_page()
    with serve(create_app(Settings(host="0.0.0.0"), FakeDecoder())) as url:
        page.goto(PAGE.as_uri() if is_from_disk else url)
        if is_from_disk:
            page.get_by_label("Service address").fill(url)
            page.get_by_label("Service address").blur()
        notice = page.locator("#notices .notice")
        expect(notice).to_contain_text("Anybody who can reach this service can use it.")
        expect(notice).to_contain_text("WHISPER_API_KEYS")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"host": "0.0.0.0", "require_keys": "off"},
        {"host": "0.0.0.0", "api_keys": KEY},
    ],
    ids=["loopback", "open on purpose", "keys"],
)
def test_other_services_warn_of_nothing(
    new_page: Callable[..., Page], fields: dict[str, object]
) -> None:
    page = new_page()
    with serve(create_app(Settings(**fields), FakeDecoder())) as url:
        with page.expect_response("**/stats") as answered:
            page.goto(url)
            if "api_keys" in fields:
                page.get_by_label("API key", exact=True).fill(KEY)
                page.keyboard.press("Enter")
        answered.value.finished()
        page.wait_for_selector("#service-dot[data-state=ready]")
        expect(page.locator("#notices .notice")).to_have_count(0)


def test_a_service_without_a_real_model_says_why(
    new_page: Callable[..., Page], service: str, script: Script
) -> None:
    script.warnings = [{"code": "demo_fallback", "message": "`demo` answers. It knows 76 words."}]
    page = new_page()
    page.goto(service)
    notice = page.locator("#notices .notice")
    expect(notice).to_contain_text("cannot understand ordinary speech")
    expect(notice).to_contain_text("It knows 76 words.")


def test_the_warning_goes_when_the_service_asks_for_a_key(
    new_page: Callable[..., Page], service: str, script: Script
) -> None:
    script.warnings = [{"code": "open_access", "message": ""}]
    page = new_page()
    page.goto(service)
    expect(page.locator("#notices .notice")).to_have_count(1)
    script.key = KEY
    page.get_by_role("button", name="Try the sample").click()
    expect(page.get_by_label("API key", exact=True)).to_be_visible()
    expect(page.locator("#notices .notice")).to_have_count(0)


def test_a_warning_this_page_has_no_words_for_is_shown_in_the_services(
    new_page: Callable[..., Page], service: str, script: Script
) -> None:
    script.warnings = [{"code": "newer", "message": "The <b>disk</b> is nearly full."}]
    page = new_page()
    page.goto(service)
    expect(page.locator("#notices .notice")).to_have_text("The <b>disk</b> is nearly full.")
