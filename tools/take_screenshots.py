"""Take the pictures of the web client in docs/images from a running service.

    make run
    python -m tools.take_screenshots --url http://localhost:8000

A reader of tests/data/real is the microphone, so the text in the pictures is what the service
wrote. The page is asked for a key by an answer put in its way: the service need not be set up for
keys.
"""

import argparse
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from playwright.sync_api import Browser, Page, Playwright, Route, expect, sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
VOICES = ROOT / "tests" / "data" / "real"
SAMPLE = ROOT / "whisper_service" / "assets" / "sample.wav"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
DESKTOP, PHONE = (1180, 820), (390, 844)
PATIENCE_MS = 60_000
"""For one step; the first words of a busy machine take a while."""


def main() -> None:
    """Read the command line and take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="http://localhost:8000", help="where the service runs")
    parser.add_argument("--only", nargs="+", choices=SHOWS, default=SHOWS, help="these states")
    arguments = parser.parse_args()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright, TemporaryDirectory() as folder:
        browser = launch(playwright, as_wav(VOICES / "live.flac", Path(folder) / "voice.wav"))
        for name, theme in product(arguments.only, THEMES):
            take(browser, arguments.url, name, theme)
        browser.close()


def as_wav(source: Path, target: Path) -> Path:
    """The only form in which Chromium takes a microphone's sound from a file."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(source), str(target)]
    subprocess.run(command, check=True)
    return target


def launch(playwright: Playwright, voice: Path) -> Browser:
    """A browser that hears somebody read, again and again."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    flags = ["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream"]
    flags.append(f"--use-file-for-fake-audio-capture={voice}")
    return playwright.chromium.launch(executable_path=path, args=flags)


def show_start(page: Page) -> None:
    """As the page is when it is opened."""


def show_key(page: Page) -> None:
    """As it is when the service asks for a key."""
    expect(page.get_by_label("API key", exact=True)).to_be_visible()


@contextmanager
def visit(browser: Browser, url: str, name: str, theme: Theme) -> Iterator[Page]:
    """The page, opened for the first time; the microphone is allowed, but where it is denied."""
    width, height = PHONE if name == "phone" else DESKTOP
    context = browser.new_context(
        color_scheme=theme,
        viewport={"width": width, "height": height},
        permissions=["geolocation" if name == "denied" else "microphone"],
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    if name == "key":
        page.route("**/models", answer_without_key)
    page.goto(url)
    page.wait_for_selector(f"#service-dot[data-state={'locked' if name == 'key' else 'ready'}]")
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
    """Two files done, with a word that is highlighted as the first one plays."""
    page.get_by_role("tab", name="File Upload").click()
    page.get_by_label("Word timestamps").check()
    page.locator("#files").set_input_files([SAMPLE, VOICES / "german-1.flac"])
    for item in page.locator(".item").all():
        expect(item.locator(".item-head p")).to_contain_text("words")
    page.locator("audio").first.evaluate("player => { player.currentTime = 2.0; }")
    page.locator(".spoken").wait_for()


def show_denied(page: Page) -> None:
    """A browser that keeps the microphone to itself."""
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#live-error")).to_be_visible()


def show_error(page: Page) -> None:
    """A file that is no audio, above one that is."""
    page.get_by_role("tab", name="File Upload").click()
    page.locator("#files").set_input_files(
        {"name": "minutes.wav", "mimeType": "audio/wav", "buffer": b"not audio at all " * 100}
    )
    expect(page.locator(".item [role=alert]")).to_be_visible()
    page.locator("#files").set_input_files([VOICES / "german-2.flac"])
    expect(page.locator(".item").nth(1).locator(".item-head p")).to_contain_text("words")


SHOWS: dict[str, Callable[[Page], None]] = {
    "start": show_start,
    "live": show_live,
    "phone": show_live,
    "upload": show_upload,
    "error": show_error,
    "denied": show_denied,
    "key": show_key,
}


def take(browser: Browser, url: str, name: str, theme: Theme) -> None:
    """One state of the page in one theme, without the ring of the last click."""
    with visit(browser, url, name, theme) as page:
        SHOWS[name](page)
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=IMAGES / f"{name}{'-dark' if theme == 'dark' else ''}.png")


if __name__ == "__main__":
    main()
