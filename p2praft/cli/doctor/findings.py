"""What the doctor can find, and what to do about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        check: What was looked at.
        ok: Whether it is as it should be.
        message: What was found.
        fault: The name of what is wrong, a key of :data:`ADVICE`; None if nothing is.
        advice: What to do; None if there is nothing to do.
    """

    check: str
    ok: bool
    message: str
    fault: str | None = None
    advice: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For scripts and the control socket."""
        return {
            "check": self.check,
            "ok": self.ok,
            "message": self.message,
            "advice": self.advice,
            "fault": self.fault,
        }

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Finding:
        """Of :meth:`as_json`."""
        return cls(**{name: plain[name] for name in ("check", "ok", "message", "fault", "advice")})


ADVICE = {
    # this machine
    "secret-file": "make the file with `(umask 077; echo 'a long passphrase' > secret)`; the same line on all members",
    "key-file": "restore the key from a backup, or move the file away: the node then makes a new identity",
    "data-locked": "stop the other node first, or give this one a --data-dir of its own",
    "data-corrupt": "move the file away: the member then joins its group anew. Never put an older copy in its place: it has "
    "forgotten what the member promised",
    "data-full": "free some space on that disk, or move the directory to a larger one, then start the node",
    "data-read-only": "mount the disk for writing, or let the user that runs the node own the directory",
    "data-unusable": "choose another --data-dir, one that this user may write to",
    "listen": "choose another --listen HOST:PORT; 0.0.0.0:0 takes any free port on all interfaces",
    # the way to a peer
    "name-unknown": "correct the host's name, or use its IP address; `getent hosts NAME` shows what this machine knows",
    "no-route": "look at `ip route get ADDRESS`: the network is down, or this machine has no way there",
    "nothing-listens": "start the node there, or take the port from what `p2praft status` prints there: a node that "
    "was started without --listen and --data-dir has another port each time",
    "udp-blocked": "open this UDP port (not TCP) in the firewalls of both machines and in the cloud's security group; "
    "see that the host is up and that the address is its own",
    "udp-forbidden": "this machine's own firewall refuses to send: look at `nft list ruleset` or `iptables -L OUTPUT`",
    "mtu-too-small": "QUIC needs datagrams of 1200 bytes, unfragmented: raise the MTU of the narrowest link (VPN, "
    "tunnel) to 1280 at least",
    "mtu-smaller": "large datagrams vanish on the way, which costs time at each start: lower the interface's MTU to what "
    'the path takes (`ip link set dev DEV mtu N`), or let ICMP "fragmentation needed" pass',
    # who is there
    "wrong-identity": "ask whoever runs that node for its address, and compare the ids: a node that lost its key file or "
    "was started without --identity and --data-dir has a new one",
    "unproven": "another node with our own key may be running, or something in between changes what is sent; give each "
    "node a key file of its own",
    "version": "upgrade the older node: the two speak no common version",
    "handshake": "look at the other node's log; it may be overloaded, or refuse more connections",
    # the network and the group
    "other-network": "give both the same --network NAME, letter by letter",
    "no-such-group": "start a node there with --group of the same name; if one runs, compare the names and the secret files, "
    "letter by letter; or the group is an application's, with a state machine of its own",
    "other-machine": "start all members with the same state machine: `p2praft up` serves the map, an application its own",
    "older-release": "upgrade that node: releases 0.1 and 0.2 form no group",
    "not-founded": "start what it names, or correct --seed; as many members as --expect says found the group once they see "
    "each other; --found begins it alone",
    "no-leader": "start more of the group's voters: a majority must be up",
    "stranded": "start the voters that it names; if they are gone for good, `p2praft recover` lets the rest go on; if the group "
    "works elsewhere, `p2praft abandon` joins this node to that",
    "sealed": "start more nodes of the part of the group that it names; if that is lost for ever, `p2praft recover` says so",
    "log-differs": "an older copy of a data directory was put back, here or at the leader: move away the one of the node that has "
    "it, and it joins anew; `archive list` shows what is kept",
    "asks": "`p2praft merge GROUP --dry-run` shows the two parts; `p2praft merge` ends this one in favour of the other",
    "not-bonded": "see what the node's log says of that peer; run `p2praft doctor` on the other machine as well",
    "alone": "give it a --seed: the address that another node printed when it was ready",
    # time
    "clock-off": "set the clock, `timedatectl set-ntp true`: agreement does not depend on it, but log lines and times to "
    "live do",
}
"""By the name of the fault. Each of them is in docs/errors.md."""


def fine(check: str, message: str) -> Finding:
    """As it should be."""
    return Finding(check=check, ok=True, message=message)


def faulty(check: str, fault: str, message: str) -> Finding:
    """Something is wrong."""
    return Finding(check=check, ok=False, message=message, fault=fault, advice=ADVICE[fault])
