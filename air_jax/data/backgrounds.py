"""Backgrounds: what is behind the objects, sampled for each scene."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

_BRIGHTEST = 0.5  # bright objects are brighter than their background
# Those of SuPAIR's two noisy sets (Stelzner, Peharz & Kersting, 2019).
_DIM = 0.1
_LINE, _LINES_APART = 0.4, 5  # brightness; pixels


def sample(kind: str, key: PRNGKeyArray, size: int, channels: int) -> Float[Array, 'H W C']:
  """Samples a square background, with values in [0, 0.5] but for 'level' and 'colour'.

  Args:
    kind: one of `sections.BACKGROUNDS`.
    key: consumed.
    size: H = W, pixels.
    channels: C.
  """
  return jnp.broadcast_to(_KINDS[kind](key, size, channels), (size, size, channels))


def _black(key: PRNGKeyArray, size: int, channels: int) -> Float[Array, ' C']:
  del key, size
  return jnp.zeros(channels)


def _grey(key: PRNGKeyArray, size: int, channels: int) -> Float[Array, ' C']:
  """One level everywhere."""
  del size
  return jax.random.uniform(key, (channels,), maxval=_BRIGHTEST)


def _gradient(key: PRNGKeyArray, size: int, channels: int) -> Float[Array, 'H W C']:
  """From one level to another, in a random direction."""
  angle_key, level_key = jax.random.split(key)
  angle = jax.random.uniform(angle_key, maxval=2 * jnp.pi)
  centred = (jnp.arange(size) - (size - 1) / 2) / size
  along = centred[:, None] * jnp.sin(angle) + centred * jnp.cos(angle)
  position = along / (jnp.abs(jnp.sin(angle)) + jnp.abs(jnp.cos(angle))) + 0.5  # in [0, 1]
  start, end = jax.random.uniform(level_key, (2, channels), maxval=_BRIGHTEST)
  return start + (end - start) * position[..., None]


def _texture(key: PRNGKeyArray, size: int, channels: int) -> Float[Array, 'H W C']:
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


def _level(key: PRNGKeyArray, size: int, channels: int) -> Float[Array, ' 1']:
  """One level in [0, 1] everywhere, in all channels."""
  del size, channels
  return jax.random.uniform(key, (1,))


def _colour(key: PRNGKeyArray, size: int, channels: int) -> Float[Array, ' C']:
  """One colour everywhere, each channel in [0, 1]."""
  del size
  return jax.random.uniform(key, (channels,))


def _dim(key: PRNGKeyArray, size: int, channels: int) -> Float[Array, ' C']:
  """A tenth everywhere, so that noise is seldom cut off at black."""
  del key, size
  return jnp.full(channels, _DIM)


def _grid(key: PRNGKeyArray, size: int, channels: int) -> Float[Array, 'H W 1']:
  """Lines of one pixel across and down, with a random offset of each."""
  del channels
  across, down = jnp.arange(size) % _LINES_APART == jax.random.randint(key, (2, 1), 0, _LINES_APART)
  return jnp.where(across[:, None] | down, _LINE, 0.0)[..., None]


_KINDS = {
  'black': _black,
  'grey': _grey,
  'gradient': _gradient,
  'texture': _texture,
  'level': _level,
  'colour': _colour,
  'dim': _dim,
  'grid': _grid,
}
