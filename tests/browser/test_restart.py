"""A real service is killed under a stream from the page: no word is lost, and none comes twice."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from benchmarks.local_service import local_service
from tests.browser.conftest import PATIENCE_MS
from tests.end_to_end import spoken
from tests.end_to_end.stream_client import words

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(
        not Path("/proc/self/stat").exists(), reason="needs /proc to find the service's processes"
    ),
]

KILLS = int(os.environ.get("KILLS", "1"))
"""`KILLS=2 pytest tests/browser/test_restart.py` takes another half minute."""
RESUME_KEYS = ("a key for tests", "a key for tests", "another key for tests")
"""After the second kill, resume tokens of before are worth nothing."""
RESTART_MS = 8 * PATIENCE_MS
"""Within this the page has found the service again, and sent what was said meanwhile."""
CYCLE = spoken.spoken_words("english")
NEXT_WORDS = dict(pairwise([*CYCLE, CYCLE[0]]))
"""The microphone plays one recording again and again; no word of it comes twice."""


def begin(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("#service-dot[data-state=ready]")
    # The bundled model of 76 words has not learned to go on after a prefix.
    page.get_by_label("Use context").uncheck()
    page.get_by_role("button", name="Start").click()


def end(page: Page) -> None:
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("#live-dot[data-state=done]", timeout=RESTART_MS)


def test_a_service_killed_under_a_stream_loses_and_doubles_no_word(
    listening_page: Page, tmp_path: Path
) -> None:
    settings = {"WHISPER_DEFAULT_MODEL": "demo", "WHISPER_MODEL_DIR": str(tmp_path)}
    finals = listening_page.locator("#live-finals .row")
    for n_killed, key in enumerate(RESUME_KEYS[: KILLS + 1]):
        settings["WHISPER_RESUME_KEY"] = key
        with local_service(settings, tmp_path / f"log-{n_killed}") as service:
            if n_killed == 0:
                settings["WHISPER_PORT"] = str(service.port)
                begin(listening_page, service.http)
            finals.nth(finals.count() + 1).wait_for(state="attached", timeout=RESTART_MS)
            if n_killed == KILLS:
                end(listening_page)
                break
            service.kill()
            expect(listening_page.locator("#live-state")).to_contain_text("Your audio is kept")
    *heard, _ = words(" ".join(finals.locator("p").all_text_contents()))  # Stop may cut the last
    assert heard[0] == CYCLE[0]
    assert heard[1:] == [NEXT_WORDS.get(word) for word in heard[:-1]]
    assert len(heard) > 2 * len(CYCLE)
