"""The README's Python runs as it stands there."""

import pathlib
import re

import jax.numpy as jnp

README = pathlib.Path(__file__).resolve().parents[1] / 'README.md'


def test_reuse_example_gives_a_gradient_for_every_logit():
  (example,) = re.findall(r'```python\n(.*?)```', README.read_text(), re.DOTALL)
  scope = {}
  exec(example, scope)
  assert (jnp.abs(scope['gradient']['logits']) > 1e-3).all()
