"""The page with the service itself: headers, protocol, plans. Only the decoder is scripted."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.api.fakes import FakeDecoder, say
from tests.browser.service import PAGE, serve
from whisper_service.api.app import create_app
from whisper_service.settings import Settings
from whisper_service.types import SAMPLE_RATE


@pytest.fixture
def decoder() -> FakeDecoder:
    decoder = FakeDecoder()
    decoder.answer = lambda job: say(job, " heard")
    return decoder


@pytest.fixture
def url(decoder: FakeDecoder) -> Iterator[str]:
    with serve(create_app(Settings(resume_key="a key for tests"), decoder)) as url:
        yield url


@pytest.mark.parametrize("is_from_disk", [False, True], ids=["served", "from disk"])
def test_both_tabs_speak_the_protocol(
    new_page: Callable[..., Page], url: str, decoder: FakeDecoder, *, is_from_disk: bool
) -> None:
    page = new_page()
    page.goto(PAGE.as_uri() if is_from_disk else url)
    if is_from_disk:
        page.get_by_label("Service address").fill(url)
        page.get_by_label("Service address").blur()
    page.wait_for_selector("#service-dot[data-state=ready]")

    page.get_by_role("button", name="Try the sample").click()
    page.wait_for_selector("#live-dot[data-state=done]")
    assert "heard" in (page.locator("#live-finals").text_content() or "")
    assert any(np.abs(job.audio).max() > 0.05 for job in decoder.jobs)

    page.get_by_role("tab", name="File Upload").click()
    page.get_by_role("button", name="Try the sample").locator("visible=true").click()
    expect(page.locator(".item-head p")).to_contain_text("English · 0:")
    assert len(decoder.jobs[-1].audio) > SAMPLE_RATE


def test_a_file_that_is_no_audio_is_refused_in_words(
    new_page: Callable[..., Page], url: str
) -> None:
    page = new_page()
    page.goto(url)
    page.get_by_role("tab", name="File Upload").click()
    text = {"name": "talk.wav", "mimeType": "audio/wav", "buffer": b"not audio at all " * 100}
    page.locator("#files").set_input_files([text])
    notice = page.locator(".item [role=alert]")
    expect(notice).to_contain_text("This is not audio or video that can be read")
