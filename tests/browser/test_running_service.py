"""The page and /docs with everything real: service, model, Ray, and a voice in the microphone."""

import pytest
from playwright.sync_api import Page, expect

from tests.end_to_end import spoken
from tests.end_to_end.service import Service

pytestmark = pytest.mark.ray


def test_what_is_said_into_the_microphone_is_read_on_the_page(
    listening_page: Page, running_service: Service
) -> None:
    listening_page.goto(running_service.http)
    listening_page.wait_for_selector("#service-dot[data-state=ready]")
    listening_page.locator("#start").click()
    expect(listening_page.locator("#live-finals")).to_contain_text("zero one two three")
    listening_page.locator("#start").click()
    listening_page.wait_for_selector("#live-dot[data-state=done]")


def test_uploaded_files_are_read_on_the_page(
    listening_page: Page, running_service: Service
) -> None:
    listening_page.goto(running_service.http)
    listening_page.wait_for_selector("#service-dot[data-state=ready]")
    listening_page.get_by_role("tab", name="File Upload").click()
    listening_page.locator("#files").set_input_files(
        [spoken.path("english"), spoken.path("spanish")]
    )
    files = listening_page.locator("#queue > li")
    english, spanish = files.nth(0), files.nth(1)
    for word in spoken.spoken_words("english"):
        expect(english).to_contain_text(word)
    for word in spoken.spoken_words("spanish"):
        expect(spanish).to_contain_text(word)


def test_a_request_tried_out_from_the_docs_is_answered(
    listening_page: Page, running_service: Service
) -> None:
    listening_page.goto(f"{running_service.http}/docs")
    listening_page.locator(".opblock-summary", has_text="/transcribe").click()
    listening_page.get_by_role("button", name="Try it out").click()
    listening_page.locator("input[type=file]").set_input_files(spoken.path("english"))
    listening_page.get_by_role("button", name="Execute").click()
    answer = listening_page.locator(".live-responses-table .response .microlight").first
    expect(answer).to_contain_text("zero one two three")
