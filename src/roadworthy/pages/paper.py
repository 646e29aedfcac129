"""Pages for people as single files: no script, no network, nothing that a stranger's text could set off."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, cast

from roadworthy.core.errors import UsageError, told_why
from roadworthy.core.visible import pieces, visible


class Pages:
    """The templates of one room, and what they may call. Jinja2 is imported when a page is first made."""

    def __init__(
        self,
        package: str,
        *,
        filters: Mapping[str, Callable[..., Any]] | None = None,
        names: Mapping[str, Any] | None = None,
    ) -> None:
        """`package` has a folder `templates`; `filters` and `names` are what its templates know by these names."""
        self._package = package
        self._filters = filters or {}
        self._names = names or {}
        self._texts: dict[str, str] = {}

    def render(self, template: str, *styles: str, **values: Any) -> str:
        """A page of a template and the style sheets that it gets as `style`, with `policy` beside them.

        `policy` is a content security policy that lets in this one style, and neither script nor another: whatever a
        text of a tool or a user says. Raises UsageError where Jinja2 is not installed.
        """
        style = "".join(map(self.text, styles))
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        page = self._environment.get_template(template)
        return cast("str", page.render(style=style, policy=policy, **values))

    def prepare(self) -> None:
        """Find out before long work whether a page can be made. Raises UsageError where Jinja2 is not installed."""
        _ = self._environment

    def text(self, name: str) -> str:
        """A file of the folder."""
        if name not in self._texts:
            folder = resources.files(self._package).joinpath("templates")
            self._texts[name] = folder.joinpath(name).read_text(encoding="utf-8")
        return self._texts[name]

    @cached_property
    def _environment(self) -> Any:
        try:
            import jinja2
            import markupsafe
        except ImportError as error:
            raise UsageError(
                "a page needs Jinja2, which is not installed: `pip install 'roadworthy[test]'` brings it along"
            ) from error

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
            loader=jinja2.FunctionLoader(self.text),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=finalize,
        )
        parts = cast("Any", environment)
        parts.filters |= {"plain": plain, **self._filters}
        parts.globals |= self._names
        return environment


def write_page(text: str, path: str | Path, what: str) -> Path:
    """Write a page to a file and return its path; `what` it is stands in the error.

    Raises UsageError where that cannot be done.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"{what} cannot be written to {target}: {told_why(error)}; give another path") from error
    return target
