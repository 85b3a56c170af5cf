"""AIR, attend, infer, repeat, in JAX: scenes explained as sets of objects."""
