"""The library behind the five notebooks of the reproducible report on Cycle-Consistent VAEs."""

import sys

# With this package jsonschema, which checks notebooks, builds a grammar of addresses, which notebooks do not hold, for a second
# of every start; without, it leaves those unchecked.
sys.modules.setdefault("rfc3987_syntax", None)
