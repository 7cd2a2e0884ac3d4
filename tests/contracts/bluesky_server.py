import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import unquote

from adapters.base import (
    Content,
    Credentials,
    Segment,
    fill,
)
from adapters.bluesky import BlueskyAdapter
from adapters.egress import EgressPolicy
from adapters.http import PlatformHttp
from tests.contracts.adapter_contract import (
    NOW,
    SECRET,
    TEXT,
    slots,
)
from tests.contracts.fake_platform import Answer, FakePlatform, Received, answer

DID = "did:plc:equ44htaldz6fincnsuuycdw"
HANDLE = "mzz.karvenia.example"
CID = "bafyreigoxsxnfk4jo24xvi5zz2qpntj7kakcmg4wfbpgalufu6b3ub2rmm"
XRPC = "/xrpc/com.atproto"
PUT = ("POST", f"{XRPC}.repo.putRecord")
GET = ("GET", f"{XRPC}.repo.getRecord")
LOGIN = ("POST", f"{XRPC}.server.createSession")
REFRESH = ("POST", f"{XRPC}.server.refreshSession")
UPLOAD = ("POST", f"{XRPC}.repo.uploadBlob")


def jwt(name: str, **claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"jti": name, **claims}).encode())
    return f"eyJ0eXAiOiJKV1QifQ.{payload.decode().rstrip('=')}.{name}-signature-of-the-server"


ACCESS = jwt("access", exp=int(NOW.timestamp()) + 7200)
RENEW = jwt("renew", exp=int(NOW.timestamp()) + 7_776_000)


def session(access: str = ACCESS, renew: str = RENEW) -> str:
    return json.dumps({"access": access, "refresh": renew})


def credentials(base_url: str) -> Credentials:
    return Credentials(
        base_url=base_url, external_id=DID, identifier=HANDLE, secret=SECRET, session=session()
    )


def put_ok(body: bytes) -> dict[str, object]:
    sent = json.loads(body)
    return {"uri": f"at://{sent['repo']}/{sent['collection']}/{sent['rkey']}", "cid": CID}


def error(status: int, name: str, message: str = "") -> Answer:
    return answer(status, {"error": name, "message": message})


def body_of(text: str = TEXT) -> bytes:
    adapter = BlueskyAdapter(PlatformHttp(EgressPolicy()))
    content = Content(segments=(Segment(text=text),), language="sl")
    (template,) = adapter.render(content, DID, {})
    return fill(template, slots(adapter.record_key(NOW, "delivery-1")))


def stored(body: bytes, **changes: object) -> dict[str, object]:
    return put_ok(body) | {"value": json.loads(body)["record"] | changes}


@dataclass(slots=True)
class KindServer:
    """The least personal data server that behaves."""

    records: dict[str, object] = field(default_factory=dict)

    def install(self, platform: FakePlatform) -> None:
        now = int(datetime.now(UTC).timestamp())
        tokens = {"accessJwt": jwt("a", exp=now + 7200), "refreshJwt": jwt("r", exp=now + 9999)}
        account = {"did": DID, "handle": HANDLE, "active": True}
        platform.routes |= {
            LOGIN: answer(200, account | tokens),
            ("GET", f"{XRPC}.server.getSession"): answer(200, account),
            ("GET", "/xrpc/app.bsky.actor.getProfile"): answer(200, {"displayName": "Ministrstvo"}),
            ("GET", "/xrpc/_health"): answer(200, {"version": "0.4.217"}),
            UPLOAD: self.store,
            PUT: self.put,
            GET: self.get,
        }

    def store(self, request: Received) -> Answer:
        digest = bytes((1, 0x55, 0x12, 0x20)) + hashlib.sha256(request.body).digest()
        link = "b" + base64.b32encode(digest).decode().lower().rstrip("=")
        kind = request.headers["content-type"]
        blob = {
            "$type": "blob",
            "ref": {"$link": link},
            "mimeType": kind,
            "size": len(request.body),
        }
        return answer(200, {"blob": blob})

    def put(self, request: Received) -> Answer:
        sent = request.json()
        key = str(sent["rkey"])
        if key in self.records:
            return error(400, "InvalidSwap", f"Record was at {CID}")
        self.records[key] = sent["record"]
        return answer(200, put_ok(request.body))

    def get(self, request: Received) -> Answer:
        key = request.query["rkey"]
        if key not in self.records:
            return error(400, "RecordNotFound")
        uri = f"at://{unquote(request.query['repo'])}/{request.query['collection']}/{key}"
        return answer(200, {"uri": uri, "cid": CID, "value": self.records[key]})
