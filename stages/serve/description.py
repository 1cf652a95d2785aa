"""The page /docs: the routes of the server, from its OpenAPI description, without scripts."""

from html import escape

from fastapi import FastAPI

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"></head>
<body class="docs"><main><h1>{title}</h1>
<p><a href="/">Draw</a> · <a href="/openapi.json">OpenAPI description</a></p>
<div class="scroll"><table><caption>Routes</caption><thead><tr><th scope="col">Method</th><th scope="col">Path</th>
<th scope="col">What it does</th></tr></thead><tbody>
{rows}</tbody></table></div></main></body></html>
"""
ROW = "<tr><td>{method}</td><td><code>{path}</code></td><td>{text}</td></tr>\n"


def describe_routes(app: FastAPI) -> str:
    """Returns the page about all routes of `app`."""
    description = app.openapi()
    rows = [
        ROW.format(method=method.upper(), path=escape(path), text=escape(facts.get("description", "")))
        for path, methods in description["paths"].items()
        for method, facts in methods.items()
    ]
    return PAGE.format(title=escape(description["info"]["title"]), rows="".join(rows))
