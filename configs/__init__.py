"""Configurations by name: `air-jax --config=multi_mnist`. default.py explains every key."""
