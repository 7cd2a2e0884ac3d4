import socket
from datetime import timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from adapters.egress import EgressPolicy, EgressRefusedError, guarded_socket, is_public
from adapters.errors import UnavailableError
from adapters.http import PlatformHttp, Request, endpoint

PRIVATE = (
    # this host, private use, shared, loopback, link local
    "0.0.0.0", "0.0.0.1", "0.255.255.255", "10.0.0.0", "10.0.0.1", "10.255.255.255",
    "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.0.0.53", "127.1.2.3",
    "127.255.255.255", "169.254.0.1", "169.254.169.254", "169.254.170.2", "169.254.255.255",
    "172.16.0.0", "172.16.0.1", "172.20.10.1", "172.31.255.255", "192.168.0.0", "192.168.0.1",
    "192.168.255.255",
    # assignments, documentation, relays, benchmarks, multicast, reserved, broadcast, metadata
    "192.0.0.1", "192.0.0.8", "192.0.0.170", "192.0.0.192", "192.0.2.1", "192.31.196.1",
    "192.52.193.1", "192.88.99.1", "192.175.48.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "224.0.0.251", "239.255.255.250",
    "240.0.0.1", "250.1.2.3", "255.255.255.254", "255.255.255.255", "168.63.129.16",
    # IPv6: unspecified, loopback, link local, unique local, site local, multicast
    "::", "::1", "::2", "fe80::1", "fe80::1%eth0", "fe80::a9fe:a9fe", "febf::1", "fc00::1",
    "fd00::1", "fd00:ec2::254", "fd12:3456:789a::1", "fdff::1", "fec0::1", "ff01::1", "ff02::1",
    "ff02::fb", "ff05::2", "ff0e::1",
    # IPv4 in disguise: mapped, compatible, translated, NAT64, 6to4, Teredo
    "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "::ffff:192.168.0.1", "::ffff:0.0.0.0", "::ffff:100.64.0.1", "::ffff:224.0.0.1",
    "::127.0.0.1", "::10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "2002:7f00:1::", "2002:7f00:1::1",
    "2002:a00:1::1", "2002:a9fe:a9fe::", "2002:c0a8:1::1", "2002:808:808::1",
    "2001::1", "2001:0:7f00:1::", "2001:0:53aa:64c:0:0:f5ff:fffe",
    # IPv6 special purpose
    "100::1", "100:0:0:1::1", "2001:1::1", "2001:2::1", "2001:3::1", "2001:10::1", "2001:20::1",
    "2001:30::1", "2001:1ff::1", "2001:db8::1", "2001:db8:ffff::1", "3fff::1", "3fff:fff::1",
    "2620:4f:8000::1", "5f00::1", "4000::1", "1fff::1", "a000::1", "200::1", "8000::1",
)  # fmt: skip
PUBLIC = (
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.1",
    "126.255.255.255", "128.0.0.1", "169.253.255.255", "172.15.255.255", "172.32.0.1",
    "192.0.1.1", "192.167.255.255", "198.17.255.255", "198.20.0.1", "223.255.255.255",
    "::ffff:1.1.1.1", "2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450::1",
    "3ffe::1",
)  # fmt: skip
NO_ADDRESS = (
    "", " ", "localhost", "0x7f.1", "0177.0.0.1", "2130706433", "127.1", "127.0.0.1.", "1.1.1.1/8",
    "[::1]", "1.1.1.1:443", "١٢٧.0.0.1", "1.1.1.256", ":::1", "example.com",
)  # fmt: skip


def test_the_list_is_long_enough_to_mean_something() -> None:
    assert len(set(PRIVATE)) >= 100


@pytest.mark.parametrize("address", PRIVATE)
def test_no_socket_is_made_for_a_private_address(address: str) -> None:
    assert not is_public(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(EgressRefusedError):
        guarded_socket((family, socket.SOCK_STREAM, 6, "", (address, 443)))


@pytest.mark.parametrize("address", NO_ADDRESS)
def test_what_is_no_literal_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_socket_is_made_for_a_public_address_on_443_only(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    guarded_socket((family, socket.SOCK_STREAM, 6, "", (address, 443))).close()
    for port in (0, 22, 25, 80, 6379, 8443, 65_535):
        with pytest.raises(EgressRefusedError):
            guarded_socket((family, socket.SOCK_STREAM, 6, "", (address, port)))


@given(st.ip_addresses())
def test_what_the_standard_library_calls_not_global_is_never_reached(address: object) -> None:
    parsed = ip_address(str(address))
    if is_public(str(parsed)):
        assert parsed.is_global or getattr(parsed, "ipv4_mapped", None) is not None
        assert not parsed.is_loopback
        assert not parsed.is_multicast


REFUSED_URLS = (
    "http://social.karvenia.example/", "https://social.karvenia.example:8443/",
    "https://social.karvenia.example:80/", "https://social.karvenia.example:0/",
    "https://user@social.karvenia.example/", "https://user:pw@social.karvenia.example/",
    "https://:pw@social.karvenia.example/", "http://127.0.0.1:8070/", "http://localhost:8071/",
    "https://127.0.0.1:8072/", "ftp://social.karvenia.example/", "file:///etc/passwd",
    "gopher://social.karvenia.example:443/", "data:text/plain,x", "//social.karvenia.example/",
    "/api/v1/statuses", "", "ws://social.karvenia.example/",
)  # fmt: skip


@pytest.mark.parametrize("address", REFUSED_URLS)
def test_an_address_that_is_not_https_on_443_is_refused_before_any_look_up(address: str) -> None:
    policy = EgressPolicy(frozenset({("127.0.0.1", 8071), ("localhost", 8070)}))
    with pytest.raises(UnavailableError) as caught:
        policy.check(URL(address))
    assert caught.value.code == "egress_refused"


def test_only_the_exact_host_and_port_is_allowed() -> None:
    policy = EgressPolicy(frozenset({("127.0.0.1", 8071)}))
    for good in ("http://127.0.0.1:8071/x", "https://127.0.0.1:8071/x", "https://1.1.1.1/"):
        policy.check(URL(good))
    assert policy.trusts(URL("http://127.0.0.1:8071/"))
    for other in ("http://127.0.0.1:8072/", "http://localhost:8071/", "http://127.0.0.2:8071/"):
        assert not policy.trusts(URL(other))


DOORS = (
    "https://127.0.0.1", "https://[::1]", "https://[::ffff:127.0.0.1]", "https://localhost",
    "https://127.1", "https://0x7f.1", "https://2130706433", "https://0177.0.0.1", "https://0",
    "https://169.254.169.254", "https://[fe80::1]", "https://localhost.", "https://10.0.0.1",
)  # fmt: skip


@pytest.mark.parametrize("address", DOORS)
async def test_no_spelling_of_a_private_address_gets_past_the_socket(address: str) -> None:
    async with PlatformHttp(EgressPolicy()) as http:
        request = Request(method="GET", url=endpoint(address, "/"), timeout=timedelta(seconds=5))
        with pytest.raises(UnavailableError) as caught:
            await http.send(request)
    # A resolver may not know an odd spelling at all: then nothing was connected to either.
    assert caught.value.code in {"egress_refused", "unreachable"}
    if caught.value.code == "unreachable":
        causes = {"ClientConnectorDNSError", "InvalidUrlClientError"}
        assert caught.value.evidence["cause"] in causes
