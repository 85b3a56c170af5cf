"""Fast sums: values and slopes."""

import jax
import numpy as np

from air_jax import sums


def test_the_total_is_that_of_all_values_and_moves_with_each():
  values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
  found, slopes = jax.value_and_grad(sums.total)(jax.numpy.asarray(values))
  np.testing.assert_allclose(found, values.sum(dtype=np.float64), rtol=1e-5)
  np.testing.assert_array_equal(slopes, np.ones_like(values))
