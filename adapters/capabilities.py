"""What each platform can carry, as data: those that have an adapter, and those for which texts are only counted yet.

A server's own limits go before these. Where a platform's documents leave a limit open, it is the safe one. For those
without an adapter, what only sending needs (settling, timeouts, look-up) takes nothing for granted.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import regex

from adapters.base import Capabilities, Length, LinkCards, Quota
from adapters.text import graphemes, links, mastodon_length, utf8_length

_PHOTOS: Final = frozenset({"image/jpeg", "image/png", "image/webp"})
_JPEG: Final = frozenset({"image/jpeg"})
_PLAIN: Final = frozenset({"image/jpeg", "image/png"})
_DAY: Final = timedelta(hours=24)
_UNLIMITED: Final = 1_000_000  #: of a platform that sets no limit of its own
_URL_LENGTH: Final = 23
_SHORTENED: Final = "https://t.co/0123456789"  #: what X makes of a link
_EMOJI: Final = regex.compile(r"\p{Emoji_Presentation}|\p{Extended_Pictographic}")

MASTODON: Final = Capabilities(
    platform="mastodon",
    title="Mastodon",
    max_length=500,
    max_bytes=None,
    max_media=4,
    media_types=_PHOTOS,
    max_image_bytes=16_777_216,
    max_image_pixels=33_177_600,
    max_alt_length=1500,
    alt_required=False,
    threads=True,
    link_card=LinkCards.SERVER,
    max_languages=1,
    edit=True,
    delete=True,
    read_back=True,
    lookup=True,
    idempotent_for=timedelta(minutes=50),  # the key is kept for an hour, where it is kept
    settle=timedelta(seconds=60),  # what proxies in front of slow servers usually wait
    publish_timeout=timedelta(seconds=30),
    media_lifetime=timedelta(hours=20),  # unattached media are removed after a day
    quotas=(Quota(limit=300, per=timedelta(hours=3)),),
)
BLUESKY: Final = Capabilities(
    platform="bluesky",
    title="Bluesky",
    max_length=300,
    max_bytes=3000,
    max_media=4,
    media_types=_PHOTOS,
    max_image_bytes=1_000_000,  # what servers enforce; the lexicon already says 2,000,000
    max_image_pixels=33_177_600,  # no limit is documented; a megabyte shows no more
    max_alt_length=2000,  # what the official app accepts; the lexicon has no limit
    alt_required=True,
    threads=True,
    link_card=LinkCards.SUPPLIED,
    max_languages=3,
    edit=False,
    delete=True,
    read_back=True,
    lookup=True,
    idempotent_for=timedelta(days=3650),  # as long as the record stands
    settle=timedelta(seconds=30),
    publish_timeout=timedelta(seconds=30),
    media_lifetime=timedelta(minutes=50),  # unused blobs may be collected after an hour
    # 5,000 points an hour and 35,000 a day; a new record costs 3.
    quotas=(
        Quota(limit=1666, per=timedelta(hours=1)),
        Quota(limit=11_666, per=timedelta(hours=24)),
    ),
    # 3,000 requests in five minutes from one address; a post with its read-back takes three.
    shared_quotas=(Quota(limit=1_000, per=timedelta(minutes=5)),),
)
WEBHOOK: Final = Capabilities(
    platform="webhook",
    title="Webhook",
    max_length=20_000,
    max_bytes=200_000,
    max_media=0,
    media_types=frozenset(),
    max_image_bytes=0,
    max_image_pixels=0,
    max_alt_length=0,
    alt_required=False,
    threads=False,
    link_card=LinkCards.SUPPLIED,
    max_languages=1,
    edit=False,
    delete=False,
    read_back=False,
    lookup=False,
    idempotent_for=timedelta(0),
    settle=timedelta(seconds=60),  # what proxies in front of slow servers usually wait
    publish_timeout=timedelta(seconds=30),
    media_lifetime=timedelta(0),
    quotas=(),
)


def _planned(platform: str, title: str, **known: Any) -> Capabilities:  # noqa: ANN401 - of Capabilities' own kinds
    """A platform without an adapter: what is not given is not taken for granted."""
    values: dict[str, Any] = {
        "max_bytes": None,
        "max_image_pixels": 33_177_600,
        "max_alt_length": 0,
        "alt_required": False,
        "threads": False,
        "link_card": LinkCards.NONE,
        "max_languages": 0,
        "edit": False,
        "delete": False,
        "read_back": False,
        "lookup": False,
        "idempotent_for": timedelta(0),
        "settle": timedelta(seconds=60),
        "publish_timeout": timedelta(seconds=30),
        "media_lifetime": timedelta(hours=20),
        "quotas": (),
    }
    return Capabilities(platform=platform, title=title, **{**values, **known})


#: https://docs.x.com/x-api/posts/creation-of-a-post
X: Final = _planned(
    "x",
    "X",
    max_length=280,
    max_media=4,
    media_types=_PHOTOS,
    max_image_bytes=5_000_000,
    max_alt_length=1000,
    threads=True,
    quotas=(Quota(limit=100, per=timedelta(minutes=15)), Quota(limit=10_000, per=_DAY)),
    link_card=LinkCards.SERVER,
    delete=True,
    read_back=True,
)
#: https://developers.facebook.com/docs/pages-api/posts
FACEBOOK: Final = _planned(
    "facebook",
    "Facebook Page",
    max_length=63_206,
    max_media=10,
    media_types=_PLAIN,
    max_image_bytes=4_000_000,
    max_alt_length=1000,
    edit=True,
    link_card=LinkCards.SERVER,
    delete=True,
    read_back=True,
)
#: https://developers.facebook.com/docs/instagram-platform/content-publishing
INSTAGRAM: Final = _planned(
    "instagram",
    "Instagram",
    max_length=2200,
    max_media=10,
    media_types=_JPEG,
    max_image_bytes=8_000_000,
    max_alt_length=1000,
    quotas=(Quota(limit=50, per=_DAY),),
    read_back=True,
)
#: https://developers.facebook.com/docs/threads/posts
THREADS: Final = _planned(
    "threads",
    "Threads",
    max_length=500,
    max_media=10,
    media_types=_PLAIN,
    max_image_bytes=8_000_000,
    max_alt_length=1000,
    threads=True,
    quotas=(Quota(limit=250, per=_DAY),),
    link_card=LinkCards.SERVER,
    delete=True,
    read_back=True,
)
#: https://learn.microsoft.com/linkedin/marketing/community-management/shares/posts-api
LINKEDIN: Final = _planned(
    "linkedin",
    "LinkedIn",
    max_length=3000,
    max_media=20,
    media_types=_PLAIN,
    max_image_bytes=8_000_000,
    max_image_pixels=36_152_319,
    max_alt_length=4086,
    link_card=LinkCards.SUPPLIED,
    edit=True,
    quotas=(Quota(limit=150, per=_DAY),),
    delete=True,
    read_back=True,
)
#: https://developers.google.com/youtube/v3/docs/videos: the description of a video
YOUTUBE: Final = _planned(
    "youtube",
    "YouTube",
    max_length=5000,
    max_bytes=5000,
    max_media=0,
    media_types=frozenset(),
    max_image_bytes=0,
    max_languages=1,
    edit=True,
    quotas=(Quota(limit=100, per=_DAY),),
    delete=True,
    read_back=True,
)
#: https://core.telegram.org/bots/api#sendmessage
TELEGRAM: Final = _planned(
    "telegram",
    "Telegram channel",
    max_length=4096,
    max_media=10,
    media_types=_PLAIN,
    max_image_bytes=10_000_000,
    edit=True,
    quotas=(Quota(limit=20, per=timedelta(minutes=1)),),
    link_card=LinkCards.SERVER,
    delete=True,
)
#: https://developer.wordpress.org/rest-api/reference/posts/
WEBSITE: Final = _planned(
    "website",
    "WordPress",
    max_length=_UNLIMITED,
    max_media=100,
    media_types=_PHOTOS,
    max_image_bytes=8_000_000,
    max_alt_length=2000,
    max_languages=1,
    edit=True,
    delete=True,
    read_back=True,
)

PLATFORMS: Final[Mapping[str, Capabilities]] = {
    each.platform: each
    for each in (
        BLUESKY,
        FACEBOOK,
        INSTAGRAM,
        LINKEDIN,
        MASTODON,
        TELEGRAM,
        THREADS,
        WEBHOOK,
        WEBSITE,
        X,
        YOUTUBE,
    )
}


def _threads_length(text: str) -> int:
    """Graphemes, but an emoji by its bytes in UTF-8, as Threads counts."""
    return sum(
        utf8_length(each) if _EMOJI.search(each) else 1 for each in regex.findall(r"\X", text)
    )


def _x_length(text: str) -> int:
    """Weighted; every link with a scheme counts as one, also under a top-level domain that the library does not know.

    https://docs.x.com/fundamentals/counting-characters
    """
    from twitter_text import parse_tweet  # noqa: PLC0415 - a quarter of a second that no start should wait for

    pieces, done = [], 0
    for span in links(text):
        pieces += [text[done : span.start], _SHORTENED]
        done = span.end
    return int(parse_tweet("".join((*pieces, text[done:]))).weightedLength)


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


#: How a text is counted, under a server's own limits; elsewhere code points are.
_COUNTS: Final[Mapping[str, Callable[[str, Mapping[str, int]], int]]] = {
    "bluesky": lambda text, _: graphemes(text),
    "mastodon": lambda text, limits: mastodon_length(
        text, url_length=limits.get("url_length", _URL_LENGTH)
    ),
    "telegram": lambda text, _: _utf16_length(text),
    "threads": lambda text, _: _threads_length(text),
    "webhook": lambda text, _: graphemes(text),
    "x": lambda text, _: _x_length(text),
    "youtube": lambda text, _: utf8_length(text),
}
_NO_LIMITS: Final[Mapping[str, int]] = {}


def measure(known: Capabilities, text: str, limits: Mapping[str, int] = _NO_LIMITS) -> Length:
    """How long a text is as the platform counts, and how long it may be; a server's own `limits` go first."""
    count = _COUNTS.get(known.platform)
    used = len(text) if count is None else count(text, limits)
    return Length(used=used, limit=limits.get("max_length", known.max_length))


def fits(platform: str, text: str) -> bool:
    """Whether a text is short enough for the platform, in its own count and in bytes; True for one not in the plan."""
    known = PLATFORMS.get(platform)
    if known is None:
        return True
    length = measure(known, text)
    within_bytes = known.max_bytes is None or utf8_length(text) <= known.max_bytes
    return length.used <= length.limit and within_bytes
