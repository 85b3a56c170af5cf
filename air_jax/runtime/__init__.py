"""Devices, processes and caches."""
