"""`make settings`: the rows of docs/settings.md anew, from the settings and their descriptions.

The page groups them by hand. A row stays where it is; that of a new setting comes after the one
that is before it in the code, that of a setting that is gone goes.
"""

import re
from pathlib import Path

from whisper_service.settings import Settings, default_text

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
_ROW = re.compile(r"\| `WHISPER_(\w+)` \|")


def rows() -> dict[str, str]:
    """The row of each setting, by its name, in the order of the code."""
    found = {}
    for name, field in Settings.model_fields.items():
        shown = default_text(field.default)
        default = f"`{shown}`" if shown else ""
        found[name] = f"| `WHISPER_{name.upper()}` | {default} | {field.description} |"
    return found


def with_rows(page: str) -> str:
    """The page with its rows as they should be. Raises ValueError where it has none to begin at."""
    wanted, lines = rows(), []
    for line in page.splitlines():
        match = _ROW.match(line)
        if match is None:
            lines.append(line)
        elif row := wanted.get(match[1].lower()):
            lines.append(row)
    before = ""
    for row in wanted.values():
        if row not in lines:
            lines.insert(lines.index(before) + 1, row)
        before = row
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(with_rows(PAGE.read_text()))
