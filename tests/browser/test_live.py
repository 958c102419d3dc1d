"""The Live Streaming tab: what it sends, what it shows, and what it does when things break."""

import itertools
import json
import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.service import Script, scripted_app, serve, tone

FINALS = "#live-finals .row"
FRAME_BUDGET_MS = 50
"""A task of more is a long one: https://w3c.github.io/longtasks/."""


def start(page: Page) -> None:
    page.get_by_role("button", name="Start").click()


def stop(page: Page) -> None:
    expect(page.locator("#live-error")).to_be_empty()
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("#live-dot[data-state=done]")


def wait_for_finals(page: Page, count: int) -> None:
    page.locator(FINALS).nth(count - 1).wait_for(state="attached")


@contextmanager
def main_thread_tasks(page: Page) -> Iterator[list[float]]:
    """The processor time in ms of each task of the page meanwhile: not what else the machine does,
    nor the questions that the test itself asks, which reach the page as DevTools' messages."""
    browser = page.context.browser
    assert browser is not None
    milliseconds: list[float] = []
    browser.start_tracing(
        page=page,
        categories=["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"],
    )
    yield milliseconds
    events = json.loads(browser.stop_tracing())["traceEvents"]
    (thread,) = {(e["pid"], e["tid"]) for e in events if e["name"] == "FireAnimationFrame"}
    timed = [e for e in events if "tdur" in e and (e["pid"], e["tid"]) == thread]
    questions = [e["ts"] for e in timed if "DevTools" in json.dumps(e["args"])]
    milliseconds += [
        e["tdur"] / 1000
        for e in timed
        if not any(e["ts"] <= asked <= e["ts"] + e["dur"] for asked in questions)
    ]


def test_a_mark_that_comes_late_is_put_where_it_belongs(page: Page, script: Script) -> None:
    script.final_texts = [" my fellow Americans", ", ask not", ".", " And so", "? On"]
    start(page)
    wait_for_finals(page, 4)
    stop(page)
    shown = page.locator(f"{FINALS} p").all_text_contents()
    assert shown[:4] == ["my fellow Americans,", "ask not.", "And so?", "On"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as txt").click()
    assert download.value.path().read_text().startswith(" ".join(shown[:4]))


def test_a_mark_that_comes_late_is_none_of_the_words_with_times(page: Page, script: Script) -> None:
    script.final_texts = [" my fellow Americans", ", ask not, so", ". Nine four"]
    page.get_by_label("Word timestamps").check()
    start(page)
    wait_for_finals(page, 3)
    stop(page)
    rows = [page.locator(f"{FINALS} p").nth(i) for i in range(3)]
    assert [row.text_content() for row in rows] == [
        "my fellow Americans,", "ask not, so.", "Nine four",
    ]  # fmt: skip
    assert [row.locator("span").all_text_contents() for row in rows] == [
        ["my", "fellow", "Americans"], ["ask", "not,", "so"], ["Nine", "four"],
    ]  # fmt: skip


def test_a_partial_leaves_out_the_mark_of_the_final_before_it(page: Page, script: Script) -> None:
    script.partial_mark = ","
    script.segment_seconds = 4
    page.get_by_label("Word timestamps").check()
    start(page)
    expect(page.locator(".stable")).to_have_text("Nine four")
    expect(page.locator(".unstable")).to_have_text(" seven")


def times(page: Page) -> list[str]:
    return page.locator(f"{FINALS} .at").all_text_contents()


def test_the_microphone_reaches_the_service_whole(page: Page, script: Script) -> None:
    start(page)
    wait_for_finals(page, 3)
    stop(page)
    (stream,) = script.streams
    shown = page.evaluate("document.getElementById('live-clock').textContent")
    assert stream.config["sample_rate"] in (44_100, 48_000)
    assert shown == f"0:{int(stream.seconds):02}"
    assert stream.seconds >= 1.5
    assert 0.1 < stream.loudness < 0.6
    assert stream.messages == ["stop"]


def test_finals_are_shown_in_order_with_their_times(page: Page) -> None:
    start(page)
    wait_for_finals(page, 3)
    assert times(page)[:3] == ["0:00", "0:00", "0:01"]
    assert page.locator(f"{FINALS} p").nth(1).text_content() == "Nine four seven two <b>1</b>."


def test_partial_text_has_a_solid_and_a_pale_part(page: Page, script: Script) -> None:
    script.segment_seconds = 4
    start(page)
    expect(page.locator(".stable")).to_have_text("Nine four")
    stable, unstable = page.locator(".stable"), page.locator(".unstable")
    colour = "node => getComputedStyle(node).color"
    expect(unstable).to_have_text(" seven")
    assert stable.evaluate(colour) != unstable.evaluate(colour)


def test_the_sample_needs_no_microphone(page: Page, script: Script) -> None:
    page.get_by_role("button", name="Try the sample").click()
    page.wait_for_selector("#live-dot[data-state=done]")
    (stream,) = script.streams
    assert stream.seconds == pytest.approx(1.5, abs=0.4)
    assert 0.15 < stream.loudness < 0.3


def test_settings_are_sent_under_the_names_of_the_protocol(page: Page, script: Script) -> None:
    page.get_by_label("Chunk duration").fill("2.5")
    page.get_by_label("Use context").uncheck()
    page.get_by_label("Word timestamps").check()
    page.get_by_label("Prompt").fill("Ray, Serve")
    start(page)
    wait_for_finals(page, 1)
    config = script.streams[0].config
    assert config.pop("sample_rate") > 0
    assert config == {
        "task": "transcribe",
        "prompt": "Ray, Serve",
        "word_timestamps": True,
        "chunk_duration": 2.5,
        "overlap": 0.5,
        "partial_interval": 1,
        "endpoint_silence": 0.6,
        "use_context": False,
        "vad": True,
        "encoding": "pcm_s16le",
        "channels": 1,
    }


def test_finalize_asks_for_the_text_so_far(page: Page, script: Script) -> None:
    script.segment_seconds = 60
    start(page)
    expect(page.locator("#live-state")).to_have_text("Listening")
    page.get_by_role("button", name="Finalize").click()
    wait_for_finals(page, 1)
    stop(page)
    assert script.streams[0].messages == ["finalize", "stop"]


def test_pause_stops_the_sound_and_resume_goes_on(page: Page, script: Script) -> None:
    start(page)
    wait_for_finals(page, 1)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#live-state")).to_have_text("Paused")
    page.wait_for_timeout(500)
    paused_at = script.streams[0].seconds
    page.wait_for_timeout(700)
    assert script.streams[0].seconds == paused_at
    page.get_by_role("button", name="Resume").click()
    wait_for_finals(page, 4)
    stop(page)
    assert script.streams[0].seconds > paused_at


def test_a_broken_connection_goes_on_without_a_gap(page: Page, script: Script) -> None:
    script.break_at = 1.2
    start(page)
    wait_for_finals(page, 4)
    stop(page)
    first, second = script.streams
    unsettled = first.audio[2 * round(second.offset * first.config["sample_rate"]) :]
    assert second.offset == pytest.approx(1.0, abs=0.01)
    assert len(unsettled) > 0
    assert second.audio.startswith(unsettled)
    assert times(page)[:4] == ["0:00", "0:00", "0:01", "0:01"]


def test_a_service_that_was_killed_and_started_again_is_found(
    new_page: Callable[..., Page], script: Script
) -> None:
    page = new_page()
    with serve(scripted_app(script)) as url:
        page.goto(url)
        start(page)
        wait_for_finals(page, 1)
    expect(page.locator("#live-state")).to_contain_text("Your audio is kept")
    script.refuses_tokens = True
    with serve(scripted_app(script), port=int(url.rstrip("/").rsplit(":")[-1])):
        wait_for_finals(page, 3)
        stop(page)
    assert times(page)[:3] == ["0:00", "0:00", "0:01"]


def test_a_network_that_goes_without_a_word_is_noticed(page: Page, script: Script) -> None:
    start(page)
    wait_for_finals(page, 1)
    page.evaluate(
        """() => {
            let dead;
            const buffered = function () { return this === (dead ??= this) ? 1 : 0; };
            Object.defineProperty(WebSocket.prototype, "bufferedAmount", { get: buffered });
            const now = performance.now.bind(performance);
            performance.now = () => now() + (dead ? 20_000 : 0);
        }"""
    )
    expect(page.locator("#live-state")).to_contain_text("Your audio is kept")
    wait_for_finals(page, 4)
    stop(page)
    first, second = script.streams
    unsettled = first.audio[2 * round(second.offset * first.config["sample_rate"]) :]
    assert second.audio.startswith(unsettled)


def test_the_microphone_that_was_chosen_is_opened(page: Page) -> None:
    page.evaluate(
        """() => {
            const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = (wanted) => open(window.wanted = wanted);
        }"""
    )
    names = page.get_by_label("Listen to").locator("optgroup").first.locator("option")
    expect(names.nth(2)).to_be_attached()
    label = names.nth(2).text_content()
    page.get_by_label("Listen to").select_option(label=label)
    start(page)
    wait_for_finals(page, 1)
    opened = page.evaluate(
        """async () => (await navigator.mediaDevices.enumerateDevices())
            .find(({ deviceId }) => deviceId === wanted.audio.deviceId.exact).label"""
    )
    assert opened == label


def test_the_sound_is_seen_speech_apart_from_silence(page: Page) -> None:
    start(page)
    loud = re.compile(r"^([5-9]\d|100)$")
    expect(page.locator("#level")).to_have_attribute("aria-valuenow", loud)
    wait_for_finals(page, 2)
    colours = """canvas => {
        const pen = canvas.getContext("2d"), style = getComputedStyle(canvas), seen = new Set();
        const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
        for (let i = 0; i < pixels.length; i += 4) {
            if (pixels[i + 3] === 255) seen.add(String(pixels.slice(i, i + 3)));
        }
        return ["--accent", "--control"].map((name) => {
            const [r, g, b] = style.getPropertyValue(name).match(/[0-9a-f]{2}/g);
            return seen.has(String([r, g, b].map((part) => parseInt(part, 16))));
        });
    }"""
    assert page.locator("#waveform").evaluate(colours) == [True, True]


def test_how_far_the_text_is_behind_is_shown(page: Page) -> None:
    start(page)
    expect(page.locator("#live-lag")).to_have_text(re.compile(r"^\d+\.\d s behind$"))
    stop(page)
    expect(page.locator("#live-lag")).to_be_hidden()


def test_the_text_is_copied(new_page: Callable[..., Page], service: str) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(service)
    page.get_by_role("button", name="Try the sample").click()
    page.wait_for_selector("#live-dot[data-state=done]")
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert "Nine four seven two" in page.evaluate("navigator.clipboard.readText()")


def test_falling_behind_is_said(page: Page, script: Script) -> None:
    script.lag = 7.2
    start(page)
    expect(page.locator("#live-warning")).to_contain_text("The service is 7 s behind")


def test_a_final_is_heard_again(page: Page) -> None:
    start(page)
    wait_for_finals(page, 2)
    page.evaluate(
        """() => {
            const start = AudioBufferSourceNode.prototype.start;
            AudioBufferSourceNode.prototype.start = function () {
                window.heard = { seconds: this.buffer.duration,
                                 peak: Math.max(...this.buffer.getChannelData(0)) };
                start.call(this);
            };
        }"""
    )
    page.get_by_role("button", name="Hear again from 0:00").first.click()
    heard = page.evaluate("heard")
    assert heard["seconds"] == pytest.approx(0.5, abs=0.05)
    assert heard["peak"] > 0.1


def test_the_screen_stays_awake_while_it_listens(page: Page) -> None:
    page.evaluate(
        """() => {
            navigator.wakeLock.request = async (kind) => (window.lock = {
                kind, isReleased: false, async release() { this.isReleased = true; },
            });
        }"""
    )
    start(page)
    wait_for_finals(page, 1)
    assert page.evaluate("[lock.kind, lock.isReleased]") == ["screen", False]
    stop(page)
    assert page.evaluate("lock.isReleased")


def test_the_sound_of_another_tab_is_heard(page: Page, service: str, script: Script) -> None:
    radio = page.context.new_page()
    radio.goto(f"{service}sample.wav")
    radio.evaluate(
        """async () => {
            document.title = "Radio";
            const player = document.querySelector("video");
            player.loop = true;
            await player.play();
        }"""
    )
    page.bring_to_front()
    page.get_by_label("Listen to").select_option("screen")
    start(page)
    wait_for_finals(page, 4)
    stop(page)
    assert script.streams[0].loudness > 0.05


def test_a_file_is_played_in_real_time(page: Page, script: Script) -> None:
    page.get_by_label("Listen to").select_option("file")
    with page.expect_file_chooser() as chooser:
        start(page)
    began = time.monotonic()
    chooser.value.set_files({"name": "a.wav", "mimeType": "audio/wav", "buffer": tone(2.5)})
    page.wait_for_selector("#live-dot[data-state=done]")
    assert time.monotonic() - began > 2.4
    assert script.streams[0].seconds == pytest.approx(2.5, abs=0.4)
    assert script.streams[0].loudness > 0.1


@pytest.mark.parametrize("format", ["txt", "srt", "vtt", "json"])
def test_live_text_can_be_taken_away(page: Page, format: str) -> None:
    page.get_by_role("button", name="Try the sample").click()
    page.wait_for_selector("#live-dot[data-state=done]")
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Download as {format}").click()
    assert download.value.suggested_filename == f"live-transcript.{format}"
    assert "Nine four seven two" in download.value.path().read_text()


def test_scrolling_up_lets_go_of_the_end(page: Page, script: Script) -> None:
    script.finals_at_once = 40
    start(page)
    wait_for_finals(page, 40)
    box = page.locator("#live-scroll")
    expect(page.locator(FINALS).first).not_to_be_in_viewport()
    box.evaluate("box => { box.scrollTop = 0; }")
    page.wait_for_selector("#latest:visible")
    wait_for_finals(page, 120)
    assert box.evaluate("box => box.scrollTop") == 0
    page.get_by_role("button", name="Jump to the latest").click()
    expect(page.locator(FINALS).first).not_to_be_in_viewport()


def test_five_thousand_finals_leave_every_frame_its_time(page: Page, script: Script) -> None:
    script.finals_at_once = 1200
    start(page)
    wait_for_finals(page, 4800)
    script.finals_at_once = 20
    with main_thread_tasks(page) as milliseconds:
        wait_for_finals(page, 5000)
    rendered = (
        "rows => rows.filter(row => row.checkVisibility({contentVisibilityAuto: true})).length"
    )
    assert page.locator(FINALS).evaluate_all(rendered) <= 200
    assert 0 < max(milliseconds) < FRAME_BUDGET_MS


def test_earlier_finals_are_never_rendered_again(page: Page, script: Script) -> None:
    script.finals_at_once = 200
    start(page)
    wait_for_finals(page, 1)
    page.evaluate(f"document.querySelector('{FINALS}').firstSeen = true")
    wait_for_finals(page, 600)
    assert page.evaluate(f"document.querySelector('{FINALS}').firstSeen")


def test_a_second_recording_goes_on_below_the_first(page: Page, script: Script) -> None:
    for count in (1, 4):
        start(page)
        wait_for_finals(page, count)
        stop(page)
    assert len(script.streams) == 2
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as json").click()
    segments = json.loads(download.value.path().read_text())["segments"]
    assert all(a["end"] <= b["start"] + 1e-6 for a, b in itertools.pairwise(segments))
    assert [segment["id"] for segment in segments] == list(range(len(segments)))


def loud(seconds: float, peak: float) -> bytes:
    """A wav of 32-bit floats: half a second of a tone with that peak, and silence."""
    t = np.arange(int(seconds * 48_000)) / 48_000
    samples = (peak * np.sin(2 * np.pi * 440 * t) * (t % 1 < 0.5)).astype("<f4").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 3, 1,
                       48_000, 192_000, 4, 32)  # fmt: skip
    return head + struct.pack("<4sI", b"data", len(samples)) + samples


@pytest.mark.parametrize(("peak", "is_told"), [(2.0, True), (0.9, False)])
def test_sound_beyond_full_scale_is_told(page: Page, peak: float, is_told: bool) -> None:
    file = {"name": "a.wav", "mimeType": "audio/wav", "buffer": loud(3, peak)}
    page.locator("#live-file").set_input_files([file])
    page.wait_for_selector("#live-dot[data-state=done]")
    expect(page.locator("#live-clipped")).to_be_visible(visible=is_told)
    if is_told:
        expect(page.locator("#live-clipped")).to_contain_text("The sound is too loud")
        page.get_by_role("button", name="Start").click()
        expect(page.locator("#live-clipped")).to_be_hidden()
