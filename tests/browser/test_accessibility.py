"""Everybody can use the page: by keyboard, by ear, in both themes, without motion."""

from collections.abc import Callable

import pytest
from fastapi.responses import JSONResponse
from playwright.sync_api import Page, expect

from tests.browser.service import Script, tone

FOCUS = """() => {
    const node = document.activeElement;
    const ring = getComputedStyle(node.closest(".chooser") ?? node).outlineStyle;
    const name = node.ariaLabel || node.textContent.trim() || node.labels?.[0]?.textContent;
    return { name, hasRing: ring !== "none", isBody: node === document.body };
}"""
N_STOPS = 40
"""More than the page has places for the focus."""


def tab_to(page: Page, name: str) -> None:
    """Press Tab until something of this name has the focus; every stop has to be visible."""
    for _ in range(N_STOPS):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        assert focus["isBody"] or focus["hasRing"], f"{focus['name']} has no visible focus"
        if focus["name"] == name:
            return
    pytest.fail(f"{name} was not reached with the Tab key")


def test_live_streaming_needs_no_mouse(page: Page, script: Script) -> None:
    tab_to(page, "Start")
    page.keyboard.press("Enter")
    page.wait_for_selector("#live-finals .row")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("#live-state")).to_have_text("Paused")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#live-dot[data-state=done]")
    tab_to(page, "Hear again from 0:00")
    tab_to(page, "Download as srt")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "live-transcript.srt"
    assert script.streams[0].messages[-1] == "stop"


def test_file_upload_needs_no_mouse(page: Page) -> None:
    page.get_by_role("tab", name="Live Streaming").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="File Upload")).to_be_visible()
    tab_to(page, "Choose files")
    chooser = page.locator(":focus")  # which key opens its dialog is the browser's business
    expect(chooser).to_have_attribute("type", "file")
    chooser.set_input_files({"name": "a.wav", "mimeType": "audio/wav", "buffer": tone(3)})
    expect(page.locator(".item-head p")).to_have_text("0:03 · 7 words")
    tab_to(page, "Play from 0:01")
    page.keyboard.press("Enter")
    expect(page.locator(".row.current p")).to_have_text("Seven --> <i>two</i>.")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken_in_any_state(
    new_page: Callable[..., Page], service: str, script: Script, theme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not there")
    page = new_page(color_scheme=theme)

    def check(state: str) -> None:
        found = axe.Axe().run(page)
        assert found.violations_count == 0, f"{state}: {found.generate_report()}"

    script.key, script.lag = "a key", 7.0
    script.warnings = [{"code": "open_access", "message": ""}, {"code": "new", "message": "Rain."}]
    page.goto(service)
    page.get_by_label("API key", exact=True).fill("a-wrong-key")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("does not take this key")
    check("asked for a key")
    script.key = None
    page.get_by_role("button", name="Use this key").click()
    page.wait_for_selector("#service-dot[data-state=ready]")
    expect(page.locator("#notices")).to_contain_text("Rain.")
    page.get_by_role("combobox", name="Language").click()
    check("empty, choosing a language")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#live-warning")).to_be_visible()
    page.locator("#live-finals .row").nth(1).wait_for()
    page.locator("#live-partial").wait_for()
    check("listening, falling behind")
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("#live-dot[data-state=done]")
    script.stream_error = {"code": "overloaded", "message": "It is full."}
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#live-error")).to_be_visible()
    check("refused")
    page.get_by_role("tab", name="File Upload").click()
    page.get_by_role("button", name="Try the sample").locator("visible=true").click()
    expect(page.locator(".item-head p")).to_have_text("0:03 · 7 words")
    page.get_by_role("button", name="Play from 0:00").click()
    page.locator(".spoken").wait_for()
    script.upload_error = JSONResponse({"error": {"code": "no_audio_track"}}, 422)
    page.get_by_role("button", name="Try the sample").locator("visible=true").click()
    expect(page.locator(".item [role=alert]").nth(1)).to_be_visible()
    check("a file done, and one refused")


def test_nothing_moves_for_those_who_want_no_motion(
    new_page: Callable[..., Page], service: str
) -> None:
    page = new_page(reduced_motion="reduce")
    page.goto(service)
    page.wait_for_selector("#service-dot[data-state=ready]")
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("#live-finals .row")
    expect(page.locator("#waveform")).to_be_hidden()
    expect(page.get_by_role("meter", name="Sound level")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0
