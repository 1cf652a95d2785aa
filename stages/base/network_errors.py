"""Tells why a request cannot be made, without quoting an address that can hold a password."""

import os
from http.client import InvalidURL

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")  # also in upper case


def network_reason(error: Exception) -> str:
    """Returns the reason of an error of httpx or urllib; not the text of an invalid URL's, which has a part of it."""
    import httpx  # late: it takes 0.1 s, and most programs request nothing

    if not isinstance(error, httpx.InvalidURL | InvalidURL):
        return str(error) or type(error).__name__
    for name, value in os.environ.items():
        if name.lower() in PROXY_VARIABLES and not all(map(_is_url, value.split(","))):
            return f"the value of the variable {name} is no URL; correct it, such as by %2F for a / in a password"
    return "the address is no URL"


def _is_url(text: str) -> bool:
    import httpx  # late, as above

    try:
        httpx.URL(text.strip() if "://" in text else f"all://{text.strip()}")
    except httpx.InvalidURL:
        return False
    return True
