"""What is behind the objects, drawn anew for each scene."""

import jax
import jax.numpy as jnp

_BRIGHTEST = 0.5  # objects are brighter than their background


def draw(kind, key, size, channels):
  """Draws a background.

  Args:
    kind: 'black', 'grey', 'gradient' or 'texture'.
    key: consumed.
    size: side in pixels.
    channels: C.

  Returns:
    [size, size, C] in [0, 0.5].
  """
  return jnp.broadcast_to(_KINDS[kind](key, size, channels), (size, size, channels))


def _black(key, size, channels):
  del key, size
  return jnp.zeros(channels)


def _grey(key, size, channels):
  """One level everywhere."""
  del size
  return jax.random.uniform(key, (channels,), maxval=_BRIGHTEST)


def _gradient(key, size, channels):
  """From one level to another, in a direction of its own."""
  turn_key, level_key = jax.random.split(key)
  angle = jax.random.uniform(turn_key, maxval=2 * jnp.pi)
  centred = (jnp.arange(size) - (size - 1) / 2) / size
  along = centred[:, None] * jnp.sin(angle) + centred * jnp.cos(angle)
  share = along / (jnp.abs(jnp.sin(angle)) + jnp.abs(jnp.cos(angle))) + 0.5
  start, end = jax.random.uniform(level_key, (2, channels), maxval=_BRIGHTEST)
  return start + (end - start) * share[..., None]


def _texture(key, size, channels):
  """Noise with the 1 / f spectrum of photographs (Field, 1987)."""
  spectrum_key, level_key = jax.random.split(key)
  frequency = jnp.hypot(jnp.fft.fftfreq(size)[:, None], jnp.fft.fftfreq(size)) * size
  amplitude = 1.0 / jnp.maximum(frequency, 1.0)
  shape = (*frequency.shape, channels)
  waves = jax.lax.complex(*jax.random.normal(spectrum_key, (2, *shape)))
  noise = jnp.fft.ifft2(waves * amplitude[..., None], axes=(0, 1)).real
  noise = (noise - noise.mean((0, 1))) / noise.std((0, 1))
  level = jax.random.uniform(level_key, (channels,), minval=0.1, maxval=_BRIGHTEST - 0.1)
  return jnp.clip(level + 0.1 * noise, 0.0, _BRIGHTEST)


_KINDS = {'black': _black, 'grey': _grey, 'gradient': _gradient, 'texture': _texture}
