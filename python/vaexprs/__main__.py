"""``python -m vaexprs`` is the command line."""

import sys

from vaexprs.cli import main

sys.exit(main())
