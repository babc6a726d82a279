"""Entry point of `python -m kerasrec.cli`, the same as `kerasrec`."""

import sys

from kerasrec.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
