"""A page on plain http, not on localhost: no microphone and no worklet, but all the rest."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.browser.conftest import FLAGS, PATIENCE_MS, find_browser
from tests.browser.service import Script, tone
from tests.browser.test_trouble import expect_trouble, start

HOST = "whisper.example"


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Knows the service by a name that is not localhost."""
    flags = [*FLAGS, f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]
    browser = playwright.chromium.launch(executable_path=find_browser(), args=flags)
    yield browser
    browser.close()


@pytest.fixture
def page(new_page: Callable[..., Page], service: str) -> Page:
    page = new_page()
    page.goto(service.replace("localhost", HOST))
    page.wait_for_selector("#service-dot[data-state=ready]")
    assert not page.evaluate("isSecureContext")
    return page


def test_it_says_at_once_why_there_is_no_microphone(page: Page) -> None:
    words = page.locator("#live-insecure")
    expect(words).to_contain_text("No microphone here")
    expect(words).to_contain_text(f"this is http://{HOST}")
    start(page)
    expect_trouble(page, "only on https pages and on localhost", "sample can be heard here")


def test_the_sample_plays(page: Page, script: Script) -> None:
    page.get_by_role("button", name="Try the sample").locator("visible=true").click()
    page.wait_for_selector("#live-dot[data-state=done]", timeout=2 * PATIENCE_MS)
    stream = script.streams[0]
    assert stream.seconds == pytest.approx(1.5, abs=0.3)
    assert stream.loudness > 0.1
    assert page.locator("#live-finals .row").count() >= 2


def test_a_file_plays_pauses_and_ends(page: Page, script: Script) -> None:
    file = {"name": "a.wav", "mimeType": "audio/wav", "buffer": tone(20)}
    page.locator("#live-file").set_input_files([file])
    page.wait_for_selector("#live-finals .row")
    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector("#live-dot[data-state=paused]")
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("#live-dot[data-state=done]")
    assert script.streams[0].messages


def test_a_secure_page_says_nothing_of_it(new_page: Callable[..., Page], service: str) -> None:
    page = new_page()
    page.goto(service)
    page.wait_for_selector("#service-dot[data-state=ready]")
    expect(page.locator("#live-insecure")).to_be_hidden()
