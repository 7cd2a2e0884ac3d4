"""Sessions with an app password: two signed tokens (HS256), one for two hours and one to get new ones."""

import base64
import hashlib
import hmac
import json
import secrets
from pathlib import Path
from typing import Any, Final

from scheduler.canonical import sha256_hex
from scheduler.practice.bluesky.xrpc import find_account, read_input, refusal, unauthorized
from scheduler.practice.model import Account, Effect, JsonObject, Kind, Platform
from scheduler.practice.wire import Answer, Call, json_answer
from scheduler.practice.world import World

_NS: Final = 1_000_000_000
ACCESS_S: Final = 7200
REFRESH_S: Final = 7_776_000
GRACE_NS: Final = 7200 * _NS
_ACCESS: Final = "com.atproto.appPass"
_REFRESH: Final = "com.atproto.refresh"


class Sessions:
    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._book = world.books[Platform.BLUESKY]
        self._key = _signing_key(folder / "session.key")

    def create(self, call: Call) -> Answer:
        body = read_input(call, "identifier", "password")
        account = find_account(self._book, body["identifier"])
        if account is None or sha256_hex(body["password"].encode()) not in account.secrets:
            raise unauthorized("Invalid identifier or password")
        return self._opened(call, account)

    def refresh(self, call: Call) -> Answer:
        """Give a new pair; the old refresh token stays good for two hours more, so a lost answer costs nothing."""
        account, claims = self._refreshable(call)
        if claims["jti"] not in self._book.rotated:
            self._commit(call, account, Kind.SESSION_ROTATED, claims["jti"])
        return self._opened(call, account)

    def delete(self, call: Call) -> Answer:
        account, claims = self._refreshable(call)
        self._commit(call, account, Kind.SESSION_ENDED, claims["jti"])
        return Answer(body=b"")

    def get(self, call: Call) -> Answer:
        return json_answer(self._described(call, self.open(call)))

    def open(self, call: Call) -> Account:
        """The account of an access token.

        Raises:
            RefusalError: none, or not a good one; only a missing token is a 401.
        """
        claims = self._claims(call, _ACCESS)
        account = self._book.accounts.get(claims["sub"])
        if account is None or claims["number"] != account.sessions:
            raise refusal("ExpiredToken", "Token has expired")
        return account

    def _refreshable(self, call: Call) -> tuple[Account, dict[str, Any]]:
        claims = self._claims(call, _REFRESH)
        account = self._book.accounts.get(claims["sub"])
        rotated_ns = self._book.rotated.get(claims["jti"])
        is_old = rotated_ns is not None and self._world.now_ns() >= rotated_ns + GRACE_NS
        is_ended = claims["jti"] in self._book.ended
        if account is None or claims["number"] != account.logins or is_old or is_ended:
            raise refusal("ExpiredToken", "Token has been revoked")
        return account, claims

    def _claims(self, call: Call, scope: str) -> dict[str, Any]:
        if not call.bearer:
            raise refusal("AuthMissing", "Authentication Required", status=401)
        claims = self._verified(call.bearer)
        if claims is None:
            raise refusal("InvalidToken", "Token could not be verified")
        if claims["exp"] <= self._world.now_ns() // _NS:
            raise refusal("ExpiredToken", "Token has expired")
        if claims["scope"] != scope:
            raise refusal("InvalidToken", "Bad token scope")
        return claims

    def _opened(self, call: Call, account: Account) -> Answer:
        tokens = {
            "accessJwt": self._signed(call, account, _ACCESS),
            "refreshJwt": self._signed(call, account, _REFRESH),
        }
        return json_answer(tokens | self._described(call, account))

    def _described(self, call: Call, account: Account) -> JsonObject:
        return {
            "did": account.id,
            "handle": account.handle,
            "didDoc": did_document(account, call.origin),
            "active": True,
        }

    def _signed(self, call: Call, account: Account, scope: str) -> str:
        now_s = self._world.now_ns() // _NS
        is_access = scope == _ACCESS
        claims: JsonObject = {
            "scope": scope,
            "sub": account.id,
            "iat": now_s,
            "exp": now_s + (ACCESS_S if is_access else REFRESH_S),
            "aud": "did:web:" + call.origin.partition("://")[2].replace(":", "%3A"),
            "jti": secrets.token_urlsafe(24),
            "number": account.sessions if is_access else account.logins,
        }
        header = {"typ": "at+jwt" if is_access else "refresh+jwt", "alg": "HS256"}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{_base64url(self._signature(signed))}"

    def _verified(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that we signed, whatever its header says."""
        signed, _, signature = token.rpartition(".")
        expected = _base64url(self._signature(signed))
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            return None
        body = signed.partition(".")[2]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return claims

    def _signature(self, signed: str) -> bytes:
        return hmac.digest(self._key, signed.encode(), hashlib.sha256)

    def _commit(self, call: Call, account: Account, kind: Kind, token_id: str) -> None:
        self._world.commit(
            Effect(
                platform=Platform.BLUESKY,
                kind=kind,
                at_ns=call.received_ns,
                account=account.handle,
                remote_id=token_id,
            )
        )


def did_document(account: Account, origin: str) -> JsonObject:
    return {
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": account.id,
        "alsoKnownAs": [f"at://{account.handle}"],
        "verificationMethod": [],
        "service": [
            {
                "id": "#atproto_pds",
                "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": origin,
            }
        ],
    }


def _signing_key(path: Path) -> bytes:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(secrets.token_bytes(32))
    return path.read_bytes()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
