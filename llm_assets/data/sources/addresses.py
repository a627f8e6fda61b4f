"""Connections that go only where they may: to addresses of the public internet, unless a host is allowed by name.

A name is resolved once, all its addresses are checked, and the connection goes to a checked address: a name server that
answers otherwise the next time (DNS rebinding) changes nothing. Redirects come here too, as every connection does.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

import httpcore

Resolver = Callable[[str, int], list[str]]
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RefusedAddress(Exception):
    """A host has an address that is not of the public internet."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system finds them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def is_public(address: str) -> bool:
    """Whether an address is of the public internet; of an IPv6 address that holds an IPv4 one, whether that is."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses, and lets no request of a thread last beyond the deadline that thread has set."""

    def __init__(self, allowed: Collection[str] = (), resolver: Resolver = resolve) -> None:
        self._allowed = {host.lower() for host in allowed}
        self._resolver = resolver
        self._inner = httpcore.SyncBackend()
        self._local = threading.local()

    def deadline(self, seconds: float) -> None:
        """From now on, what this thread sends and reads must be done in so many seconds."""
        self._local.end = time.monotonic() + seconds

    def left(self, timeout: float | None = None) -> float:
        """Seconds to the deadline, at most `timeout`. Raises `httpcore.ReadTimeout` when there are none."""
        left = getattr(self._local, "end", float("inf")) - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("took longer than timeout_seconds")
        return left if timeout is None else min(left, timeout)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} has no address ({error})") from None
        if host.lower() not in self._allowed:
            for address in addresses:
                if not is_public(address):
                    raise RefusedAddress(f"{host} is at {address}, which is not public; allow it in allow_hosts")
        problem: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                stream = self._inner.connect_tcp(address, port, self.left(timeout), local_address, socket_options)
                return _Stream(stream, self)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, backend: CheckedBackend) -> None:
        self._inner, self._backend = inner, backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._backend.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._backend.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._inner.start_tls(ssl_context, server_hostname, self._backend.left(timeout))
        return _Stream(stream, self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
