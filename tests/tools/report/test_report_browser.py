"""The page in a real browser: it draws, answers to pointer and keys, and connects to nothing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_outputs import clustered, data_of, names_of, write_clip, write_output
from vidfeat.tools.report import build

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (vidfeat[browser-tests])")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian's package is called chromium)")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        yield chromium
        chromium.close()


@pytest.fixture
def view(browser: Any) -> Iterator[Any]:
    """Opens a page, and holds at the end that it had no error and asked for nothing but itself."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    view = context.new_page()
    troubles: list[str] = []
    requests: list[str] = []
    view.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
    view.on("pageerror", lambda error: troubles.append(str(error)))
    view.on("request", lambda request: requests.append(request.url))
    yield view
    context.close()
    assert troubles == []
    assert {url.partition(":")[0] for url in requests} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in requests) == 1


def show(view: Any, page: Path) -> dict[str, Any]:
    view.goto(page.as_uri())
    view.wait_for_selector("#map[data-ready][data-points]")
    return data_of(page)


def position(view: Any, data: dict, video: int) -> tuple[float, float]:
    """Where a video of the first group is on the page while all of the map is seen, in pixels."""
    group = data["groups"][0]
    x, y = group["places"][group["members"].index(video)]
    view.locator("#map").scroll_into_view_if_needed()
    box = view.locator("#map").bounding_box()
    side = float(view.get_attribute("#map", "data-side"))
    return box["x"] + box["width"] / 2 + (x - 0.5) * side, box["y"] + box["height"] / 2 - (y - 0.5) * side


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    names = names_of(12)
    out = write_output(folder / "features.pkl", names, clustered(12), fails={4}, message="a torn file")
    for number in (0, 1, 2, 3):
        write_clip(folder / "videos" / names[number], seed=number, frames=6)
    labels = folder / "labels.csv"
    labels.write_text("name,half\n" + "".join(f"{name},{number // 6}\n" for number, name in enumerate(names)))
    page = folder / "report.html"
    build(out, video_root=folder / "videos", labels=labels, page=page)
    return page


def test_it_draws_a_point_for_every_video_with_features(view: Any, made: Path) -> None:
    data = show(view, made)
    assert view.get_attribute("#map", "data-points") == view.get_attribute("#map", "data-drawn") == "11"
    assert view.title() == "features.pkl: features"
    assert view.inner_text("#overview") == ("12 videos, finished · 11 with features · 1 failed · feature size 16")
    places = [position(view, data, video) for video in data["groups"][0]["members"]]
    box = view.locator("#map").bounding_box()
    alpha = view.evaluate(
        """places => {
          const {width, data} = document.getElementById('map').getContext('2d').getImageData(0, 0, 5000, 5000);
          return places.map(([x, y]) => data[4 * (Math.round(y) * width + Math.round(x)) + 3]);
        }""",
        [[x - box["x"], y - box["y"]] for x, y in [*places, (box["x"] + 5, box["y"] + 5)]],
    )
    assert min(alpha[:-1]) > 200
    assert alpha[-1] == 0
    assert "The nearest neighbour has the same folder for 100.0 %" in view.inner_text("#agreement")
    assert "a torn file" in view.inner_text("#failures")
    assert view.locator("#notes li").count() == 1


def test_hovering_shows_the_picture_and_clicking_the_neighbours(view: Any, made: Path) -> None:
    data = show(view, made)
    view.mouse.move(*position(view, data, 3))
    assert view.inner_text("#tip").startswith("class 0/clip 3.mp4")
    assert view.locator("#tip img").evaluate("image => image.complete && image.naturalWidth") == 96
    view.mouse.click(*position(view, data, 3))
    assert view.inner_text("#detail-heading") == "class 0/clip 3.mp4"
    group = data["groups"][0]
    near = group["near"][group["members"].index(3)]
    shown = view.locator("#neighbours button")
    assert [int(shown.nth(i).get_attribute("data-video")) for i in range(shown.count())] == near
    assert shown.count() == 8
    assert set(near[:2]) <= {0, 6, 9}
    assert view.locator("#detail .reel img").count() == 6
    assert view.inner_text("#detail dl").split("\n")[:2] == ["folder", "class 0"]
    shown.first.click()
    assert view.inner_text("#detail-heading") == data["names"][near[0]]
    assert view.get_attribute("#map", "data-selected") == str(near[0])


def test_all_of_it_works_with_the_keyboard(view: Any, made: Path) -> None:
    data = show(view, made)
    for _ in range(12):
        view.keyboard.press("Tab")
        if view.evaluate("document.activeElement.id") == "map":
            break
    assert view.evaluate("document.activeElement.id") == "map"
    assert view.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    view.keyboard.press("ArrowRight")
    first = view.get_attribute("#map", "data-current")
    assert int(first) in data["groups"][0]["members"]
    seen = {first}
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown") * 3:
        view.keyboard.press(key)
        seen.add(view.get_attribute("#map", "data-current"))
    assert len(seen) >= 3
    current = int(view.get_attribute("#map", "data-current"))
    assert data["names"][current] in view.inner_text("#status")
    view.keyboard.press("Enter")
    assert view.inner_text("#detail-heading") == data["names"][current]
    view.keyboard.press("Escape")
    assert view.inner_text("#detail-heading") == "No video selected"

    view.focus("#find")
    view.keyboard.type("CLIP 1")
    assert view.inner_text("#found") == "3 videos"  # 1, 10 and 11
    view.keyboard.press("Tab")
    if view.evaluate("document.activeElement.id") == "list":  # a list that scrolls takes the focus itself
        view.keyboard.press("Tab")
    view.keyboard.press("Enter")
    assert view.inner_text("#detail-heading") == "class 1/clip 1.mp4"
    assert view.evaluate("document.activeElement.id") == "detail"


def test_colours_zoom_and_legend(view: Any, made: Path) -> None:
    data = show(view, made)
    legend = view.locator("#legend button")
    assert legend.all_inner_texts() == ["class 0 (4)", "class 1 (4)", "class 2 (4)"]
    legend.first.click()
    assert legend.first.get_attribute("aria-pressed") == "true"
    view.select_option("#colour", label="half")
    assert legend.all_inner_texts() == ["0 (6)", "1 (6)"]
    x, y = position(view, data, 0)
    view.click("#zoom-in")
    view.mouse.move(x, y)
    assert view.get_attribute("#map", "data-current") != "0"
    view.click("#zoom-reset")
    view.mouse.move(x + 1, y)
    assert view.get_attribute("#map", "data-current") == "0"
    view.mouse.down()
    view.mouse.move(x + 60, y + 40, steps=4)
    view.mouse.up()
    assert view.get_attribute("#map", "data-selected") is None  # a drag is no click
    view.mouse.move(x + 59, y + 39)
    assert view.get_attribute("#map", "data-current") == "0"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(view: Any, made: Path, scheme: str) -> None:
    view.emulate_media(color_scheme=scheme)
    show(view, made)
    view.keyboard.press("Tab")
    view.click("#list button >> nth=4")
    for selector in ("#title", "#overview", ".quiet", "#notes li", "dt", "dd", "#legend button", ".number", "summary"):
        if view.locator(selector).count():
            assert contrast(view, selector) >= 4.5, selector
    dark = luminance(view.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.2
    assert dark == (scheme == "dark")


def contrast(view: Any, selector: str) -> float:
    ink, ground = view.locator(selector).first.evaluate(
        """element => {
          let ground = element;
          while (getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
          return [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor];
        }"""
    )
    low, high = sorted((luminance(ink), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = np.array([int(value) for value in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_rows_over_time_show_their_similarity(view: Any, tmp_path: Path) -> None:
    halves = np.zeros((6, 4), np.float32)
    halves[:3, 0], halves[3:, 1] = 1, 1
    rows = [halves, halves[::2] + 0.1, halves[0]]
    page = tmp_path / "report.html"
    build(write_output(tmp_path / "f.pkl", names_of(3), rows), video_root=None, labels=None, page=page)
    show(view, page)
    view.click("#list button >> nth=0")
    pixels = view.evaluate(
        """() => {
          const matrix = document.querySelector('.matrix');
          return Array.from(matrix.getContext('2d').getImageData(0, 0, 6, 6).data);
        }"""
    )
    bright = np.array(pixels).reshape(6, 6, 4)[..., 1] > 100
    np.testing.assert_array_equal(bright, np.kron(np.eye(2), np.ones((3, 3))).astype(bool))
    view.focus(".matrix")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown"):
        view.keyboard.press(key)
    assert view.inner_text("#detail [role=status]") == "row 1 (0.5 s) and row 3 (1.2 s): cosine 0.000"
    view.click("#list button >> nth=2")
    assert view.locator(".matrix").count() == 0


def test_empty_failed_and_odd_outputs_are_shown(view: Any, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    (tmp_path / "f.json").write_text("[]")
    build(tmp_path / "f.json", video_root=None, labels=None, page=page)
    show(view, page)
    assert "The output is empty" in view.inner_text("#notes")
    assert view.get_attribute("#map", "data-points") == "0"
    view.focus("#map")
    view.keyboard.press("ArrowRight")
    view.keyboard.press("Enter")


def test_sizes_have_a_map_each(view: Any, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text("[[1, 2], [3, 4, 5], [1, 1], [2, 0, 1], [0, 1]]")
    page = tmp_path / "report.html"
    build(tmp_path / "f.json", video_root=None, labels=None, page=page)
    show(view, page)
    assert view.get_attribute("#map", "data-points") == "3"
    view.select_option("#size", label="3 (2 videos)")
    view.wait_for_selector("#map[data-points='2']")
    view.click("#list button >> nth=0")
    view.wait_for_selector("#map[data-points='3']")
