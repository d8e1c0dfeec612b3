"""Pages from templates: one style, everything from outside escaped, nothing loaded from elsewhere."""

from __future__ import annotations

from importlib import resources
from typing import Any


def page_of(template: str, **values: Any) -> str:
    """A page.

    Args:
        template: the name of a file beside this one, without `.html.j2`.
        values: what it shows; text is escaped, pictures are given through `picture`.
    """
    import jinja2

    def source(name: str) -> str:
        return resources.files(__package__ or "nascli.report").joinpath(name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(source)
    )
    return environment.get_template(f"{template}.html.j2").render(**values)


def picture(svg: str) -> Any:
    """A drawing of ours as it is: it has escaped its own text."""
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704
