"""The report of an ablation in Chromium: on a laptop and on a telephone nothing scrolls sideways."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import grids
from tests.report.chromium import measure, needs_chromium


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layout")
    grids.run(folder, strategies=("cot", "post-cot-key"), baseline="cot")
    return folder / "grid" / "report.html"


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_scrolls_sideways(width: int, page: Path, tmp_path: Path) -> None:
    scroll, client, right = measure(page, width, tmp_path)
    assert scroll <= client <= width
    assert right <= client


@needs_chromium
def test_the_first_screen_uses_the_width_of_a_laptop(page: Path, tmp_path: Path) -> None:
    _, client, right = measure(page, 1280, tmp_path)
    assert right > 0.95 * client


@needs_chromium
def test_a_page_that_is_too_wide_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "wide.html"
    page.write_text('<div class="first"><p style="width:700px">x</p></div><h1>x</h1>')
    scroll, client, right = measure(page, 390, tmp_path)
    assert scroll > client
    assert right > client


def test_every_table_has_a_button_and_one_dose_has_no_curve(page: Path) -> None:
    text = page.read_text()
    assert text.count('class="copy" type="button"') == text.count("<table>") > 3
    assert not (page.parent / "figures" / "words-kept.svg").exists()
    assert not list(page.parent.glob("figures/*kept*"))
