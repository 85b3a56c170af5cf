"""Where the schedules start and end, and that they never leave the way between."""

import jax
import jax.numpy as jnp
import numpy as np

from air_jax.config import schema as configuration
from air_jax.training import schedules


def test_linear_goes_evenly_from_start_to_end_and_stays():
  ramp = schedules.linear(0.2, 1.0, 4)
  values = [ramp(step) for step in range(7)]
  np.testing.assert_allclose(values, [0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0], rtol=1e-6)


def test_exponential_goes_in_equal_ratios_from_start_to_end_and_stays():
  for start, end in ((0.99, 1e-5), (1e-3, 2.0)):
    decay = schedules.exponential(start, end, 1000)
    values = [decay(step) for step in (0, 250, 500, 1000, 5000)]
    quarter, middle = start**0.75 * end**0.25, (start * end) ** 0.5
    np.testing.assert_allclose(values, [start, quarter, middle, end, end], rtol=1e-4)


def test_schedules_of_no_steps_are_at_their_end_at_once():
  for make in (schedules.linear, schedules.exponential):
    assert make(0.9, 0.25, 0)(0) == 0.25


def test_an_exponential_between_equal_ends_is_constant():
  assert schedules.exponential(0.5, 0.5, 10)(3) == 0.5


def test_compiled_ramps_never_leave_the_way_between_their_ends():
  steps = jnp.arange(1100)
  for start, end in ((0.9, 0.0), (0.02, 1.0)):
    values = jax.jit(jax.vmap(schedules.linear(start, end, 1000)))(steps)
    assert values.min() >= min(start, end) and values.max() <= max(start, end)
    assert (np.sign(end - start) * np.diff(values) >= 0).all()
    assert values[1000] == end
    # The same, one compiled step at a time, as training has it.
    one = jax.jit(schedules.linear(start, end, 1000))
    assert all(min(start, end) <= one(step) <= max(start, end) for step in range(990, 1010))


def test_build_reads_each_schedule_from_its_own_keys(tiny_config):
  tiny_config.objective.update(
    smoothing=0.8,
    smoothing_hold=5,
    smoothing_steps=10,
    kl_warmup=0.1,
    kl_warmup_steps=30,
    prior_start=0.5,
    prior_end=0.05,
    prior_steps=50,
  )
  tiny_config.train.update(steps=100, learning_rate=3e-3, final_learning_rate=0.2)
  config = configuration.parse(tiny_config)
  built = schedules.build(config.objective, config.train)
  for name, ends, steps in (
    ('learning_rate', (1.0, 0.2), 100),
    ('smoothing', (0.8, 0.0), 15),
    ('kl_weight', (0.1, 1.0), 30),
    ('success', (0.5, 0.05), 50),
  ):
    schedule = getattr(built, name)
    np.testing.assert_allclose([schedule(0), schedule(steps)], ends, rtol=1e-5)
    assert min(ends) < schedule(steps - 1) < max(ends), name
  np.testing.assert_allclose(built.smoothing(np.array([4, 5, 10])), [0.8, 0.8, 0.4], rtol=1e-5)
