"""Vega-Lite out of the package vl-convert-python: SVG, PNG, and the JavaScript for pages without a network."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import vl_convert

EXPOSE = "window.vega = vega; window.vegaLite = vegaLite; window.vegaEmbed = vegaEmbed;"


@cache
def javascript() -> str:
    """Returns Vega, Vega-Lite and Vega-Embed as one script of about 0.9 MB, for the inside of a `<script>` element.

    The script sets `vegaEmbed` on `window`, which our pages use, and loads nothing. Its `vega` is null: the bundle does
    not give it.
    """
    script: str = vl_convert.javascript_bundle(EXPOSE)
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def svg(specification: Mapping[str, Any]) -> str:
    """Draws a Vega-Lite `specification`, with its data inside, as the text of an SVG element.

    Raises:
        ValueError: Vega-Lite does not accept the specification, or it names data at an address.
    """
    drawn: str = vl_convert.vegalite_to_svg(dict(specification), allowed_base_urls=[])
    return drawn


def png(specification: Mapping[str, Any], scale: float = 2.0) -> bytes:
    """Draws a Vega-Lite `specification` as a PNG file with `scale` pixels for each of its units.

    Raises:
        ValueError: Vega-Lite does not accept the specification, or it names data at an address.
    """
    drawn: bytes = vl_convert.vegalite_to_png(dict(specification), scale=scale, allowed_base_urls=[])
    return drawn
