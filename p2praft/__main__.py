"""``python -m p2praft`` is the command ``p2praft``."""

from p2praft.cli import main

if __name__ == "__main__":
    main()
