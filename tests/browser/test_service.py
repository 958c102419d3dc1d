"""The page with the service itself: headers, protocol, plans. Only the decoder is scripted."""

import itertools
import json
import re
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
    expect(page.locator(".item-head p")).to_have_text(re.compile(r"^0:\d\d · \d+ words$"))
    expect(page.locator(".item .tag")).to_have_text("English")
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


def test_a_stream_outlives_the_service_that_was_killed_and_started_again(
    new_page: Callable[..., Page], decoder: FakeDecoder
) -> None:
    settings = Settings(resume_key="a key for tests")
    page = new_page()
    finals = page.locator("#live-finals .row")
    with serve(create_app(settings, decoder)) as url:
        page.goto(url)
        page.get_by_label("Chunk duration").fill("1")
        page.get_by_label("Skip silence").uncheck()  # beeps are no speech
        page.get_by_role("button", name="Start").click()
        finals.first.wait_for(state="attached")
    expect(page.locator("#live-state")).to_contain_text("Your audio is kept")
    n_before = finals.count()
    with serve(create_app(settings, decoder), port=int(url.rstrip("/").rsplit(":")[-1])):
        finals.nth(n_before + 1).wait_for(state="attached")
        page.get_by_role("button", name="Stop").click()
        page.wait_for_selector("#live-dot[data-state=done]")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as json").click()
    segments = json.loads(download.value.path().read_text())["segments"]
    assert [segment["id"] for segment in segments] == list(range(len(segments)))
    gaps = [b["start"] - a["end"] for a, b in itertools.pairwise(segments)]
    assert gaps == pytest.approx([0.0] * len(gaps), abs=0.01)


def test_a_file_that_is_too_large_is_refused_in_words(
    new_page: Callable[..., Page], decoder: FakeDecoder
) -> None:
    page = new_page()
    file = {"name": "a.wav", "mimeType": "audio/wav", "buffer": bytes(8_000_000)}
    with serve(create_app(Settings(max_upload_bytes=1_000_000), decoder)) as url:
        page.goto(url)
        page.get_by_role("tab", name="File Upload").click()
        page.locator("#files").set_input_files([file])
        notice = page.locator(".item [role=alert]")
        expect(notice).to_contain_text("The file is larger than the service takes")
