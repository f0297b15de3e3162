"""One self-contained HTML page: headings, paragraphs, tables and pictures, with nothing to load from elsewhere."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib import pyplot
from matplotlib.figure import Figure

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2.5rem auto; padding: 0 1.2rem;
       color: #1d2430; background: #fbfbfd; }
h1 { font-size: 1.9rem; margin-bottom: .2rem; }
h2 { font-size: 1.25rem; margin-top: 2.4rem; border-bottom: 1px solid #d9dde5; padding-bottom: .2rem; }
p.lead { color: #556; font-size: 1.08rem; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid #e4e7ee; }
th:first-child, td:first-child { text-align: left; }
tr.highlight td { font-weight: 600; background: #eef4ff; }
img { max-width: 100%; border: 1px solid #e4e7ee; border-radius: 6px; background: white; }
pre { background: #f0f2f7; padding: .8rem 1rem; border-radius: 6px; overflow-x: auto; }
figcaption { color: #556; font-size: .93rem; }
@media (prefers-color-scheme: dark) {
  body { color: #dfe4ee; background: #14171d; } p.lead, figcaption { color: #9aa5b8; }
  h2, th, td { border-color: #2c323d; } tr.highlight td { background: #1e2a40; } pre { background: #1d222b; }
}
"""


def heading(text: str) -> str:
    """A section's heading."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, *, lead: bool = False) -> str:
    """A paragraph of plain text."""
    return f"<p{' class=lead' if lead else ''}>{html.escape(text)}</p>"


def commands(lines: Iterable[str]) -> str:
    """Commands to copy."""
    return f"<pre>{html.escape(chr(10).join(lines))}</pre>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], highlight: str = "") -> str:
    """A table; rows whose first cell is `highlight` stand out."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=highlight' if row[0] == highlight else ''}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def picture(figure: Figure, caption: str) -> str:
    """A figure with its caption, embedded; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    pyplot.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def write_page(path: Path, title: str, parts: Iterable[str]) -> None:
    """Writes the page."""
    name = html.escape(title)
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{name}</h1>{''.join(parts)}</html>"
    )
    path.write_text(text, encoding="utf-8")
