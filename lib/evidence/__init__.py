"""Results of real runs, small enough to be kept with the code: written once, checked, concluded on.

``python -m lib.evidence record`` freezes what finished runs found, ``verify`` checks all of it.
"""
