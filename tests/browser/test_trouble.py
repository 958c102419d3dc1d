"""What goes wrong before or while a stream or an upload runs: said in words, with what to do."""

from collections.abc import Callable

import pytest
from fastapi.responses import HTMLResponse, JSONResponse
from playwright.sync_api import Page, expect
from starlette.responses import Response

from tests.browser.service import Script, tone

MICROPHONE_FAILS = """() => {{
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "{}"));
}}"""
SCREEN_FAILS = """() => {
    navigator.mediaDevices.getDisplayMedia =
        () => Promise.reject(new DOMException("", "NotAllowedError"));
}"""
SCREEN_IS_SILENT = """() => {
    navigator.mediaDevices.getDisplayMedia =
        async () => document.createElement("canvas").captureStream();
}"""


def start(page: Page, source: str = "microphone:") -> None:
    page.get_by_label("Listen to").select_option(source)
    page.get_by_role("button", name="Start").click()


def expect_trouble(page: Page, *words: str) -> None:
    """All these words, and a page that can be used again."""
    alert = page.locator("#live-error")
    for part in words:
        expect(alert).to_contain_text(part)
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
    page.get_by_role("button", name="Dismiss").click()
    expect(alert).to_be_hidden()


def upload(page: Page) -> None:
    page.get_by_role("tab", name="File Upload").click()
    file = {"name": "a.wav", "mimeType": "audio/wav", "buffer": tone(1)}
    page.locator("#files").set_input_files([file])


def test_a_denied_microphone(new_page: Callable[..., Page], service: str, script: Script) -> None:
    page = new_page(permissions=["geolocation"])
    page.goto(service)
    start(page)
    expect_trouble(page, "The microphone is blocked for this page", "Allow it")
    assert script.streams == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("NotReadableError", "another program may be using it"),
        ("NotFoundError", "No microphone was found. Plug one in"),
    ],
)
def test_a_microphone_that_does_not_open(page: Page, error: str, words: str) -> None:
    page.evaluate(MICROPHONE_FAILS.format(error))
    start(page)
    expect_trouble(page, words)


@pytest.mark.parametrize(
    ("script_of_browser", "words"),
    [
        (SCREEN_FAILS, "Nothing was shared"),
        (SCREEN_IS_SILENT, "Also share audio"),
        ("navigator.mediaDevices.getDisplayMedia = undefined", "phones can’t"),
    ],
)
def test_a_screen_that_cannot_be_heard(page: Page, script_of_browser: str, words: str) -> None:
    page.evaluate(script_of_browser)
    start(page, "screen")
    expect_trouble(page, words)


def test_a_browser_that_cannot_record(page: Page) -> None:
    page.evaluate("delete globalThis.AudioWorkletNode")
    start(page)
    expect_trouble(page, "Use a current Chrome, Edge, Firefox or Safari")


def test_a_file_that_does_not_play(page: Page) -> None:
    page.locator("#live-file").set_input_files(
        {"name": "a.wav", "mimeType": "audio/wav", "buffer": b"no sound at all"}
    )
    expect_trouble(page, "Use File Upload for it instead")


def test_a_stream_that_is_refused_with_a_reason(page: Page, script: Script) -> None:
    script.stream_error = {"code": "overloaded", "message": "100 of 100 streams are in use."}
    start(page)
    expect_trouble(page, "The service is busy", "100 of 100 streams are in use.")


def test_a_stream_that_is_refused_before_it_opens(page: Page, script: Script) -> None:
    script.stream_denial = JSONResponse({"error": {"code": "overloaded"}}, 503)
    start(page)
    expect_trouble(page, "took no new stream", "Try again in a moment")


def test_a_stream_that_is_refused_says_why_where_the_service_does(
    page: Page, script: Script
) -> None:
    script.stream_denial = JSONResponse({}, 503)
    error = {"code": "overloaded", "message": "24 streams are going on."}
    script.stream_reason = JSONResponse({"error": error}, 503, {"Retry-After": "2"})
    start(page)
    expect_trouble(page, "The service is busy", "24 streams are going on.", "wait 2 s")


def test_a_page_whose_origin_is_refused_says_what_to_set(page: Page, script: Script) -> None:
    script.stream_denial = JSONResponse({}, 403)
    error = {"code": "forbidden", "param": "origin", "got": "http://a.example", "message": "No."}
    script.stream_reason = JSONResponse({"error": error}, 403)
    start(page)
    expect_trouble(page, "http://a.example", "proxy_set_header Host", "WHISPER_CORS_ORIGINS")
    origin = page.evaluate("encodeURIComponent(location.origin)")
    assert f"/stream?origin={origin}" in script.addresses


def test_what_a_newer_service_says_is_told_in_its_own_words(page: Page, script: Script) -> None:
    script.stream_error = {"code": "out_of_biscuits", "message": "There are no biscuits left."}
    start(page)
    expect_trouble(page, "There are no biscuits left.")


def test_a_mistake_of_the_page_is_told_as_one(page: Page) -> None:
    page.evaluate("() => { AudioContext = function () { throw new Error('no sound today'); }; }")
    start(page)
    expect_trouble(page, "This page made a mistake: Error: no sound today")


def test_a_stream_whose_service_is_away(page: Page) -> None:
    page.context.set_offline(True)
    start(page)
    expect_trouble(page, "does not answer at http://localhost", "check the address")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            JSONResponse({"error": {"code": "undecodable_audio", "message": "It is text."}}, 422),
            "This is not audio or video that can be read",
        ),
        (
            JSONResponse({"error": {"code": "audio_too_long", "message": "5 h."}}, 413),
            "The audio is longer than the service takes. Cut it in parts.",
        ),
        (HTMLResponse("<h1>Request Entity Too Large</h1>", 413), "The file is larger than"),
        (HTMLResponse("<h1>Bad Gateway</h1>", 502), "can’t do this just now"),
        (HTMLResponse("<h1>Gateway Timeout</h1>", 504), "A proxy before the service waited"),
        (HTMLResponse("<h1>Not Found</h1>", 404), "It may be another service"),
        (JSONResponse({"error": "no object"}, 500), "its log says which"),
        (
            JSONResponse({"error": {"code": "forbidden", "message": "It opens streams."}}, 403),
            "The API key does not open this",
        ),
        (
            JSONResponse({"error": {"code": "rate_limited"}}, 429, {"Retry-After": "7"}),
            "It asks to wait 7 s.",
        ),
    ],
)
def test_a_file_that_is_refused(page: Page, script: Script, answer: Response, words: str) -> None:
    script.upload_error = answer
    upload(page)
    alert = page.locator(".item [role=alert]")
    expect(alert).to_contain_text(words)
    script.upload_error = None
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".item-head p")).to_have_text("0:03 · 7 words")
