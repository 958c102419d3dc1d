"""Ask the Python advisory database for known weaknesses of everything in locks/.

    make audit [AUDIT_ARGS=--where-reachable]

Exit code 0: none; 1: some, named, or the question was wrong; 75: nothing was found out, since the
database was not reached (0 with --where-reachable). pip-audit alone calls it clean where the index
knows no package.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

from tools.lock import FOLDER, ROOT

CLEAN, FAILED, UNREACHED = 0, 1, os.EX_TEMPFAIL
Run = Callable[[list[str]], subprocess.CompletedProcess[str]]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    """The real pip-audit."""
    command = [sys.executable, "-m", "pip_audit", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def audit(run: Run = run) -> int:
    """Audit all locks together and say what was found; -> the exit code."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(path.read_text() for path in sorted(FOLDER.glob("*.txt"))))
        file.flush()
        done = run(["--disable-pip", "--require-hashes", "-f", "json", "-r", file.name])
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"NOT AUDITED: {done.stderr.strip().splitlines()[-1:]}")
        return UNREACHED if "ConnectionError" in done.stderr else FAILED
    weak = [(package, weakness) for package in found for weakness in package.get("vulns", ())]
    skipped = [package["name"] for package in found if "skip_reason" in package]
    for package, weakness in weak:
        fixed = ", ".join(weakness["fix_versions"]) or "none yet"
        print(f"{package['name']} {package['version']}: {weakness['id']}, fixed in: {fixed}")
    if len(skipped) == len(found):
        print("NOT AUDITED: the index that pip-audit asks has no advisories for any package.")
        return UNREACHED
    if skipped:
        print(f"not looked up: {', '.join(skipped)}")
    print(f"{len(found) - len(skipped)} packages audited, {len(weak)} known weaknesses")
    return FAILED if weak else CLEAN


if __name__ == "__main__":
    status = audit()
    sys.exit(CLEAN if status == UNREACHED and "--where-reachable" in sys.argv[1:] else status)
