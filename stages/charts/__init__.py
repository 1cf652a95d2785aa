"""Charts as Vega-Lite specifications: as SVG without scripts, and with the JavaScript that draws them in a page."""
