"""Settings, run folders and what else every room stands on."""
