"""``python -m zoo``."""

import sys

from zoo.shadowed import shadowed

try:
    from zoo.cli.app import main
except ImportError:
    if (told := shadowed()) is None:
        raise
    sys.exit(f"zoo: {told}")

main()
