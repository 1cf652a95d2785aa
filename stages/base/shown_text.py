"""Makes texts of any origin safe to show: without terminal control characters or credentials in URLs; as Markdown."""

import html
import os
import re
from urllib.parse import urlsplit

MASK = "***"
PROXIES = ("http_proxy", "https_proxy", "all_proxy")  # variables, also in upper case
MAX_QUOTED = 300  # characters of an input in a message
# Sequences first (ECMA-48: CSI, strings such as OSC, other escapes), then single characters: controls but tab and line
# feed, invisible characters, line separators, those that change the direction of text, and two that XML forbids.
CONTROLS = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|[^\n\x08]\x08"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
    r"|[\ufffe\uffff\U000e0000-\U000e007f]"
)
FORMULA = ("=", "@", "\t", "\r", "\n")  # the first character of a cell
NUMBER = re.compile(r"[+-](\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
# GitHub makes a link or a mention of these even after Markdown's escapes. A mention needs a letter or
# digit after its @, an address of mail also a letter or a dot at its end: a word joiner (U+2060) separates them.
AUTOLINKS = (
    (
        re.compile(
            r"(?<![A-Za-z0-9_])@|@(?=[\w\\-]{1,63}(?:\.[\w\\-]{1,63}){0,9}\.(?:[\w\\-]{0,62}[A-Za-z](?![\w-])|(?!\w)))"
        ),
        "&#64;&#8288;",
    ),
    (re.compile("://"), ":&#47;/"),
    (re.compile(r"(?<=www)\.", re.IGNORECASE), "&#46;"),
)
# From the scheme of a URL to its host. A password may hold @, and against the standard also / ? #.
USER_INFO = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)"
    r"(?:(?:(?<=https://)|(?<=http://))(?P<token>[^\s/:@'\"?#]{1,500})(?::(?:x-oauth-basic)?)?"  # in the user's place
    r"|(?P<user>[^\s/:@'\"?#\[]{0,200}:)"
    r"(?P<password>[^\s/'\"?#]{1,500}|(?!\d{1,5}(?:[/?#]|$))[^\s@'\"]{1,500}))@"
)
PARAMETER = re.compile(r"(?P<name>[?&;#](?P<key>[\w.-]{1,60})=)(?P<value>[^&#\s'\"<>]+)")
SECRET_KEY = re.compile(
    r"(sig|signature|token|secret|password|passwd|pwd|auth|authorization|credentials?|jwt|api_?key|access_?key(_?id)?)$"
    r"|(^|[^a-z])(key|pass|pat|code|sas)$",
    re.IGNORECASE,
)


def remove_controls(text: str) -> str:
    """Returns `text` without terminal control sequences and invisible characters, and with undecodable bytes escaped.

    Such bytes of file names and of Git's texts are surrogates in Python, which no output can encode.
    """
    if text.isprintable():  # the usual case, and faster
        return text
    return CONTROLS.sub("", text.replace("\r\n", "\n")).encode(errors="backslashreplace").decode()


def shortened(text: str) -> str:
    """Returns the beginning of a `text` of any length, for a message."""
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}..."


def without_middle(text: str) -> str:
    """Returns a message of any length with its begin and its end, which says what is expected."""
    return text if len(text) <= 2 * MAX_QUOTED else f"{text[:MAX_QUOTED]}...{text[-MAX_QUOTED:]}"


def shown_text(text: str) -> str:
    """Returns `text` as a terminal may get it: without control sequences, and with the secrets of URLs masked."""
    return mask_urls(remove_controls(text))


def one_line(text: str) -> str:
    """Returns a name of any origin as a part of a line: without control sequences, with its line ends escaped."""
    return text if text.isprintable() else remove_controls(text).replace("\n", "\\n")


def indented(text: str) -> str:
    """Returns `text` with its further lines indented, so that none of them looks like a line of another origin."""
    return text.replace("\n", "\n  ")


def markdown_text(text: str) -> str:
    """Returns `text` on one line, with the special characters of HTML and Markdown escaped."""
    return _escape_markdown(" ".join(remove_controls(text).split()))


def markdown_sentence(text: str) -> str:
    """Returns `text` for a table cell as `markdown_text` does, but what is between two single backticks stays code."""
    plain = re.sub("`{2,}", "'", " ".join(remove_controls(text).split()))
    return "".join(
        part.replace("|", "\\|") if number % 2 else _escape_markdown(part)
        for number, part in enumerate(re.split("(`[^`]+`)", plain))
    )


def markdown_code(text: str, *, in_table: bool = False) -> str:
    """Returns `text` on one line as code of Markdown, between more backticks than it has in a row."""
    line = " ".join(remove_controls(text).split()).replace("|", "\\|" if in_table else "|")
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    return f"{fence} {line} {fence}" if line.startswith("`") or line.endswith("`") else f"{fence}{line}{fence}"


def csv_text(text: str) -> str:
    """Returns `text` for a cell of CSV: an apostrophe goes before a text that a spreadsheet would run as a formula."""
    is_formula = text.startswith(FORMULA) or (text.startswith(("+", "-")) and not NUMBER.fullmatch(text))
    return f"'{text}" if is_formula and len(text) > 1 else text


def text_of_csv(cell: str) -> str:
    """Returns the text for which `csv_text` returned `cell`."""
    return cell[1:] if cell.startswith("'") and csv_text(cell[1:]) == cell else cell


def mask_urls(text: str) -> str:
    """Returns `text` with the passwords and tokens of its URLs replaced by `***`."""
    if "://" in text:
        text = USER_INFO.sub(_masked_user_info, text)
    return PARAMETER.sub(_masked_parameter, text) if "=" in text else text


def url_secrets(text: str) -> list[str]:
    """Returns the passwords and tokens in the URLs of `text`."""
    users = [match["password"] or match["token"] for match in USER_INFO.finditer(text)]
    return users + [match["value"] for match in PARAMETER.finditer(text) if SECRET_KEY.search(match["key"])]


def network_reason(error: Exception) -> str:
    """Returns the reason of an error of httpx or urllib; of an invalid URL not its text, which has a part of the URL.

    That part can be one of a password: of a proxy variable, which is named.
    """
    if isinstance(error, ImportError):  # of httpx
        return f"{error}; or name the host in the variable NO_PROXY"
    if type(error).__name__ != "InvalidURL":  # of httpx, and of http.client
        return str(error) or type(error).__name__
    for name, value in os.environ.items():
        exempt = [text for text in value.split(",") if "://" in text] if name.lower() == "no_proxy" else []
        if not all(map(_is_url, [value] if name.lower() in PROXIES else exempt)):
            return f"the value of the variable {name} is no URL; correct it, such as by %2F for a / in a password"
    return "the address, or that of a proxy, is no URL"


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text.strip() if "://" in text else f"all://{text.strip()}")
        return (parts.port or 0) >= 0
    except ValueError:
        return False


def shown_url(url: str) -> str:
    """Returns `url` without user, password, query and fragment, which may be secret; `url` may be invalid."""
    bare = USER_INFO.sub(lambda match: match["scheme"], remove_controls(url))
    return re.split("[?#]", bare, maxsplit=1)[0]


def _masked_user_info(match: re.Match[str]) -> str:
    return f"{match['scheme']}{match['user'] or ''}{MASK}@"


def _masked_parameter(match: re.Match[str]) -> str:
    return match["name"] + MASK if SECRET_KEY.search(match["key"]) else match[0]


def _escape_markdown(text: str) -> str:
    text = re.sub(r"([\\`*\[\]|~#]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", html.escape(text, quote=False))
    for pattern, replacement in AUTOLINKS:
        text = pattern.sub(replacement, text)
    return text
