"""`python -m palette`."""

import sys

from palette.cli import main

sys.exit(main())
