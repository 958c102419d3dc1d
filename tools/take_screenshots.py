"""Take the pictures of the web client in docs/images from a running service.

    make run MODEL=demo
    python -m tools.take_screenshots --url http://localhost:8000

A voice of tests/data is the microphone, so the text in the pictures is what the service wrote. The
page is asked for a key by an answer put in its way: the service need not be set up for keys.
"""

import argparse
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright, Route, expect, sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
VOICES = ROOT / "tests" / "data"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = (1180, 820), (390, 844)
PATIENCE_MS = 60_000
"""For one step; the first words of a busy machine take a while."""


def main() -> None:
    """Read the command line and take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="http://localhost:8000", help="where the service runs")
    url = parser.parse_args().url
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for theme in ("light", "dark"):
            take_all(browser, url, theme)
        browser.close()


def launch(playwright: Playwright) -> Browser:
    """A browser that hears somebody say English digits, again and again."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    flags = ["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream"]
    flags.append(f"--use-file-for-fake-audio-capture={VOICES / 'english.wav'}")
    return playwright.chromium.launch(executable_path=path, args=flags)


def take_all(browser: Browser, url: str, theme: str) -> None:
    """Every state of the page in one theme."""
    ending = "-dark" if theme == "dark" else ""
    with visit(browser, url, theme, DESKTOP) as page:
        take(page, f"start{ending}")
        show_live(page)
        take(page, f"live{ending}")
        page.get_by_role("button", name="Stop").click()
    with visit(browser, url, theme, PHONE) as page:
        show_live(page)
        take(page, f"phone{ending}")
        page.get_by_role("button", name="Stop").click()
    with visit(browser, url, theme, DESKTOP) as page:
        show_upload(page)
        take(page, f"upload{ending}")
    with visit(browser, url, theme, DESKTOP) as page:
        show_error(page)
        take(page, f"error{ending}")
    with visit(browser, url, theme, DESKTOP, asks_for_key=True) as page:
        expect(page.get_by_label("API key", exact=True)).to_be_visible()
        take(page, f"key{ending}")


@contextmanager
def visit(
    browser: Browser, url: str, theme: str, size: tuple[int, int], *, asks_for_key: bool = False
) -> Iterator[Page]:
    """The page, opened for the first time by somebody who has allowed the microphone."""
    context = browser.new_context(
        color_scheme="dark" if theme == "dark" else "light",
        viewport={"width": size[0], "height": size[1]},
        permissions=["microphone"],
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    if asks_for_key:
        page.route("**/models", answer_without_key)
    page.goto(url)
    page.wait_for_selector(f"#service-dot[data-state={'locked' if asks_for_key else 'ready'}]")
    yield page
    context.close()


def answer_without_key(route: Route) -> None:
    """What the service answers where it asks for keys."""
    error = {"code": "unauthorized", "message": "There is no API key."}
    route.fulfill(status=401, json={"error": error})


def show_live(page: Page) -> None:
    """Three finals, and words that are still pale."""
    page.get_by_role("button", name="Start").click()
    page.locator("#live-finals .row").nth(2).wait_for(state="attached")
    pale = page.locator("#live-partial:visible .unstable")
    expect(pale).to_have_text(re.compile(r"\w"))


def show_upload(page: Page) -> None:
    """Two files done, with words that are highlighted as the first one plays."""
    page.get_by_role("tab", name="File Upload").click()
    page.get_by_label("Word timestamps").check()
    page.locator("#files").set_input_files([VOICES / "english.wav", VOICES / "spanish.wav"])
    for item in page.locator(".item").all():
        expect(item.locator(".item-head p")).to_contain_text("words")
    page.locator("audio").first.evaluate("player => { player.currentTime = 2.0; }")
    page.locator(".spoken").wait_for()


def show_error(page: Page) -> None:
    """A file that is no audio, above one that is."""
    page.get_by_role("tab", name="File Upload").click()
    page.locator("#files").set_input_files(
        {"name": "minutes.wav", "mimeType": "audio/wav", "buffer": b"not audio at all " * 100}
    )
    expect(page.locator(".item [role=alert]")).to_be_visible()
    page.locator("#files").set_input_files([VOICES / "german.wav"])
    expect(page.locator(".item").nth(1).locator(".item-head p")).to_contain_text("words")


def take(page: Page, name: str) -> None:
    """What is on the screen, without the ring of the last click."""
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
