"""The File Upload tab: the queue, the text as it comes, cancelling, and taking the text away."""

import json
import re
from collections.abc import Callable

import pytest
from fastapi.responses import JSONResponse
from playwright.sync_api import Page, expect

from tests.browser.service import SEGMENTS, Script, tone


@pytest.fixture
def page(page: Page) -> Page:
    page.get_by_role("tab", name="File Upload").click()
    return page


def upload(page: Page, *names: str) -> None:
    files = [{"name": name, "mimeType": "audio/wav", "buffer": tone(3)} for name in names]
    page.locator("#files").set_input_files(files)


def wait_until_done(page: Page, count: int = 1) -> None:
    expect(page.locator(".item-head p", has_text="0:03 · 7 words")).to_have_count(count)


def test_several_files_are_transcribed_in_their_order(page: Page, script: Script) -> None:
    upload(page, "a.wav", "b.wav", "c.wav")
    wait_until_done(page, 3)
    size = len(tone(3))
    assert [entry["file"] for entry in script.uploads] == [
        ("a.wav", size), ("b.wav", size), ("c.wav", size),
    ]  # fmt: skip
    assert page.locator("#queue h3").all_text_contents() == ["a.wav", "b.wav", "c.wav"]


def test_segments_appear_while_the_file_is_decoded(page: Page, script: Script) -> None:
    script.segment_pause = 0.6
    upload(page, "a.wav")
    expect(page.locator(".item .row p").first).to_have_text("Nine four.")
    assert page.locator(".item .row").count() < len(SEGMENTS)
    expect(page.locator(".item-head p")).to_have_text("Transcribing, 0:01 of 0:03")
    wait_until_done(page)
    assert page.locator(".item .row p").last.text_content() == "Fünf, acht."


def test_the_language_is_shown_as_soon_as_it_is_known(page: Page, script: Script) -> None:
    script.segment_pause = 0.6
    upload(page, "a.wav")
    expect(page.locator(".item .tag")).to_have_text("German")
    assert page.locator(".item .row").count() < len(SEGMENTS)


def test_how_much_is_uploaded_is_shown(page: Page) -> None:
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 100_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    upload(page, "a.wav")
    expect(page.locator(".item-head p")).to_have_text(re.compile(r"^Uploading, \d+ %$"))
    wait_until_done(page)


def test_files_can_be_dropped_on_either_tab(page: Page, script: Script) -> None:
    page.get_by_role("tab", name="Live Streaming").click()
    dropped = page.evaluate_handle(
        """() => {
            const transfer = new DataTransfer();
            for (const name of ["a.wav", "b.wav"]) transfer.items.add(new File(["sound"], name));
            return transfer;
        }"""
    )
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    wait_until_done(page, 2)
    assert [entry["file"][0] for entry in script.uploads] == ["a.wav", "b.wav"]


def test_its_settings_are_those_of_files(page: Page, script: Script) -> None:
    expect(page.get_by_label("Chunk duration")).to_be_hidden()
    upload(page, "a.wav")
    wait_until_done(page)
    page.get_by_label("Only where speech is heard").uncheck()
    page.get_by_label("Audio track").fill("0")
    page.get_by_label("Audio track").blur()
    upload(page, "b.wav")
    wait_until_done(page, 2)
    first, second = script.uploads
    assert (first["vad_filter"], "audio_track" in first) == ("true", False)
    assert (second["vad_filter"], second["audio_track"]) == ("false", "0")
    page.get_by_role("tab", name="Live Streaming").click()
    expect(page.get_by_label("Audio track")).to_be_hidden()


def test_words_with_times_are_written_as_the_text_has_them(page: Page) -> None:
    upload(page, "a.wav")
    wait_until_done(page)
    first = page.locator(".item .row p").first
    assert first.text_content() == "Nine four."
    assert first.locator("span").all_text_contents() == ["Nine", "four."]


def test_text_of_the_service_is_never_markup(page: Page) -> None:
    upload(page, "<img src=x>.wav")
    wait_until_done(page)
    assert page.locator(".item .row p").nth(1).text_content() == "Seven --> <i>two</i>."
    assert page.locator("#queue i, #queue img").count() == 0


def test_a_cancelled_file_lets_the_next_one_go(page: Page, script: Script) -> None:
    script.segment_pause = 2
    upload(page, "a.wav", "b.wav")
    expect(page.locator(".item .row")).to_have_count(1)
    script.segment_pause = 0
    page.get_by_role("button", name="Cancel").first.click()
    expect(page.locator(".item-head p").first).to_have_text("Cancelled")
    wait_until_done(page)
    assert page.locator(".item").first.locator(".row").count() == 1


def test_a_refused_file_says_why_and_can_be_sent_again(page: Page, script: Script) -> None:
    error = {"code": "undecodable_audio", "message": "a.wav is text."}
    script.upload_error = JSONResponse({"error": error}, 422)
    upload(page, "a.wav")
    notice = page.locator(".item [role=alert]")
    expect(notice).to_contain_text("This is not audio or video that can be read")
    expect(notice).to_contain_text("The service says: a.wav is text.")
    script.upload_error = None
    page.get_by_role("button", name="Try again").click()
    wait_until_done(page)
    expect(notice).to_be_hidden()


def test_a_busy_service_says_how_long_to_wait(page: Page, script: Script) -> None:
    error = {"code": "overloaded", "message": "64 of 64 uploads are in use."}
    script.upload_error = JSONResponse({"error": error}, 503, {"Retry-After": "5"})
    upload(page, "a.wav")
    expect(page.locator(".item [role=alert]")).to_contain_text("It asks to wait 5 s.")


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("txt", "Nine four. Seven --> <i>two</i>. Fünf, acht.\n"),
        ("srt", "2\n00:00:01,000 --> 00:00:02,000\nSeven -> <i>two</i>.\n"),
        ("vtt", "00:00:01.000 --> 00:00:02.000\nSeven --&gt; &lt;i&gt;two&lt;/i&gt;.\n"),
    ],
)
def test_the_transcript_can_be_taken_away(page: Page, format: str, expected: str) -> None:
    upload(page, "talk.wav")
    wait_until_done(page)
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Download as {format}").click()
    assert download.value.suggested_filename == f"talk.{format}"
    assert expected in download.value.path().read_text()


def test_json_holds_what_the_service_said(page: Page) -> None:
    upload(page, "talk.wav")
    wait_until_done(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as json").click()
    transcript = json.loads(download.value.path().read_text())
    assert transcript["segments"] == SEGMENTS
    assert (transcript["language"], transcript["duration"]) == ("de", 3.0)


def test_a_click_on_a_time_plays_from_there(page: Page) -> None:
    page.get_by_role("button", name="Try the sample").locator("visible=true").click()
    wait_until_done(page)
    page.get_by_role("button", name="Play from 0:01").click()
    expect(page.locator(".row.current p")).to_have_text("Seven --> <i>two</i>.")
    assert page.locator("audio").evaluate("player => player.currentTime") >= 1


def test_a_service_that_went_away_is_named(new_page: Callable[..., Page], service: str) -> None:
    page = new_page()
    page.goto(service)
    page.get_by_role("tab", name="File Upload").click()
    page.context.set_offline(True)
    upload(page, "a.wav")
    expect(page.locator(".item [role=alert]")).to_contain_text("The service does not answer at")
