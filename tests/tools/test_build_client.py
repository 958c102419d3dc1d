import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.build_client import CLIENT, ROOT, WEB, build


def test_the_page_is_what_its_sources_make() -> None:
    assert CLIENT.read_text(encoding="utf-8") == build(WEB), "run `make client`"


def test_every_module_is_in_the_page() -> None:
    named = re.findall(r'src="(\w+\.js)"', (WEB / "index.html").read_text())
    assert sorted(named) == sorted(path.name for path in WEB.glob("*.js"))


def test_a_module_comes_after_those_that_it_imports() -> None:
    names = re.findall(r'src="(\w+\.js)"', (WEB / "index.html").read_text())
    for place, name in enumerate(names):
        imported = re.findall(r'from "\./(\w+\.js)"', (WEB / name).read_text())
        assert set(imported) <= set(names[:place]), name


def test_a_name_is_declared_once_in_all_modules() -> None:
    declared = re.findall(r"^(?:async )?(?:class|function\*?|const|let) (\w+)", build(WEB), re.M)
    assert sorted(declared) == sorted(set(declared))


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="a.css">\n<p>\n'
        '<script type="module" src="a.js"></script>\n<script type="module" src="b.js"></script>\n'
    )
    (tmp_path / "a.css").write_text("p { color: red; }\n")
    (tmp_path / "a.js").write_text("export const A = String.raw`\\1`;\n")
    (tmp_path / "b.js").write_text('import {\n  A,\n} from "./a.js";\n\nexport function b() {}\n')
    return tmp_path


def test_modules_become_one_script_without_imports_and_exports(sources: Path) -> None:
    html = build(sources)
    assert html.startswith("<style>\np { color: red; }\n</style>\n<p>\n")
    assert html.count("<script") == html.count("</script>") == 1
    assert "\nconst A = String.raw`\\1`;\n" in html
    assert "\nfunction b() {}\n" in html
    assert "import" not in html


def test_a_check_of_a_page_that_is_up_to_date_passes() -> None:
    subprocess.run([sys.executable, "-m", "tools.build_client", "--check"], cwd=ROOT, check=True)
