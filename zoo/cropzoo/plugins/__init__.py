"""Plugins: specs, hooks, and the registry of what the installed ones offer. Strings only; no torch, no NumPy."""
