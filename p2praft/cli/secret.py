"""Where a group's secret is kept."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from p2praft.errors import KeyFileError

MAX_SECRET = 64 * 1024
"""Bytes of a file with a secret at most."""


def read_secret(path: str) -> str:
    """The passphrase in a file that only its owner can read.

    Raises:
        KeyFileError: It is missing, empty, far too long, or readable by others.
    """
    file = Path(path)
    try:
        mode = file.stat().st_mode
        with file.open("rb") as opened:
            data = opened.read(MAX_SECRET + 1)  # whatever it is: a device has no end
        text = data.decode().strip()
    except FileNotFoundError:
        raise KeyFileError(
            f"{path} does not exist; write the group's secret into it: one line, the same on all members"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not text'}") from None
    if len(data) > MAX_SECRET:
        raise KeyFileError(f"{path} holds more than {MAX_SECRET} bytes, which is no secret; give one line of text")
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise KeyFileError(f"others can read {path}, so it is no secret; run `chmod 600 {path}`")
    if not text:
        raise KeyFileError(f"{path} is empty; write the group's secret into it: one line, the same on all members")
    return text
