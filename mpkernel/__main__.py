"""`python -m mpkernel`."""

import sys

from mpkernel.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
