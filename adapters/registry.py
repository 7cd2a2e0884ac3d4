"""The platforms that Chancery speaks to, listed by hand."""

from collections.abc import Mapping
from typing import Final

from adapters.base import Adapter
from adapters.bluesky import BlueskyAdapter
from adapters.http import PlatformHttp
from adapters.mastodon import MastodonAdapter
from adapters.webhook import WebhookAdapter

PLATFORMS: Final[tuple[type[Adapter], ...]] = (BlueskyAdapter, MastodonAdapter, WebhookAdapter)


def build(http: PlatformHttp) -> Mapping[str, Adapter]:
    """Return one adapter for each platform, by its name."""
    return {adapter.platform: adapter(http) for adapter in PLATFORMS}
