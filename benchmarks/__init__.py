"""What the project's attack is compared with; `make bench` installs the peers beside it."""
