"""A self-contained HTML page: markup, style, program and data."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def render(data: Mapping[str, Any]) -> bytes:
    """The page that shows `data`, in UTF-8.

    Names and messages in the data are not trusted. They are in one place of the page only, a block of ASCII JSON
    without the characters that could end it, and the program sets them as text. The page's content security policy
    forbids all other scripts and all connections.
    """
    style, program = (_part(name) for name in ("page.css", "page.js"))
    text = json.dumps(data, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(program)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    parts = {"policy": policy, "style": style, "program": program, "data": text}
    page = _part("page.html")
    for name, part in parts.items():
        before, after = page.split(f"<!--{name}-->" if name != "policy" else "POLICY")
        page = f"{before}{part}{after}"
    return page.encode("utf-8")


def base64_of(values: bytes) -> str:
    """Base 64."""
    return base64.b64encode(values).decode("ascii")


def _part(name: str) -> str:
    return resources.files("vidfeat.tools.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64_of(hashlib.sha256(text.encode('utf-8')).digest())}"
