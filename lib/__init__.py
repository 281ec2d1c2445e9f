"""Models, pixel attack, denoisers, metrics and records behind the notebooks of this replication."""
