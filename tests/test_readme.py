"""The documents stay true: settings are the settings, links lead somewhere, the README is short."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from tools.settings_table import PAGE, rows, with_rows
from whisper_service.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for folder, pattern in ((ROOT, "*.md"), (ROOT / "docs", "**/*.md"), (ROOT, "*/assets/*.md"))
    for path in folder.glob(pattern)
)


def table_rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| `WHISPER_")]


def test_the_settings_page_is_the_settings() -> None:
    """`make settings` writes its rows; the page groups them."""
    page = PAGE.read_text()
    assert table_rows(page) == list(rows().values())
    assert len(table_rows(page)) == len(Settings.model_fields)


def test_the_settings_page_takes_in_what_is_new_and_drops_what_is_gone() -> None:
    page = PAGE.read_text()
    port, host = rows()["port"], rows()["host"]
    gone = "| `WHISPER_GONE` | `1` | What was. |"
    old = page.replace(port + "\n", "").replace(host, f"{gone}\n{host[:-5]} |")
    assert old != page
    assert with_rows(old) == page


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    """The names GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.M)
    kept = (re.sub(r"[^\w\- ]", "", re.sub(r"\]\(.*?\)", "", head)) for head in headings)
    return {head.strip().lower().replace(" ", "-") for head in kept}


def dead_links(path: Path) -> Iterator[str]:
    text = prose(path)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for link in links:
        file, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = path if not file else path.parent / file
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    assert list(dead_links(path)) == []


def test_every_page_can_be_reached_from_the_index() -> None:
    index = {
        (folder / link.partition("#")[0]).resolve()
        for folder in (ROOT / "docs", ROOT / "docs" / "decisions")
        for link in re.findall(r"\]\(([^)\s:]+)\)", (folder / "README.md").read_text())
    }
    pages = {path for path in PAGES if (ROOT / "docs") in path.parents}
    assert pages - index - {ROOT / "docs" / "README.md"} == set()


def test_every_decision_says_when_and_whether_it_holds() -> None:
    for path in (ROOT / "docs" / "decisions").glob("*.md"):
        if path.name != "README.md":
            head = path.read_text().splitlines()[2]
            assert re.match(r"\d{4}-\d\d-\d\d · (accepted|superseded|tried and left)", head), path


NUMBERS = [
    name
    for name, field in Settings.model_fields.items()
    if {int, float} & {field.annotation, *get_args(field.annotation)}
]


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_can_be_set_to_nonsense(name: str) -> None:
    """A typo is refused at the start, before it becomes an outage."""
    nonsense = ["-1", "nan", "-inf", "much", *(["0"] if name.startswith("max_") else [])]
    for value in nonsense:
        with pytest.raises(ValidationError, match=name):
            Settings(**{name: value})


def test_the_numbers_are_found() -> None:
    assert {"port", "max_uploads", "max_jobs", "decode_timeout"} <= {*NUMBERS}
