"""Pages as HTML: a body of blocks in the clothes of a blog, a forum, a shop …"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from lm.data.synthetic.crawl import prose
from lm.data.synthetic.crawl.content import Block, Content
from lm.data.synthetic.crawl.sites import Site, Style
from lm.data.synthetic.grammar import Cast

_COMMENTS = (
    "Great post, thank you {person}!", "I read this in {place} and laughed.", "Nice one, greetings from {place}.",
    "My aunt {person} used to say the same.", "More of this please!", "First comment, hello {person}.",
)  # fmt: skip
_SHARE = '<div class="share-buttons"><a href="#">Share</a> <a href="#">Tweet</a> <a href="#">E-mail</a></div>\n'
_AD = '<div class="ad advert"><span>Advertisement</span><a href="//ads.example/{slot}">{text}</a></div>\n'


def page(cast: Cast, site: Site, content: Content, path: str) -> str:
    """Returns a whole page; one in twelve has mistakes in its markup that every browser forgives."""
    lines = cast.one((_breaks, _breaks, _paragraphs_of_lines))
    body = BODIES[site.style](cast, site, content, lambda blocks: "".join(_block(block, lines) for block in blocks))
    title = escape(f"{content.title} - {site.name}", quote=False)
    charset = f'<meta charset="{site.charset}">\n' if site.charset and cast.chance(0.8) else ""
    html = (
        f'<!DOCTYPE html>\n<html lang="{content.language}">\n<head>\n{charset}<title>{title}</title>\n'
        f'<link rel="canonical" href="http://{site.host}{path}">\n{site.head}</head>\n'
        f'<body class="{site.style}">\n{body}{site.foot}</body>\n</html>\n'
    )
    return _mistaken(cast, html) if cast.chance(0.08) else html


def _mistaken(cast: Cast, html: str) -> str:
    broken = html.replace("</p>\n", "\n").replace("</li>", "").replace("</body>\n</html>\n", "")
    return broken.replace('class="menu-item"', "class=menu-item").replace("</b></i>", "</i></b>")


# --- blocks ------------------------------------------------------------------------------------------------------


def _breaks(lines: Sequence[str]) -> str:
    return f"<p>{'<br>'.join(lines)}</p>\n"


def _paragraphs_of_lines(lines: Sequence[str]) -> str:
    return f"<div>{''.join(f'<div>{line}</div>' for line in lines)}</div>\n"


def _block(block: Block, lines: Callable[[Sequence[str]], str]) -> str:
    text = escape(block.text, quote=False)
    match block.kind:
        case "title":
            return f"<h1>{text}</h1>\n"
        case "heading":
            return f"<h2>{text}</h2>\n"
        case "prose":
            return f"<p>{text}</p>\n"
        case "lines":
            return lines(text.split("\n"))
        case "code":
            return f"<pre><code>{text}</code></pre>\n"
        case "list":
            return f"<ul>\n{''.join(f'<li>{item}</li>' for item in text.split(chr(10)))}\n</ul>\n"
        case "table":
            rows = (f"<tr><td>{row.replace(chr(9), '</td><td>')}</td></tr>" for row in text.split("\n"))
            return f"<table>{''.join(rows)}</table>\n"


Render = Callable[[Sequence[Block]], str]

# --- what stands around them -------------------------------------------------------------------------------------


def _links(cast: Cast, heading: str, n: int) -> str:
    items = "".join(f'<li><a href="/{cast.number(1, 9999)}">{prose.title(cast)}</a></li>' for _ in range(n))
    return f"<h3>{heading}</h3><ul>{items}</ul>"


def _comments(cast: Cast) -> str:
    said = "".join(
        f'<div class="comment"><span class="comment-author">{person}</span><p>'
        f"{cast.one(_COMMENTS).format(person=cast.people(1)[0], place=cast.places(1)[0])}</p></div>\n"
        for person in cast.people(cast.number(0, 4))
    )
    return f'<section id="comments" class="comments"><h3>Comments</h3>{said}</section>\n' if said else ""


def _header(site: Site) -> str:
    return f'<header class="site-header"><a class="logo" href="/">{site.name}</a>{site.menu}</header>\n'


def _advert(cast: Cast) -> str:
    return _AD.format(slot=cast.number(1, 99), text=f"New {cast.things(1)[0]}s for less")


def _byline(cast: Cast) -> str:
    day, author = cast.number(10, 28), cast.people(1)[0]
    return (
        f'<div class="byline meta">By <a rel="author" href="/by/{author.lower()}">{author}</a>, '
        f'<time datetime="2025-11-{day}">{day} November 2025</time></div>\n'
    )


def _blog(cast: Cast, site: Site, content: Content, render: Render) -> str:
    article = f'<article class="post">\n{_byline(cast)}{render(content.blocks)}</article>\n'
    return (
        f'{_header(site)}<main id="content">{article}{_SHARE}</main>\n'
        f'{_comments(cast)}<aside class="sidebar">{_links(cast, "Recent posts", 4)}</aside>\n'
    )


def _news(cast: Cast, site: Site, content: Content, render: Render) -> str:
    half = len(content.blocks) // 2
    body = f"{render(content.blocks[:half])}{_advert(cast)}{render(content.blocks[half:])}"
    return (
        f'{_header(site)}<div class="breadcrumb"><a href="/">Home</a> &raquo; <a href="/news">News</a></div>\n'
        f'<div class="container">{_byline(cast)}<div class="article-body">\n{body}</div>\n'
        f'<div class="related">{_links(cast, "Read also", 5)}</div></div>\n'
        '<div class="newsletter"><form><label>Newsletter</label><input type="email"><button>Go</button></form></div>\n'
    )


def _forum(cast: Cast, site: Site, content: Content, render: Render) -> str:
    posts = "".join(
        f'<div class="post"><div class="post-author user-info"><a href="/u/{i}">{cast.people(1)[0]}</a></div>'
        f'<div class="post-body">{render([block])}</div></div>\n'
        for i, block in enumerate(content.blocks)
    )
    return (
        f'{_header(site)}<main class="thread">\n{posts}</main>\n<div class="pagination"><a href="?2">Next</a></div>\n'
    )


def _shop(cast: Cast, site: Site, content: Content, render: Render) -> str:
    return (
        f'{_header(site)}<div class="banner promo">Free delivery over £{cast.number(20, 60)}</div>\n'
        f'<main><div class="product"><img src="/img/{cast.number(1, 999)}.jpg" alt="">'
        f'<form class="basket"><button>Add to basket</button></form>\n<div class="description">\n'
        f'{render(content.blocks)}</div></div></main>\n<aside class="sidebar">{_links(cast, "You may also like", 4)}'
        "</aside>\n"
    )


def _docs(cast: Cast, site: Site, content: Content, render: Render) -> str:
    return (
        f'{_header(site)}<aside class="sidebar toc" role="navigation">{_links(cast, "Contents", 6)}</aside>\n'
        f'<main role="main"><div class="document">\n{render(content.blocks)}</div></main>\n'
        '<nav class="pager"><a href="prev">Previous</a> <a href="next">Next</a></nav>\n'
    )


def _wiki(cast: Cast, site: Site, content: Content, render: Render) -> str:
    return (
        f'<div id="mw-navigation" class="nav">{site.menu}</div>\n<div id="content" class="mw-body" role="main">'
        f'<div id="bodyContent" class="mw-parser-output">\n{render(content.blocks)}</div></div>\n'
        f'<div id="catlinks" class="catlinks"><a href="/cat">Categories</a>: <a href="/c/1">{site.name}</a></div>\n'
    )


def _listing(cast: Cast, site: Site, content: Content, render: Render) -> str:
    entries = "".join(f'<section class="entry">{render([block])}</section>\n' for block in content.blocks)
    return (
        f'{_header(site)}<main class="list">\n{entries}</main>\n'
        f'<div class="pagination"><a href="?page=1">1</a> <a href="?page=2">2</a> <a href="?page=3">3</a></div>\n'
        f'<aside class="sidebar">{_links(cast, "Popular", 3)}{_advert(cast)}</aside>\n'
    )


def _plain(cast: Cast, site: Site, content: Content, render: Render) -> str:
    return (
        f'<div id="menu" class="menu"><center><font size="2">{site.menu}</font></center></div>\n'
        f'<table width="100%" border="0"><tr><td class="content">\n{render(content.blocks)}</td></tr></table>\n<hr>\n'
    )


BODIES: Mapping[Style, Callable[[Cast, Site, Content, Render], str]] = {
    "blog": _blog, "news": _news, "forum": _forum, "shop": _shop, "docs": _docs, "wiki": _wiki, "listing": _listing,
    "plain": _plain,
}  # fmt: skip
"""The body of a page by the style of its site."""
