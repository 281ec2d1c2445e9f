"""What a defense gives back, and what an attacker who knows it leaves of it."""
