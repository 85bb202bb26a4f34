"""What a browser calls itself, in two words that its owner recognises."""

from app.i18n import Words

_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS", "Firefox"),
    ("HeadlessChrome", "Chromium"),
    ("CriOS", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
"""Marks in the order in which they decide: most browsers carry the marks of others as well."""
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
MAX_RAW = 40


def agent_name(agent: str | None, t: Words) -> str:
    """Browser and system, as "Firefox, Android"; what is no browser by its own first word."""
    if not agent:
        return t("account.sessions.unknown")
    browser = next((name for mark, name in _BROWSERS if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    if browser is None:
        return agent.split("/")[0].split(" ")[0][:MAX_RAW] or t("account.sessions.unknown")
    return f"{browser}, {system}" if system else browser
