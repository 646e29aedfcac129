"""Pages for people as single files: no script, no network, nothing that a stranger's text could set off."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

from roadworthy.core.errors import UsageError
from roadworthy.core.visible import pieces, visible


def render(
    template: str,
    style: str | Sequence[str],
    *,
    filters: Mapping[str, Callable[..., Any]] | None = None,
    **values: Any,
) -> str:
    """A page from a template and style sheets of `audit/templates`; the template gets `style` and `policy` as well.

    `policy` is a content security policy that lets in this one style sheet, and neither script nor another style.
    Raises UsageError where Jinja2 is not installed.
    """
    sheet = "".join(map(file_text, (style,) if isinstance(style, str) else style))
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    environment = _environment()
    environment.filters.update(filters or {})
    return cast("str", environment.get_template(template).render(style=sheet, policy=policy, **values))


def write(text: str, path: str | Path, what: str) -> Path:
    """Write a page to a file and return its path. Raises UsageError where that cannot be done."""
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        why = error.strerror or error
        raise UsageError(f"{what} cannot be written to {target}: {why}; give another path") from error
    return target


@cache
def file_text(name: str) -> str:
    """A file of `audit/templates`."""
    return resources.files("roadworthy.audit").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> Any:
    try:
        import jinja2
        import markupsafe
    except ImportError as error:
        raise UsageError("a page needs Jinja2: install the extra `test` (roadworthy[test])") from error

    def shown(value: object) -> markupsafe.Markup:
        """Escape a text, and turn characters that would hide or mislead into named marks."""
        out: list[str] = []
        for piece, named in pieces(str(value)):
            escaped = str(markupsafe.escape(piece))
            out.append(f'<span class="cp">{escaped}</span>' if named else escaped)
        return markupsafe.Markup("".join(out))

    def plain(value: object) -> markupsafe.Markup:
        """The same for attributes and titles, where no mark can stand."""
        return markupsafe.escape(visible(str(value), lines=False))

    def finalize(value: object) -> object:
        """Every `{{ … }}` passes here, so that no place can forget to show what a text really holds."""
        if isinstance(value, markupsafe.Markup) or not isinstance(value, str):
            return value
        return shown(value)

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(file_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    filters: dict[str, Any] = environment.filters  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    filters["plain"] = plain
    return environment
