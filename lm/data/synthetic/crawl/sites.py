"""Sites: what their pages share – host, style, menus, footers, cookie banners, and lines that recur in the text."""

from __future__ import annotations

from html import escape
from typing import Literal, NamedTuple

from lm.data.synthetic.crawl.topics import TOPICS
from lm.data.synthetic.grammar import Cast

Style = Literal["blog", "news", "forum", "shop", "docs", "wiki", "listing", "plain"]
STYLES: tuple[Style, ...] = ("blog", "news", "forum", "shop", "docs", "wiki", "listing", "plain")
CHARSETS = ("utf-8", "utf-8", "utf-8", "windows-1252", "")
"""What sites declare; the empty one declares nothing."""


class Site(NamedTuple):
    """A site of the crawl; `head`, `menu` and `foot` are HTML, `refrain` is the line that stands in many articles."""

    host: str
    name: str
    style: Style
    charset: str
    head: str
    menu: str
    foot: str
    refrain: str


_MENU = (
    "Home", "About us", "News", "Archive", "Contact", "Shop", "Forum", "Help", "Sign in", "Register", "Gallery",
    "Events", "Newsletter", "Jobs", "Press", "Topics", "Reviews", "Guides", "Support", "Privacy", "Terms of use",
)  # fmt: skip
_COOKIES = (
    "We use cookies to give you the best experience on our site. By continuing you agree to our cookie policy.",
    "This website uses cookies. Accept all cookies or manage your settings.",
    "We and our partners store cookies on your device to measure traffic and show ads.",
)
_REFRAINS = (
    "This piece first appeared in the {name}, which is read by people in more than forty towns.",
    "Subscribe to the {name} and read stories like this one every week.",
    "The {name} has told the stories of {place} since the mill was built.",
    "If you liked this page, tell a friend about the {name}.",
    "All stories in the {name} may be read aloud in schools free of charge.",
)
_NAMES = ("Gazette", "Post", "Notes", "Forum", "Corner", "Journal", "Review", "Almanac", "Herald", "Diary", "Store")


def site(cast: Cast, number: int) -> Site:
    """Returns a site; the number keeps hosts apart."""
    style = cast.one(STYLES)
    place, topic = cast.places(1)[0], cast.one(TOPICS)
    name = f"{place} {cast.one(_NAMES)}"
    host = f"www.{place.lower()}-{topic.craft.split()[0]}-{number}.example"
    items = "".join(
        f'<li class="menu-item"><a href="/{item.lower().replace(" ", "-")}">{item}</a></li>'
        for item in cast.some(_MENU, cast.number(5, 9))
    )
    return Site(
        host=host,
        name=name,
        style=style,
        charset=cast.one(CHARSETS),
        head=_head(cast, name),
        menu=f'<nav class="main-nav" role="navigation"><ul>{items}</ul></nav>',
        foot=_foot(cast, name),
        refrain=cast.one(_REFRAINS).format(name=name, place=place),
    )


def _head(cast: Cast, name: str) -> str:
    key = cast.number(100_000, 999_999)
    return (
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="stylesheet" href="/assets/site-{key}.css">\n'
        "<style>body{margin:0;font-family:serif} .sidebar{float:right;width:30%} nav li{display:inline}</style>\n"
        f"<script>window.dataLayer=window.dataLayer||[];function track(){{dataLayer.push(arguments)}};"
        f"track('config','SITE-{key}');</script>\n"
        f'<script type="application/ld+json">{{"@context":"https://schema.org","@type":"WebSite","name":"{name}"}}'
        "</script>\n"
    )


def _foot(cast: Cast, name: str) -> str:
    links = " | ".join(f'<a href="/{link.lower()}">{link}</a>' for link in ("Imprint", "Privacy", "Sitemap", "Help"))
    cookie = escape(cast.one(_COOKIES), quote=False)
    return (
        f'<footer class="site-footer" role="contentinfo"><p>&copy; {cast.number(2009, 2025)} {name}. '
        f"All rights reserved.</p><p>{links}</p></footer>\n"
        f'<div id="cookie-banner" class="cookie-consent" role="dialog"><p>{cookie}</p>'
        '<button type="button">Accept</button></div>\n'
        "<script>document.querySelector('#cookie-banner button').onclick=function(){track('consent')};</script>\n"
    )
