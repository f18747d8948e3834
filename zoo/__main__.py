"""``python -m zoo``."""

import sys

from zoo.hidden import hidden

try:
    from zoo.cli.app import main
except ImportError:
    if (told := hidden()) is None:
        raise
    sys.exit(f"zoo: {told}")

main()
