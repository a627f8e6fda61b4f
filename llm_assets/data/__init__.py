"""Data: acquire, clean, augment, balance, profile."""
