"""What the server says of itself: instance v1 and v2, and NodeInfo."""

from scheduler.practice.mastodon import entities
from scheduler.practice.mastodon.text import MAX_CHARACTERS, URL_LENGTH
from scheduler.practice.model import JsonObject, Platform
from scheduler.practice.wire import Answer, Call, json_answer
from scheduler.practice.world import World

_TITLE = "Practice network"
_DESCRIPTION = "A simulated server for practice. Nothing here is public."


class Instance:
    def __init__(self, world: World) -> None:
        self._book = world.books[Platform.MASTODON]

    def v1(self, call: Call) -> Answer:
        domain = _domain(call)
        return json_answer(
            {
                "uri": domain,
                "title": _TITLE,
                "short_description": _DESCRIPTION,
                "description": _DESCRIPTION,
                "email": "",
                "version": entities.VERSION,
                "urls": {"streaming_api": f"ws://{domain}"},
                "stats": {**self._stats(), "domain_count": 1},
                "thumbnail": None,
                "languages": ["en"],
                "registrations": False,
                "approval_required": False,
                "invites_enabled": False,
                "configuration": _limits(),
                "contact_account": None,
                "rules": [],
            }
        )

    def v2(self, call: Call) -> Answer:
        domain = _domain(call)
        return json_answer(
            {
                "domain": domain,
                "title": _TITLE,
                "version": entities.VERSION,
                "source_url": "",
                "description": _DESCRIPTION,
                "usage": {"users": {"active_month": len(self._book.accounts)}},
                "thumbnail": {"url": f"{call.origin}/practice/static/avatar.svg"},
                "icon": [],
                "languages": ["en"],
                "configuration": {
                    "urls": {"streaming": f"ws://{domain}", "status": None},
                    "vapid": {"public_key": ""},
                    "translation": {"enabled": False},
                    "limited_federation": True,
                    **_limits(),
                },
                "registrations": {"enabled": False, "approval_required": False, "message": None},
                "api_versions": {"mastodon": 7},
                "contact": {"email": "", "account": None},
                "rules": [],
            }
        )

    def nodeinfo_links(self, call: Call) -> Answer:
        link = {
            "rel": "http://nodeinfo.diaspora.software/ns/schema/2.0",
            "href": f"{call.origin}/nodeinfo/2.0",
        }
        return json_answer({"links": [link]})

    def nodeinfo(self, call: Call) -> Answer:
        del call  # the same for everyone
        stats = self._stats()
        return json_answer(
            {
                "version": "2.0",
                "software": {"name": "mastodon", "version": entities.VERSION},
                "protocols": ["activitypub"],
                "services": {"outbound": [], "inbound": []},
                "usage": {
                    "users": {"total": stats["user_count"]},
                    "localPosts": stats["status_count"],
                },
                "openRegistrations": False,
                "metadata": {"nodeName": _TITLE, "nodeDescription": _DESCRIPTION},
            }
        )

    def _stats(self) -> dict[str, int]:
        return {"user_count": len(self._book.accounts), "status_count": len(self._book.posts)}


def _domain(call: Call) -> str:
    return call.origin.partition("://")[2]


def _limits() -> JsonObject:
    return {
        "accounts": {"max_featured_tags": 10, "max_pinned_statuses": 5},
        "statuses": {
            "max_characters": MAX_CHARACTERS,
            "max_media_attachments": entities.MAX_MEDIA,
            "characters_reserved_per_url": URL_LENGTH,
        },
        "media_attachments": {
            "supported_mime_types": [*entities.IMAGE_TYPES, *entities.VIDEO_TYPES],
            "description_limit": entities.MAX_ALT,
            "image_size_limit": entities.IMAGE_BYTES,
            "image_matrix_limit": entities.IMAGE_PIXELS,
            "video_size_limit": entities.VIDEO_BYTES,
            "video_frame_rate_limit": 120,
            "video_matrix_limit": entities.VIDEO_PIXELS,
        },
        "polls": {
            "max_options": 4,
            "max_characters_per_option": 50,
            "min_expiration": 300,
            "max_expiration": 2_629_746,
        },
    }
