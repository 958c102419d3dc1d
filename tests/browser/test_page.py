"""What holds for the whole page: where it works, what it remembers, who can use it."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.service import PAGE, Script
from whisper_service import errors


@pytest.fixture
def page_from_disk(new_page: Callable[..., Page], service: str) -> Page:
    page = new_page()
    page.goto(PAGE.as_uri())
    page.get_by_label("Service address").fill(service)
    page.get_by_label("Service address").blur()
    page.wait_for_selector("#service-dot[data-state=ready]")
    return page


def test_both_tabs_work_from_disk(page_from_disk: Page, script: Script) -> None:
    page = page_from_disk
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("#live-finals .row")
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("#live-dot[data-state=done]")
    page.get_by_role("tab", name="File Upload").click()
    page.get_by_role("button", name="Try the sample").locator("visible=true").click()
    expect(page.locator(".item-head p")).to_have_text("0:03 · 7 words")
    assert script.streams[0].loudness > 0.1


def test_a_service_that_is_away_is_named_with_what_to_do(new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(PAGE.as_uri())
    page.get_by_label("Service address").fill("http://localhost:9")
    page.get_by_label("Service address").blur()
    alert = page.locator("#service-away")
    expect(alert).to_contain_text("does not answer at http://localhost:9/")
    expect(alert).to_contain_text("python -m main")


def test_the_service_address_is_asked_for_only_from_disk(page: Page) -> None:
    expect(page.get_by_label("Service address")).to_be_hidden()


def test_settings_are_remembered(page: Page) -> None:
    page.get_by_label("Chunk duration").fill("3")
    page.get_by_label("Task").select_option("translate")
    page.get_by_label("Model").select_option("tiny.en")
    page.get_by_role("tab", name="File Upload").click()
    page.reload()
    page.wait_for_selector("#service-dot[data-state=ready]")
    assert page.get_by_label("Task").input_value() == "translate"
    expect(page.get_by_label("Model")).to_have_value("tiny.en")
    assert page.locator("#chunk_duration").input_value() == "3"
    assert page.get_by_role("tab", name="File Upload").get_attribute("aria-selected") == "true"


def test_a_model_that_would_be_downloaded_says_so(page: Page) -> None:
    page.get_by_label("Model").select_option(label="tiny.en (downloads on first use)")
    expect(page.locator("#model-help")).to_contain_text("the first request downloads them")


def test_models_without_weights_say_where_to_put_them(page: Page) -> None:
    page.get_by_label("Model").select_option(label="large-v3 (no weights)")
    expect(page.locator("#model-help")).to_contain_text("Put them at /models/large-v3.pt")


def test_a_language_is_found_by_its_name_with_the_keyboard(page: Page, script: Script) -> None:
    page.get_by_role("combobox", name="Language").click()
    page.keyboard.type("germ")
    page.keyboard.press("Enter")
    expect(page.get_by_role("combobox", name="Language")).to_have_value("German")
    page.get_by_role("button", name="Try the sample").click()
    page.wait_for_selector("#live-finals .row")
    assert script.streams[0].config["language"] == "de"


def test_a_phone_needs_no_sideways_scrolling(new_page: Callable[..., Page], service: str) -> None:
    page = new_page(viewport={"width": 360, "height": 740})
    page.goto(service)
    page.wait_for_selector("#service-dot[data-state=ready]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("tab", name="File Upload").click()
    page.get_by_role("button", name="Try the sample").locator("visible=true").click()
    expect(page.locator(".item-head p")).to_have_text("0:03 · 7 words")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator(".item").evaluate("item => item.clientWidth") <= 360


def _error_codes(tree: type[errors.ServiceError]) -> Iterator[str]:
    """Codes of the service's own tree; a protocol the page does not speak may have more."""
    if tree.__module__ == errors.__name__:
        yield tree.code
    for subclass in tree.__subclasses__():
        yield from _error_codes(subclass)


def test_every_error_code_has_words() -> None:
    explained = set(re.findall(r'^  "error\.(\w+)":', PAGE.read_text(), re.MULTILINE))
    assert set(_error_codes(errors.ServiceError)) <= explained


def test_every_text_of_the_interface_is_in_the_table_and_used() -> None:
    markup, script = PAGE.read_text().split("<body>")[1].split('<script type="module">')
    outside = re.sub(r"<!--.*?-->|<noscript>.*?</noscript>|<[^>]*>", " ", markup, flags=re.S)
    assert outside.split() == []
    assert not re.search(r'\s(title|placeholder|alt|aria-label)="[^"]', markup)
    table, code = script.split("const TEXT = {")[1].split("\n};\n", 1)
    keys = set(re.findall(r'^  "([\w.]+)":', table, re.M))
    named = set(re.findall(r'data-(?:text|label|title)="([\w.]+)"', markup))
    assert named <= keys
    told = re.findall(r'"([a-z_.]+)"', code)
    begun = tuple(re.findall(r"`((?:\w+\.)+)\$\{", code))  # `error.${code}`
    ended = tuple(re.findall(r"`\$\{name\}(\.\w+)`", code))  # `${name}.help`
    unused = keys - named - set(told)
    assert {key for key in unused if not key.startswith(begun) and not key.endswith(ended)} == set()


def test_nothing_is_set_as_html_or_fetched_from_elsewhere() -> None:
    text = PAGE.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
    hosts = set(re.findall(r"https?://([\w.:-]+)", text))
    assert hosts <= {"www.w3.org", "localhost:8000"}
