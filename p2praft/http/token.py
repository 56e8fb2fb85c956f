"""The bearer token that an API beyond loopback asks for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from p2praft.errors import KeyFileError

MIN_TOKEN = 16
"""Characters: fewer could be guessed."""
MAX_TOKEN = 4096
"""Characters: more do not fit into a header."""


def read_token(path: str | os.PathLike[str]) -> str:
    """The token in a file that only its owner can read.

    Raises:
        KeyFileError: It is missing, too short, not plain text, or readable by others.
    """
    file = Path(path)
    make = f"make one with `(umask 077; openssl rand -hex 32 > {path})`"
    try:
        mode = file.stat().st_mode
        with file.open(encoding="utf-8") as opened:
            token = opened.read(MAX_TOKEN + 1).strip()  # whatever it is: a device has no end
    except FileNotFoundError:
        raise KeyFileError(f"there is no API token at {path}; {make}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(
            f"cannot read the API token {path}: {getattr(error, 'strerror', None) or 'it is not text'}"
        ) from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise KeyFileError(f"others can read {path}, so it is no secret; run `chmod 600 {path}`")
    if not MIN_TOKEN <= len(token) <= MAX_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise KeyFileError(f"{path} holds no API token: {MIN_TOKEN} to {MAX_TOKEN} visible ASCII characters; {make}")
    return token
