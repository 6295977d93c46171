"""The book of docs/ can be built, and in what is built every link leads somewhere."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

DOCS = Path(__file__).parents[2] / "docs"
# requirements-book.txt puts it beside the interpreter.
MDBOOK = Path(sys.executable).with_name("mdbook")


class Page(HTMLParser):
    """Anchors of a page, and where it leads: links, pictures, scripts, styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.targets.append(value)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not MDBOOK.exists():
        pytest.skip("mdbook is not installed: requirements-book.txt")
    folder = tmp_path_factory.mktemp("book")
    done = subprocess.run([MDBOOK, "build", DOCS, "--dest-dir", folder], check=True, capture_output=True, text=True)
    assert "WARN" not in done.stderr and "ERROR" not in done.stderr, done.stderr
    return folder


def test_every_page_is_there(book: Path) -> None:
    pages = {page.stem for page in DOCS.glob("*.md")} - {"SUMMARY"}
    assert pages <= {page.stem for page in book.glob("*.html")}


def test_links_lead_somewhere(book: Path) -> None:
    pages = {path: Page(path) for path in book.glob("*.html")}
    broken, followed = [], 0
    for path, page in pages.items():
        if path.name == "404.html":  # its links are from the root of a server
            continue
        for target in page.targets:
            link = urlsplit(target)
            if link.scheme or link.netloc:
                continue
            followed += 1
            file = (path.parent / unquote(link.path)).resolve() if link.path else path
            anchors = pages[file].anchors if file in pages else None
            if not file.is_file():
                broken.append(f"{path.name}: {target}: no such file")
            elif link.fragment and anchors is not None and unquote(link.fragment) not in anchors:
                broken.append(f"{path.name}: {target}: no such anchor")
    assert not broken, "\n".join(broken)
    assert followed > 100
