"""Write locks/: everything the image installs, pinned by version and by the hashes of its files.

    make lock

From requirements.txt and requirements-tracing.txt, for every platform. Three files, since they are
installed one after the other (Dockerfile): what builds openai-whisper, which comes as source; torch
with the CUDA it brings, in whose place another build may be installed; and the rest. No file names
an index: hashes are the same wherever the files come from.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "locks"
SOURCES = ("requirements.txt", "requirements-tracing.txt")
PYTHON = "3.11"
"""The oldest that is supported."""
BUILD = re.compile(r"setuptools$")
TORCH = re.compile(r"(torch|triton|cuda-.*|nvidia-.*)$")
HEAD = "# Made by `make lock`; do not edit.\n"


def main() -> int:
    """Resolve, split, write."""
    files: dict[str, list[str]] = {"build": [], "torch": [], "service": []}
    for entry in entries(resolve()):
        files[file_of(name_of(entry))].append(entry)
    FOLDER.mkdir(exist_ok=True)
    for name, found in files.items():
        (FOLDER / f"{name}.txt").write_text(HEAD + "".join(found))
        print(f"locks/{name}.txt: {len(found)} packages")
    return 0


def resolve() -> str:
    """All packages with hashes, as `uv pip compile` writes them."""
    words = ["uv", "pip", "compile", *SOURCES, "--universal", "--python-version", PYTHON]
    words += ["--generate-hashes", "--no-annotate", "--no-header", "--no-config", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def entries(text: str) -> Iterator[str]:
    """Each requirement with the lines of its hashes."""
    return (found.group() for found in re.finditer(r"^[^#\s].*\n(?:[ \t].*\n)*", text, re.M))


def name_of(entry: str) -> str:
    """`ray` for an entry that begins `ray==2.60.0`."""
    return entry.partition("==")[0]


def file_of(name: str) -> str:
    """Which of the three files a package belongs to."""
    if BUILD.match(name):
        return "build"
    return "torch" if TORCH.match(name) else "service"


if __name__ == "__main__":
    sys.exit(main())
