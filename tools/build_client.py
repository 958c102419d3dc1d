"""Put the web client of web/ together as the one file whisper_client.html.

    python -m tools.build_client            # or: make client
    python -m tools.build_client --check    # exit status 1 where the file is not what web/ makes

A browser opens no module from disk, so the page is one file: the style sheet and the modules that
index.html names are written into it, the modules in that order as one script. They share one scope
then, so a name may be declared once in all of them, and `import` and `export` go.
"""

import argparse
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
WEB = ROOT / "web"
CLIENT = ROOT / "whisper_client.html"
STYLE = re.compile(r'<link rel="stylesheet" href="(.+)">\n')
MODULES = re.compile(r'(?:<script type="module" src=".+"></script>\n)+')
IMPORT = re.compile(r'^import \{[^}]*\} from "\./.+";\n+', re.MULTILINE)
RULER = 90


def main() -> None:
    """Write the file, or say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    html = build(WEB)
    if not parser.parse_args().check:
        CLIENT.write_text(html, encoding="utf-8")
    elif CLIENT.read_text(encoding="utf-8") != html:
        raise SystemExit(f"{CLIENT.name} is not what web/ makes: run `make client`")


def build(folder: Path) -> str:
    """Return the page with its style sheet and modules inside."""
    html = (folder / "index.html").read_text(encoding="utf-8")
    html = STYLE.sub(lambda link: f"<style>\n{_read(folder / link[1])}</style>\n", html)
    return MODULES.sub(lambda tags: _script(folder, re.findall(r'src="(.+)"', tags[0])), html)


def _script(folder: Path, names: list[str]) -> str:
    sections = (f"// {f' {name}':->{RULER}}\n\n{_module(folder / name)}" for name in names)
    return '<script type="module">\n' + "\n".join(sections) + "</script>\n"


def _module(path: Path) -> str:
    return re.sub(r"^export (?=\w)", "", IMPORT.sub("", _read(path)), flags=re.MULTILINE)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip("\n") + "\n"


if __name__ == "__main__":
    main()
