"""What an element of a page is for, by its tag and attributes."""

from __future__ import annotations

import re
from enum import IntEnum
from itertools import pairwise


def names(text: str) -> frozenset[str]:
    """The set of the words of a text."""
    return frozenset(text.split())


class Role(IntEnum):
    """What becomes of an element's text."""

    CONTENT = 0
    DOUBTFUL = 1  # boilerplate by its names: goes, unless it holds what the page is about
    SKIPPED = 2  # never text of the page: controls, navigation, what is not shown


_SKIPPED_TAGS = names(
    "applet area audio button canvas datalist dialog embed fencedframe frame frameset head iframe img input label map "
    "meter nav noembed noframes noscript object option progress script select source style svg template textarea title "
    "track video"
)
_DOUBTFUL_TAGS = frozenset(("aside", "footer"))
_PLAIN_TAGS = frozenset(("html", "body", "main", "article"))  # what they are called says nothing of what they hold

_ATTRIBUTE = re.compile(r'(?:^| )(class|id|role|style|hidden|aria-hidden|rel)="([^"]*)"')
_SKIPPED_ROLES = names(
    "alertdialog banner contentinfo dialog menu menubar menuitem navigation search tablist toolbar tooltip"
)
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")

# Words of class and id names that mark boilerplate wherever they stand (`post-share-bar`).
_WORDS = names(
    # ways through the site
    "nav navbar navbox navi navigation navlinks prevnext pagenav topnav sidenav subnav menu menus submenu topmenu "
    "dropdown breadcrumb breadcrumbs crumb crumbs pager pagination paginator paging toc catlinks sitemap skiplink "
    # frames of the page
    "sidebar sidebars sphinxsidebar footer foot footerlinks colophon masthead topbar toolbar sitenotice printfooter "
    "widget widgets rail bottombar "
    # consent, subscription, advertisement
    "cookie cookies consent gdpr ccpa paywall regwall newsletter subscribe subscription signup optin "
    "advert adverts advertisement advertising ad ads adsense adsbygoogle sponsor sponsored promo promotion promoted "
    # what else there is to see
    "related recommended recommendation recommendations similar readmore trending popular recirc outbrain taboola "
    "teaser teasers seealso upsell upsells crosssell crosssells "
    # what one may do with the page, and what others did
    "share shares sharing sharedaddy sharebar social like likes follow comment comments commentlist disqus respond "
    "reaction reactions votecell feedback editsection headerlink hashlink anchorjs byline dateline tags taglist "
    "tagcloud postmeta postinfo postmenu postfooter postauthor posttags postprofile userinfo authorbox authorinfo "
    "signature linkback reflist references gutter lineno linenos login signin searchbox searchform "
    # what is not shown
    "modal popup overlay lightbox tooltip offcanvas noprint"
)
# The same in two words (`side-bar`, `sideBar`).
_PAIRS = names(
    "skip-link skip-to jump-link side-bar site-notice page-nav table-of header-links bottom-bar cc-window sign-up "
    "sign-in opt-in phase-banner banner-ad also-like read-more more-posts more-stories more-articles more-topics "
    "more-news most-read most-popular most-viewed see-also up-sell up-sells cross-sell cross-sells reply-form "
    "answer-form post-form edit-link hash-link post-menu post-footer post-meta post-info post-tag post-tags "
    "post-taglist post-author post-labels post-timestamp post-profile post-nav profile-icons entry-meta "
    "entry-utility tag-list tag-cloud author-box author-bio author-info about-author user-info user-profile "
    "user-details topic-actions line-number line-numbers blob-num search-box search-form search-bar sr-only "
    "screen-reader no-print"
)
# Names that mark it only whole: `user` is a profile, `user-guide` is not.
_WHOLE = names(
    "author avatar bottom date hidden info legal links meta poster print profile rating reference sign tools user "
    "username wishlist written-by"
)
# `has-sidebar`, `no-comments`: what stands beside the element; and a page builder calls all it makes widgets.
_ABOUT_OTHERS = names("elementor has no with without")
_KEPT_WORDS = names("admonition footnote footnotes pullquote")
_TOPIC = re.compile(r"(?<!\S)(?:category|cat|tag)-\S+")  # of a post, not of its box
_NOT_A_LETTER = re.compile(r"[^a-z]+")


def role_of(tag: str, attributes: str) -> Role:
    """The role of an element with these attributes, written as the serialiser writes them: `name="value" …`."""
    if tag in _SKIPPED_TAGS:
        return Role.SKIPPED
    role = Role.DOUBTFUL if tag in _DOUBTFUL_TAGS else Role.CONTENT
    for name, value in _ATTRIBUTE.findall(attributes):
        if name == "hidden" or (name == "aria-hidden" and value == "true"):
            return Role.SKIPPED
        if name == "style":
            if _HIDDEN_STYLE.search(value):
                return Role.SKIPPED
        elif tag in _PLAIN_TAGS:
            continue
        elif name == "role":
            if value in _SKIPPED_ROLES:
                return Role.SKIPPED
            if value == "complementary":
                role = Role.DOUBTFUL
        elif name in ("class", "id"):
            lower = _TOPIC.sub("", _HUMP.sub("-", value).lower())
            words = _NOT_A_LETTER.split(lower)
            if not _KEPT_WORDS.isdisjoint(words):
                return Role.CONTENT
            if _marks_boilerplate(lower, words):
                role = Role.DOUBTFUL
    return role


def _marks_boilerplate(lower: str, words: list[str]) -> bool:
    if not _WORDS.isdisjoint(words) and _ABOUT_OTHERS.isdisjoint(words):
        return True
    return not (_WHOLE.isdisjoint(lower.split()) and _PAIRS.isdisjoint(map("-".join, pairwise(words))))
