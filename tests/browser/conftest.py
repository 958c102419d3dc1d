"""A real Chromium with a fake microphone, and the scripted service it talks to."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Playwright,
    expect,
    sync_playwright,
)

from tests.browser.service import Script, scripted_app, serve, tone
from tests.end_to_end import spoken
from whisper_service.api.page import SAMPLE

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--use-fake-device-for-media-stream",
    "--auto-select-tab-capture-source-by-title=Radio",
    "--autoplay-policy=no-user-gesture-required",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 15_000
"""For one step on the page; a busy machine may be slow, a broken page never gets there."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def chromium(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Hears beeps."""
    microphone = tmp_path_factory.mktemp("microphone") / "beeps.wav"
    microphone.write_bytes(tone(30))
    yield from _launch(playwright, microphone)


@pytest.fixture(scope="session")
def listening_chromium(playwright: Playwright) -> Iterator[Browser]:
    """Hears somebody say English digits, again and again."""
    yield from _launch(playwright, spoken.path("english"))


@pytest.fixture(scope="session")
def speech_chromium(playwright: Playwright) -> Iterator[Browser]:
    """Hears the bundled sample, again and again."""
    yield from _launch(playwright, SAMPLE)


def find_browser() -> str:
    """Its path; skips the test where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    return path


def _launch(playwright: Playwright, microphone: Path) -> Iterator[Browser]:
    path = find_browser()
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={microphone}"]
    # Playwright mutes what it runs headless, and then a tab that is listened to is silent.
    browser = playwright.chromium.launch(
        executable_path=path, args=flags, ignore_default_args=["--mute-audio"]
    )
    yield browser
    browser.close()


@pytest.fixture
def listening_page(listening_chromium: Browser) -> Iterator[Page]:
    """A page whose microphone hears those digits."""
    yield from _page(listening_chromium)


@pytest.fixture
def speech_page(speech_chromium: Browser) -> Iterator[Page]:
    """A page whose microphone hears that sample."""
    yield from _page(speech_chromium)


def _page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(permissions=["microphone"])
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    context.close()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def service(script: Script) -> Iterator[str]:
    with serve(scripted_app(script)) as url:
        yield url


@pytest.fixture
def new_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Makes pages, each a visitor of its own; fails if a page had an error or broke its policy."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def make(**options: object) -> Page:
        context = chromium.new_context(**{"permissions": ["microphone"], **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda line: (
                errors.append(line.text) if "Content Security Policy" in line.text else None
            ),
        )
        return page

    yield make
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(new_page: Callable[..., Page], service: str) -> Page:
    """The page as the service serves it, its choices filled in."""
    page = new_page()
    page.goto(service)
    page.wait_for_selector("#service-dot[data-state=ready]")
    return page
