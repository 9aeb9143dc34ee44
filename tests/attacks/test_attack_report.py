"""Hostile outputs, and what they do to the report."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from made_outputs import clustered, data_of, names_of, write_output
from vidfeat.errors import OutputError, VidfeatError
from vidfeat.store.files import RunFiles
from vidfeat.tools.report import build

EVIL = [
    "<img src=x onerror=alert(1)>.mp4",
    "</script><script>document.title='owned'</script>",
    "<!--<script>",
    "]]>&lt;b&gt;<svg onload=alert(1)>",
    "javascript:alert(1)//\u2028\u2029",
    "POLICY <!--data--> <!--program--> <!--style-->",
    "\udc80\udcff bytes that are no text",
    "__proto__",
    "../../etc/passwd",
    "\u202egnp.exe",
]


class Tags(HTMLParser):
    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


def page_of(out: Path, **options: object) -> Path:
    page = out.with_name("report.html")
    build(out, **{"video_root": None, "labels": None, "page": page, **options})  # type: ignore[arg-type]
    return page


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """Every text that comes from outside is hostile: names, messages, labels, the recipe, the name of the output."""
    out = tmp_path / "<img src=x onerror=alert(2)>.pkl"
    write_output(out, EVIL, clustered(len(EVIL)), fails={1}, message="<script>alert(3)</script>")
    manifest = RunFiles(out).manifest
    header, *lines = manifest.read_text().splitlines()
    changed = json.loads(header)
    changed["recipe"] = {
        "</script><img src=x onerror=alert(4)>": EVIL,
        "sampling": {"type": EVIL[0]},
        "x": float("nan"),
    }
    manifest.write_text("\n".join([json.dumps(changed), *lines, ""]))
    labels = tmp_path / "labels.tsv"
    labels.write_text("name\t<img src=x onerror=alert(5)>\n" + "".join(f"{n}\t{EVIL[1]}\n" for n in EVIL[:4]))
    return page_of(out, labels=labels)


def test_hostile_names_stay_text(evil: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = page_of(write_output(tmp_path / "plain" / "f.pkl", names_of(len(EVIL)), clustered(len(EVIL))))
    assert Tags(evil).tags == Tags(plain).tags
    assert data_of(evil)["names"] == EVIL
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', evil.read_text(encoding="utf-8"))
    assert not set("<>&") & set(block)
    assert block.isascii()


def test_hostile_names_stay_text_in_a_browser(evil: Path) -> None:
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (vidfeat[browser-tests])")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    troubles: list[str] = []
    with sync.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        view = browser.new_page()
        view.on("console", lambda message: troubles.append(message.text))
        view.on("pageerror", lambda error: troubles.append(str(error)))
        view.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
        view.on("request", lambda request: troubles.append(request.url) if "report.html" not in request.url else None)
        view.goto(evil.as_uri())
        view.wait_for_selector("#map[data-points='9']")
        for number in range(len(EVIL)):
            view.click(f"#list button[data-video='{number}']")
            if number != 6:  # bytes that are no text are shown as such
                assert view.text_content("#detail-heading") == EVIL[number]
        view.focus("#map")
        view.keyboard.press("ArrowRight")
        assert view.locator("img").count() == 0
        assert view.evaluate("document.querySelectorAll('script').length") == 2
        # What an injected script would meet, had one got in: the page's own policy.
        blocked = view.evaluate(
            """() => new Promise((tell) => {
              document.addEventListener("securitypolicyviolation", (event) => tell(event.violatedDirective));
              const script = document.createElement("script");
              script.textContent = "document.title = 'owned'";
              document.body.append(script);
            })"""
        )
        assert blocked.startswith("script-src")
        assert "owned" not in view.title()
        browser.close()
    assert [trouble for trouble in troubles if "Content Security Policy" not in trouble] == []


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple:
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "f.pkl").write_bytes(pickle.dumps([Touch()]))
    with pytest.raises(OutputError, match=r"io\.open"):
        page_of(tmp_path / "f.pkl")
    (tmp_path / "f.yaml").write_text(f"- !!python/object/apply:builtins.open ['{tmp_path}/ran', 'w']\n")
    with pytest.raises(OutputError):
        page_of(tmp_path / "f.yaml")
    (tmp_path / "g").mkdir()
    np.save(tmp_path / "g" / "x.npy", np.array([Touch()], dtype=object), allow_pickle=True)
    assert len(data_of(page_of(tmp_path / "g"))["problems"]) == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../secret", "/secret", "a/../../secret", "\0", ""])
def test_names_that_lead_out_of_the_folder_read_nothing(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "secret.npy", np.full(16, 7, np.float32))
    out = write_output(tmp_path / "features", names_of(2), clustered(2))
    manifest = RunFiles(out).manifest
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    lines[1]["name"] = name
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = data_of(page_of(out, video_root=tmp_path))
    assert [number for number, _ in data["problems"]] == [0]
    assert data["groups"][0]["members"] == [1]
    assert data["pictures"] == {}


LINES = [
    "null",
    "[]",
    "{}",
    '{"name": 5, "status": []}',
    '{"name": "x", "status": "done", "frames": -1, "fps": NaN, "seconds": 1e999, "error": 7}',
    '{"name": "x", "status": "failed", "error": {"stage": [1], "kind": {"a": 1}, "message": null}}',
    '{"name": "x", "frames": true, "fps": "25", "seconds": [], "status": "failed", "error": "text"}',
    "[" * 100_000,
    '{"name": "' + "x" * 1_000_000 + '", "status": "done"}',
    '{"name": "x", "status": "done", "shape": [2], "sha256": 5, "frames": true, "fps": "25", "seconds": []}',
    '{"name": "x", "status": "done", "shape": [2], "sha256": "", "frames": 9e300, "fps": 1e-320, "seconds": -1}',
    '{"name": "x", "status": "done", "shape": [1e999], "sha256": "", "stamp": "ab", "start_seconds": {}}',
    '{"name": "x", "status": "done", "shape": [2], "sha256": "", "info": {"frames": NaN, "timeline": 3}}',
    '{"name": "x", "status": "done", "shape": [2], "sha256": "", "info": [1], "session": 10}',
    '{"name": "x", "status": "done", "shape": [2], "sha256": "", "start_seconds": "now", "info": {"timeline": {}}}',
]
IDENTITY = '"recipe_digest": "a", "checkpoint": {"sha256": "b"}, "precision": "fp32"'
HEADERS = [
    '{"vidfeat_manifest": 1, "recipe": RECIPE, "videos": "many", "versions": NaN}',
    '{"vidfeat_manifest": 1, "recipe": RECIPE, IDENTITY, '
    '"videos": 2, "failed": 0, "list_digest": [], "format": {}, "versions": NaN, "numerics": {"kernels": []}}',
    '{"vidfeat_manifest": 2, "recipe": RECIPE, IDENTITY, '
    '"videos": 2, "failed": 0, "list_digest": 0, "format": 0, "decoder": "", "encoder": {}, "sessions": [7, "", []]}',
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
@pytest.mark.parametrize("recipe", ["{}", "7", '{"sampling": 3}', '{"a": ' * 400 + "1" + "}" * 400])
@pytest.mark.parametrize("header", HEADERS, ids=["no header", "version 1", "version 2"])
def test_odd_manifests_give_a_page_or_an_error_in_words(tmp_path: Path, line: str, recipe: str, header: str) -> None:
    out = tmp_path / "f.json"
    out.write_text("[[1, 2], [3, 4]]")
    other = line.replace('"name": "x', '"name": "y')
    header = header.replace("RECIPE", recipe).replace("IDENTITY", IDENTITY)
    RunFiles(out).manifest.write_text(f"{header}\n{line}\n{other}\n")
    try:
        data = data_of(page_of(out))
    except VidfeatError:
        return
    assert len(data["names"]) == 2


def test_a_giant_array_in_a_small_file(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with (tmp_path / "f" / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
    np.save(tmp_path / "f" / "y.npy", np.ones(3, np.float32))
    data = data_of(page_of(tmp_path / "f"))
    assert [number for number, _ in data["problems"]] == [0]
    assert data["groups"][0]["members"] == [1]


def test_a_killed_report_leaves_the_page_as_it_was(tmp_path: Path) -> None:
    out = write_output(tmp_path / "f.pkl", names_of(3), clustered(3))
    page = page_of(out)
    before = page.read_bytes()
    program = (
        "import os, pathlib, vidfeat.tools.report.compose as c; c.render = lambda data: os._exit(9);"
        f"c.build(pathlib.Path({str(out)!r}), video_root=None, labels=None, page=pathlib.Path({str(page)!r}))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 9
    assert page.read_bytes() == before
    assert page_of(out) == page
    assert not list(tmp_path.glob(".vidfeat-*"))
