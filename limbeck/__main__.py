"""`python -m limbeck`: the same as the console script."""

from __future__ import annotations

import sys

from limbeck.launch import main

sys.exit(main())
