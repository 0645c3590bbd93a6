"""Every fault that we know of, caused for real: one test a fault, selected by `pytest -m faults`.

A test checks the sentence that the user reads, the exit status, what is left, and that the same
command recovers. It records them as a row of the table that the session prints at its end
(`table.py`). The data are an archive of drawn sprites in the published format (`tests.archives`).
A full or read-only disk is a tmpfs, which takes root to mount; where that is refused, those tests
are skipped.
"""
