"""The README stays true: its settings are the settings, its files exist."""

import re
from pathlib import Path

from whisper_service.settings import Settings, settings_markdown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def between(name: str) -> str:
    """Return what stands between the README's two comments of a name."""
    found = re.search(rf"<!-- {name}: begin -->\n(.*)<!-- {name}: end -->", README, re.S)
    assert found
    return found[1]


def test_settings_table_is_the_settings() -> None:
    """`python -m whisper_service.settings` prints the table to paste."""
    assert between("settings") == settings_markdown()


def test_every_file_it_links_to_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_limits_are_settings_with_bounds() -> None:
    """A limit that cannot be set to nonsense is what keeps a typo from becoming an outage."""
    unbounded = [
        name
        for name, field in Settings.model_fields.items()
        if name.startswith("max_") and not field.metadata
    ]
    assert unbounded == []
