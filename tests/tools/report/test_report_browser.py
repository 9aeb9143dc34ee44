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
        write_clip(folder / "videos" / names[number], seed=number, frames=12)
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
    assert "The nearest neighbour has the same folder for 100.0%" in view.inner_text("#agreement")
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


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Windows of 1 s every 0.5 s; row 3 of clip 0 is nearest to row 7 of clip 1; clip 2 has segments, clip 3 views."""
    folder = tmp_path_factory.mktemp("dense")
    axes = np.eye(12)
    rows = [axes[[0, 0, 1, 2, 3, 3]], axes[[4, 4, 4, 4, 5, 5, 5, 2, 5, 5]] + 0.02 * axes[0], axes[[6, 7]]]
    rows.append(np.repeat(axes[[8, 9], None], 10, axis=1))  # ten crops that were kept
    windows = [np.stack([np.arange(count) * 0.5, np.arange(count) * 0.5 + 1], axis=1) for count in (6, 10)]
    out = write_output(
        folder / "f.npz", names_of(4), rows, seconds=[*windows, np.array([[0.2, 0.4], [4.0, 4.8]]), None]
    )
    for number in (0, 1, 2):
        write_clip(folder / "videos" / names_of(4)[number], seed=number, frames=55)
    np.savez(folder / "q.npz", words=np.array(["<i>a door</i> opens", "the sea"]), vectors=axes[[7, 2]])
    page = folder / "report.html"
    build(out, video_root=folder / "videos", labels=None, queries=folder / "q.npz", page=page)
    return page


def matrix_of(view: Any) -> np.ndarray:
    """The pixels of the self-similarity, [side, side, 4]."""
    pixels = view.evaluate(
        """() => {
          const matrix = document.querySelector('.matrix');
          return Array.from(matrix.getContext('2d').getImageData(0, 0, matrix.width, matrix.width).data);
        }"""
    )
    side = round((len(pixels) / 4) ** 0.5)
    return np.array(pixels).reshape(side, side, 4)


def test_rows_over_time_show_their_similarity(view: Any, dense: Path) -> None:
    show(view, dense)
    assert "20 rows over time" in view.inner_text("#overview")
    view.click("#list button >> nth=0")
    kinds = np.array([0, 0, 1, 2, 3, 3])
    np.testing.assert_array_equal(matrix_of(view)[..., 1] > 100, kinds[:, None] == kinds)
    assert view.locator(".time span").all_inner_texts() == ["0.0 s", "1.5 s", "3.5 s"]
    view.focus(".matrix")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown"):
        view.keyboard.press(key)
    names, _, cosine = view.inner_text(".pair").rpartition(": cosine ")
    assert names == "0.50 to 1.50 s, row 1 and 1.50 to 2.50 s, row 3"
    assert float(cosine) == pytest.approx(0, abs=0.01)
    assert view.locator(".pair img").count() == 2
    view.click("#list button >> nth=3")
    assert matrix_of(view).shape == (2, 2, 4)
    assert view.locator(".time span").all_inner_texts() == ["row 0", "row 1", "row 1"]
    assert "the video is not below" in view.inner_text("#detail")


def test_a_moment_shows_its_frames_and_the_nearest_moments(view: Any, dense: Path) -> None:
    data = show(view, dense)
    view.click("#list button >> nth=0")
    box = view.locator(".matrix").bounding_box()
    view.mouse.click(box["x"] + box["width"] * 3.5 / 6, box["y"] + 10)
    assert view.inner_text("#moment h3 >> nth=0") == "Moment: 1.50 to 2.50 s, row 3"
    seconds = [at for at, _ in data["pictures"]["0"] if 1.5 <= at < 2.5]
    captions = view.locator("#moment figcaption").all_inner_texts()
    assert captions == [f"{at:.2f} s" for at in seconds]
    assert captions
    first = view.locator("#near-moments button").first
    assert first.inner_text().split("\n")[:2] == ["class 1/clip 1.mp4", "3.50 to 4.50 s, row 7"]
    assert float(first.inner_text().split("\n")[2]) == pytest.approx(1, abs=0.01)
    first.click()
    assert view.inner_text("#detail-heading") == "class 1/clip 1.mp4"
    assert view.inner_text("#moment h3 >> nth=0") == "Moment: 3.50 to 4.50 s, row 7"
    assert view.input_value(".over-time input") == "7"
    view.focus(".over-time input")
    view.keyboard.press("ArrowLeft")
    assert view.inner_text("#moment h3 >> nth=0") == "Moment: 3.00 to 4.00 s, row 6"
    view.click("#list button >> nth=2")
    view.click(".over-time .reel button >> nth=1")
    assert view.inner_text("#moment h3 >> nth=0") == "Moment: 4.00 to 4.80 s, row 1"
    assert view.inner_text("#moment figcaption") == "4.40 s"
    assert "the mean over the axes" not in view.inner_text("#moment")
    view.click("#list button >> nth=3")
    view.focus(".over-time input")
    view.keyboard.press("ArrowRight")
    assert view.inner_text("#moment h3 >> nth=0") == "Moment: row 1"
    assert "Each row is the mean over the axes that the pooling kept" in view.inner_text("#moment")


def test_the_page_computes_what_the_library_computes(view: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [np.cumsum(random.standard_normal((count, 40)), axis=0) + 5 for count in (30, 700)]
    times = [np.stack([np.arange(len(part)), np.arange(len(part)) + 1.0], axis=1) for part in rows]
    page = tmp_path / "report.html"
    build(write_output(tmp_path / "f.npz", names_of(2), rows, seconds=times), video_root=None, labels=None, page=page)
    show(view, page)
    view.click("#list button >> nth=0")
    view.focus(".over-time input")
    view.keyboard.press("End")
    directions = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in rows]
    cosine = np.concatenate([-np.ones(1), directions[1] @ directions[0][29], -np.ones(1)])
    peaks = [place for place in range(1, 701) if cosine[place - 1] < cosine[place] >= cosine[place + 1]]
    shown = {
        int(button.get_attribute("data-step")): float(button.inner_text().split("\n")[-1])
        for button in view.locator("#near-moments button").all()
        if button.get_attribute("data-video") == "1"
    }
    assert shown
    for step, value in shown.items():
        assert min(abs(step + 1 - peak) for peak in peaks) <= 3
        assert value == pytest.approx(cosine[step + 1], abs=0.02)
    view.click("#list button >> nth=1")
    assert view.get_attribute(".matrix", "width") == "320"  # neighbouring rows are joined
    assert view.get_attribute(".over-time input", "max") == "699"


def test_labels_of_segments_are_shown(view: Any, tmp_path: Path) -> None:
    """Over the axis, where neighbouring rows share one, and with the seconds of a moment; also in lists of others."""
    times = [np.array([[0, 1], [1, 2], [2, 3], [3, 5]]), np.array([[0.5, 1]]), np.array([[0, 1]])]
    labels = [["run", "run", None, "<b>jump</b>"], ["run"], [None]]
    rows = [np.eye(6)[[0, 1, 2, 3]], np.eye(6)[[1]], np.eye(6)[[5]]]
    page = tmp_path / "report.html"
    out = write_output(tmp_path / "f.npz", names_of(3), rows, seconds=times, labels=labels)
    build(out, video_root=None, labels=None, page=page)
    assert data_of(page)["rowLabels"] == {"values": ["run", "<b>jump</b>"], "of": {"0": [0, 0, -1, 1], "1": [0]}}
    show(view, page)
    view.click("#list button >> nth=0")
    buttons = view.locator(".labels button")
    assert buttons.all_inner_texts() == ["run", "(none)", "<b>jump</b>"]
    widths = [buttons.nth(number).bounding_box()["width"] for number in range(3)]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.1)
    buttons.nth(2).click()
    assert view.inner_text("#moment h3 >> nth=0") == "Moment: 3.00 to 5.00 s, row 3, <b>jump</b>"
    buttons.nth(0).click()
    assert view.inner_text("#moment h3 >> nth=0") == "Moment: 0.00 to 1.00 s, row 0, run"
    assert "0.50 to 1.00 s, row 0, run" in view.inner_text("#near-moments")
    view.click("#list button >> nth=2")
    assert view.locator(".labels").count() == 0


def test_words_find_moments(view: Any, dense: Path) -> None:
    show(view, dense)
    assert view.locator("#queries button").all_inner_texts() == ["<i>a door</i> opens", "the sea"]
    view.fill("#part", "SEA")
    assert view.locator("#queries button").all_inner_texts() == ["the sea"]
    view.click("#queries button")
    results = view.locator("#results button")
    assert [results.nth(number).get_attribute("data-step") for number in (0, 1)] == ["3", "7"]
    results.nth(1).click()
    assert view.inner_text("#detail-heading") == "class 1/clip 1.mp4"
    assert view.inner_text("#moment h3 >> nth=0") == "Moment: 3.50 to 4.50 s, row 7"
    view.fill("#part", "")
    view.click("#queries button >> nth=0")
    assert results.first.inner_text().split("\n")[:2] == ["class 2/clip 2.mp4", "4.00 to 4.80 s, row 1"]
    view.click("#queries button >> nth=0")
    assert results.count() == 0


def test_sixteen_labels_differ_in_shape(view: Any, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    out = write_output(tmp_path / "f.npz", names_of(32, 16), clustered(32, classes=16))
    build(out, video_root=None, labels=None, page=page)
    show(view, page)
    marks = view.evaluate(
        """[...document.querySelectorAll('#legend polygon')].map(
          (mark) => [mark.getAttribute('points'), mark.getAttribute('fill') === 'none'].join())"""
    )
    assert len(set(marks)) == len(marks) == 16


@pytest.mark.parametrize("size", [(1280, 900), (900, 600), (390, 800)])
def test_the_detail_covers_no_panel(view: Any, dense: Path, size: tuple[int, int]) -> None:
    view.set_viewport_size({"width": size[0], "height": size[1]})
    show(view, dense)
    for chosen in (0, 2):
        view.click(f"#list button >> nth={chosen}")
        for share in (0, 0.3, 0.6, 0.9, 1):
            overlap = view.evaluate(
                """share => {
                  scrollTo(0, share * document.documentElement.scrollHeight);
                  const sections = [...document.querySelectorAll('section:not([hidden])')];
                  const boxes = sections.map((section) => section.getBoundingClientRect());
                  const apart = (a, b) =>
                    a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
                  return boxes.some((a, i) => boxes.some((b, j) => i < j && !apart(a, b)));
                }""",
                share,
            )
            assert not overlap
    assert view.evaluate("document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("width", [1280, 900, 500, 390])
def test_table_cells_do_not_break_words(view: Any, tmp_path: Path, width: int) -> None:
    message = "Invalid data found when processing input"
    out = write_output(tmp_path / "f.npz", names_of(4), clustered(4), fails={1, 2}, message=message)
    page = tmp_path / "report.html"
    build(out, video_root=None, labels=None, page=page)
    view.set_viewport_size({"width": width, "height": 800})
    show(view, page)
    broken = view.evaluate(
        """() => {
          const broken = [];
          for (const cell of document.querySelectorAll('#failures td, #failures th')) {
            const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
            while (walker.nextNode()) {
              for (const {index, 0: word} of walker.currentNode.data.matchAll(/\\S+/g)) {
                const range = document.createRange();
                range.setStart(walker.currentNode, index);
                range.setEnd(walker.currentNode, index + word.length);
                if (range.getClientRects().length > 1) broken.push(word);
              }
            }
          }
          return broken;
        }"""
    )
    assert broken == []


def test_names_break_behind_separators_and_the_median_is_one(view: Any, tmp_path: Path) -> None:
    names = [f"recordings/a_long_name-of_a.video_with_many_parts/{number:04}_of_day.mp4" for number in range(4)]
    vectors = clustered(4)
    page = tmp_path / "report.html"
    build(write_output(tmp_path / "f.npz", names, vectors), video_root=None, labels=None, page=page)
    view.set_viewport_size({"width": 390, "height": 800})
    show(view, page)
    view.click("#list button >> nth=2")
    assert view.inner_text("#detail-heading") == names[2]
    lines = view.evaluate(
        """() => [...document.querySelectorAll('#detail-heading, #list .grow, #detail .grow')].map((element) => [
          Math.max(...[...element.childNodes].map((part) => {
            const range = document.createRange();
            range.selectNodeContents(part);
            return range.getClientRects().length;
          })),
          element.getClientRects().length && element.offsetHeight / parseFloat(getComputedStyle(element).lineHeight),
        ])"""
    )
    assert len(lines) == 1 + 4 + 3
    assert max(parts for parts, _ in lines) == 1  # no part of a name is broken
    assert min(height for _, height in lines) > 1.5  # and each name is
    (median,) = re.findall(r"median ([\d.]+)\.", view.inner_text("#statistics"))
    assert float(median) == pytest.approx(np.median(np.linalg.norm(vectors, axis=1)), rel=1e-3)


def test_on_paper_it_is_light_and_without_controls(view: Any, made: Path) -> None:
    view.emulate_media(color_scheme="dark")
    show(view, made)
    assert luminance(view.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.2
    view.emulate_media(media="print", color_scheme="dark")
    assert luminance(view.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.8
    assert view.locator("#map").is_visible()
    assert not view.locator("#list-panel").is_visible()
    assert not view.locator("#zoom-reset").is_visible()


def test_on_a_phone_a_tap_scrolls_to_the_detail(browser: Any, dense: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    view = context.new_page()
    data = show(view, dense)
    x, y = position(view, data, 2)
    view.touchscreen.tap(x, y)
    assert view.inner_text("#detail-heading") == "class 2/clip 2.mp4"
    assert 0 <= view.locator("#detail").bounding_box()["y"] < 50
    view.tap("#back")
    assert 0 <= view.locator("#map-panel").bounding_box()["y"] < 50
    view.tap("#list button >> nth=0")
    assert 0 <= view.locator("#detail").bounding_box()["y"] < 50
    view.locator(".matrix").tap(position={"x": 5, "y": 200})
    assert view.inner_text("#moment h3 >> nth=0") == "Moment: 0.00 to 1.00 s, row 0"
    context.close()


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
