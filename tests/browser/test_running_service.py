"""The page and /docs with everything real: service, model, Ray, and a voice in the microphone."""

import pytest
from playwright.sync_api import Page, expect

from tests.end_to_end.service import Service
from tests.real import CLIPS
from whisper_service.api.page import SAMPLE

pytestmark = [pytest.mark.ray, pytest.mark.real]

PATIENCE_MS = 60_000
"""For words of `base` on a machine that is busy."""


def test_what_is_said_into_the_microphone_is_read_on_the_page(
    speech_page: Page, running_service: Service
) -> None:
    speech_page.goto(running_service.http)
    speech_page.wait_for_selector("#service-dot[data-state=ready]")
    speech_page.locator("#start").click()
    finals = speech_page.locator("#live-finals")
    words = "what your country can do for you"  # each final may begin a sentence
    expect(finals).to_contain_text(words, ignore_case=True, timeout=PATIENCE_MS)
    speech_page.locator("#start").click()
    speech_page.wait_for_selector("#live-dot[data-state=done]", timeout=PATIENCE_MS)


def test_uploaded_files_are_read_on_the_page(speech_page: Page, running_service: Service) -> None:
    speech_page.goto(running_service.http)
    speech_page.wait_for_selector("#service-dot[data-state=ready]")
    speech_page.get_by_role("tab", name="File Upload").click()
    clips = CLIPS["clean-2"], CLIPS["german-2"]
    speech_page.locator("#files").set_input_files([clip.path for clip in clips])
    english, german = (speech_page.locator("#queue > li").nth(n) for n in range(2))
    expect(english).to_contain_text("the tall boy in the bench behind", timeout=PATIENCE_MS)
    expect(german).to_contain_text("die Saison als Tabellenletzter", timeout=PATIENCE_MS)


def test_a_request_tried_out_from_the_docs_is_answered(
    speech_page: Page, running_service: Service
) -> None:
    speech_page.goto(f"{running_service.http}/docs")
    speech_page.locator(".opblock-summary", has_text="/transcribe").click()
    speech_page.get_by_role("button", name="Try it out").click()
    speech_page.locator("input[type=file]").set_input_files(SAMPLE)
    speech_page.get_by_role("button", name="Execute").click()
    answer = speech_page.locator(".live-responses-table .response .microlight").first
    expect(answer).to_contain_text("what your country can do for you", timeout=PATIENCE_MS)
