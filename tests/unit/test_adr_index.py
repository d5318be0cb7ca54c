"""The index of decisions lists every page once, with the title the page itself has."""

import re
from pathlib import Path

ADR = Path(__file__).resolve().parents[2] / "docs" / "adr"
LINE = re.compile(r"^\* \[(?P<title>.+)\]\((?P<file>\S+)\)$", re.MULTILINE)


def test_the_index_lists_each_page_once_with_the_title_of_its_heading() -> None:
    listed = [(line["file"], line["title"]) for line in LINE.finditer((ADR / "README.md").read_text())]
    pages = [(page.name, page.read_text().partition("\n")[0]) for page in sorted(ADR.glob("[0-9]*.md"))]
    assert pages
    assert [(file, f"# {title}") for file, title in listed] == pages


def test_a_heading_begins_with_the_number_of_its_file() -> None:
    wrong = [
        page.name for page in ADR.glob("[0-9]*.md") if not page.read_text().startswith(f"# {int(page.name[:4])}. ")
    ]
    assert not wrong
