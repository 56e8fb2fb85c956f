"""The QUIC engine beneath the links: aioquic, or, if asked for, qh3 (the extra ``fast``).

Both have the same sans-I/O interface, and a network may mix them; qh3's core is written in Rust and takes about half the
time a round trip. It is an experiment: in qh3 2.1 a peer whose NAT rebinds loses its connection and dials again, where
aioquic migrates it. Everything that differs between them is in this file.
Neither is imported before a configuration is made: most commands never open a link.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from transport.errors import ConfigError

EngineName = Literal["auto", "aioquic", "qh3"]

SERVER_NAME = ".".join(["x" * 60] * 3) + ".p2praft.invalid"
"""What a dialler calls the acceptor, who ignores it. It is long because an acceptor with qh3 2.1 counts only the packets of a first
datagram, not what fills it up, may send three times that (RFC 9000, section 8.1), and fails if its answer needs more."""
ED25519 = 0x0807
"""The signature scheme's number in TLS (RFC 8446, section 4.2.3)."""


@dataclass(frozen=True, slots=True)
class QuicEngine:
    """One of the two.

    Attributes:
        name: Which.
        events: Its module of event classes.
        connection: Its connection class.
        configure: Makes its configuration from the settings that both know.
        ack_delay: Seconds for which it holds an acknowledgement back; 0 if it cannot be told to hurry.
        pads: Whether it fills a first datagram up to the configured size.
    """

    name: str
    events: Any
    connection: Callable[..., Any]
    configure: Callable[..., Any]
    ack_delay: float
    pads: bool

    def says_closed(self, error: Exception) -> bool:
        """Whether it raised that because the peer has closed the connection; aioquic takes what comes then in silence."""
        return self.name == "qh3" and getattr(error, "reason_phrase", "") == "connection is closed"

    def must_wait(self, error: Exception) -> bool:
        """Whether it raised that because it may not send yet, before it knows the path (RFC 9000, section 8.1)."""
        return self.name == "qh3" and getattr(error, "reason_phrase", "") == "packet builder capacity exhausted"


def quic_engine(name: EngineName) -> QuicEngine:
    """The engine to use. For ``auto`` the environment variable ``P2PRAFT_QUIC`` may say which; aioquic if it does not.

    Raises:
        ConfigError: There is none of this name, or it is not installed.
    """
    chosen = (os.environ.get("P2PRAFT_QUIC") or "aioquic") if name == "auto" else name
    if chosen not in ("aioquic", "qh3"):
        raise ConfigError(f"engine={chosen!r} is not allowed: choose auto, aioquic or qh3")
    if chosen == "qh3" and importlib.util.find_spec("qh3") is None:
        raise ConfigError("engine='qh3' needs the package qh3: install p2praft[fast]")
    logging.getLogger("quic").setLevel(logging.ERROR)  # both warn of what peers do wrong; our counters say that
    return QuicEngine(
        name=chosen,
        events=importlib.import_module(f"{chosen}.quic.events"),
        connection=importlib.import_module(f"{chosen}.quic.connection").QuicConnection,
        configure=_configure_qh3 if chosen == "qh3" else _configure_aioquic,
        ack_delay=0.0 if chosen == "qh3" else importlib.import_module("aioquic.quic.congestion.base").K_GRANULARITY,
        pads=chosen == "aioquic",
    )


def _configure_aioquic(certificate: x509.Certificate | None, private_key: Any, **settings: Any) -> Any:
    configuration = importlib.import_module("aioquic.quic.configuration").QuicConfiguration(**settings)
    if certificate is None:
        configuration.verify_mode = 0
    else:
        configuration.certificate = certificate
        configuration.private_key = private_key
    return configuration


def _configure_qh3(certificate: x509.Certificate | None, private_key: Any, **settings: Any) -> Any:
    module = importlib.import_module("qh3.quic.configuration")
    # A search for larger datagrams would go beyond the route's MTU that we found.
    configuration = module.QuicConfiguration(
        signature_algorithms=[ED25519], probe_datagram_size=False, hostname_checks_common_name=False, **settings
    )
    if certificate is None:
        configuration.verify_mode = 0
    else:
        key = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        configuration.load_cert_chain(certificate.public_bytes(Encoding.PEM), key)
    return configuration
