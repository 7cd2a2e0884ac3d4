"""Where the adapters may connect: public addresses on port 443 over TLS, and host:port pairs that the operator named.

A check of names is not enough: a literal address never meets the resolver, and a name may point anywhere. So the socket
factory, which sees the address that is really connected to, has the last word.
"""

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from yarl import URL

from adapters.errors import UnavailableError

HTTPS_PORT: Final = 443

AddressInfo = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]
]

# IANA special-purpose registries, multicast, reserved space, and a cloud's metadata service on a public address.
_DENIED_V4: Final = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32",
        "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
        "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    )
)  # fmt: skip
# All unicast that was ever handed out; NAT64, unique local, link local, loopback and multicast lie outside.
_GLOBAL_V6: Final = ip_network("2000::/3")
# Teredo and other protocol assignments, documentation, 6to4.
_DENIED_V6: Final = tuple(
    ip_network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)


class EgressRefusedError(OSError):
    """Raised inside the connector; `PlatformHttp` turns it into the code `egress_refused`."""

    def __init__(self) -> None:
        # The same text each time: the connector keeps the class only if all tried addresses fail alike.
        super().__init__("not a public address on port 443")


def is_public(address: str) -> bool:
    """Tell whether a literal IP address may be reached; text that is no address may not."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return parsed in _GLOBAL_V6 and not any(parsed in network for network in _DENIED_V6)
        parsed = parsed.ipv4_mapped
    return _is_public_v4(parsed)


def _is_public_v4(address: IPv4Address) -> bool:
    return not any(address in network for network in _DENIED_V4)


def guarded_socket(info: AddressInfo) -> socket.socket:
    """Make the socket for an address the connector is about to dial, or refuse it."""
    family, kind, protocol, _, target = info
    host, port = str(target[0]), target[1]
    if port != HTTPS_PORT or not is_public(host):
        raise EgressRefusedError
    return socket.socket(family, kind, protocol)


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """`allow` holds exact host:port pairs that may be private and may speak plain http."""

    allow: frozenset[tuple[str, int]] = frozenset()

    def trusts(self, url: URL) -> bool:
        return (url.host, url.port) in self.allow

    def check(self, url: URL) -> None:
        """Raise UnavailableError(`egress_refused`) for an address that must not be tried at all."""
        if url.scheme not in {"http", "https"} or not url.host:
            raise _refused("only https addresses are used")
        if url.user is not None or url.password is not None:
            raise _refused("an address must not hold a user name or password")
        if not self.trusts(url) and (url.scheme != "https" or url.port != HTTPS_PORT):
            raise _refused(
                "only https on port 443 is used, unless the operator allowed this host and port"
            )


def _refused(why: str) -> UnavailableError:
    return UnavailableError(f"refused to connect: {why}", code="egress_refused")
