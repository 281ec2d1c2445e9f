"""Results of real runs, small enough to keep with the code: recorded, checked, and judged.

``python -m lib.evidence record`` stores what finished runs found, ``verify`` checks all of it.
"""
