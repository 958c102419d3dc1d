"""The page and /docs with everything real: service, model, Ray, and a voice in the microphone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS
from tests.end_to_end import spoken
from tests.end_to_end.service import Service

pytestmark = pytest.mark.ray


@pytest.fixture
def page(listening_chromium: Browser) -> Iterator[Page]:
    context = listening_chromium.new_context(permissions=["microphone"])
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    context.close()


def test_what_is_said_into_the_microphone_is_read_on_the_page(
    page: Page, running_service: Service
) -> None:
    page.goto(running_service.http)
    page.wait_for_selector("#service-dot[data-state=ready]")
    page.locator("#start").click()
    expect(page.locator("#live-finals")).to_contain_text("zero one two three")
    page.locator("#start").click()
    page.wait_for_selector("#live-dot[data-state=done]")


def test_uploaded_files_are_read_on_the_page(page: Page, running_service: Service) -> None:
    page.goto(running_service.http)
    page.wait_for_selector("#service-dot[data-state=ready]")
    page.get_by_role("tab", name="File Upload").click()
    page.locator("#files").set_input_files([spoken.path("english"), spoken.path("spanish")])
    files = page.locator("#queue > li")
    english, spanish = files.nth(0), files.nth(1)
    for word in spoken.spoken_words("english"):
        expect(english).to_contain_text(word)
    for word in spoken.spoken_words("spanish"):
        expect(spanish).to_contain_text(word)


def test_a_request_tried_out_from_the_docs_is_answered(
    page: Page, running_service: Service
) -> None:
    page.goto(f"{running_service.http}/docs")
    page.locator(".opblock-summary", has_text="/transcribe").click()
    page.get_by_role("button", name="Try it out").click()
    page.locator("input[type=file]").set_input_files(spoken.path("english"))
    page.get_by_role("button", name="Execute").click()
    answer = page.locator(".live-responses-table .response .microlight").first
    expect(answer).to_contain_text("zero one two three")
