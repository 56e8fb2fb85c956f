"""Whether the node of this container is sound: exit status 0 or 1, for Docker's HEALTHCHECK. With the word ``ready``: whether its
groups have a leader in reach as well.

It asks the node's own HTTP API where ``P2PRAFT_API`` says that it listens, and needs nothing but Python.
"""

import json
import os
import sys
import urllib.error
import urllib.request


def main() -> int:
    """Ask, say what is wrong, and tell by the exit status."""
    path = "readyz" if sys.argv[1:] == ["ready"] else "healthz"
    port = os.environ.get("P2PRAFT_API", "127.0.0.1:8600").rpartition(":")[2]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=4) as answer:
            return 0 if json.load(answer)["ok"] else 1
    except urllib.error.HTTPError as error:
        print(error.read().decode(errors="replace"))
    except (OSError, ValueError) as error:
        print(f"no answer from the node on port {port}: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
