"""Pages from templates: one style, everything from outside escaped, nothing loaded from elsewhere."""

from __future__ import annotations

from importlib import resources
from typing import Any


def page_of(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: The name of a template beside this file, without `.html.j2`.
        **values: The variables of the template. Text is escaped; `picture` marks drawings that are not.
    """
    import jinja2

    def source(name: str) -> str:
        return resources.files(__package__ or "nascli.report").joinpath(name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(source)
    )
    return environment.get_template(f"{template}.html.j2").render(**values)


def picture(svg: str) -> Any:
    """Mark a drawing of this package as safe: it has escaped its own text."""
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704
