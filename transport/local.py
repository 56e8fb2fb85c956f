"""What an endpoint needs of its own: a socket, and a certificate that means nothing."""

from __future__ import annotations

import errno
import socket
from datetime import UTC, datetime
from typing import Any

import anyio
from cryptography import x509
from cryptography.x509.oid import NameOID

from transport.address import HostPort
from transport.errors import BindError
from transport.identity import SecretKey


async def bind_socket(listen: HostPort) -> socket.socket:
    try:
        found = await anyio.getaddrinfo(listen.host, listen.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise BindError(f"cannot listen on {listen}: {getattr(error, 'strerror', None) or error}") from None
    family, _, _, _, address = found[0]
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, 4 * 1024 * 1024)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            text = "another process uses it; choose another port, or 0 for a free one"
        elif error.errno == errno.EADDRNOTAVAIL:
            text = "this machine has no such address; 0.0.0.0 listens on all it has"
        elif error.errno == errno.EACCES:
            text = "not allowed; ports below 1024 need privileges"
        else:
            text = error.strerror or str(error)
        raise BindError(f"cannot listen on {listen}: {text}") from None
    return sock


def certificate() -> tuple[x509.Certificate, Any]:
    """A self-signed certificate that TLS needs and nobody trusts. It names nobody and never expires."""
    key = SecretKey.generate().private_key
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "p2praft")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(9999, 12, 31, tzinfo=UTC))
        .sign(key, None)
    )
    return certificate, key
