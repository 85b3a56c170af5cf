"""The losses as a package for others: what they take and refuse, and what they import."""

import functools
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
from samples import terms_of, value_of

from air_jax import objectives
from air_jax.errors import UserError

KEY = jax.random.key(0)
ONE_ROLLOUT = (
  objectives.exact,
  objectives.collapsed,
  objectives.reinforce,
  objectives.nvil,
  objectives.nvil_to_go,
  objectives.mvd,
  objectives.disarm,
  objectives.concrete,
)


@pytest.fixture
def theta():
  return samples.theta()


@pytest.mark.parametrize('objective', ONE_ROLLOUT)
def test_terms_of_a_batch_are_refused_unless_vmapped(theta, objective):
  """They would silently be summed."""
  terms = terms_of(theta)
  batch = jax.tree.map(lambda x: jnp.stack([x, x]), terms)
  for run in (objective, jax.jit(objective)):
    with pytest.raises(UserError) as caught:
      run(batch, KEY)
    assert str(caught.value) == (
      f'{objective.__name__} takes the terms of one image, fields [T + 1]; nll has shape (2, 4); '
      'jax.vmap it over images'
    )
  losses = jax.vmap(functools.partial(value_of, objective), (0, None))(batch, KEY)
  np.testing.assert_allclose(losses, 2 * [value_of(objective, terms, KEY)], rtol=1e-5)


@pytest.mark.parametrize('function', (objectives.elbo, objectives.summary))
def test_the_bound_of_a_batch_is_refused_too(theta, function):
  batch = jax.tree.map(lambda x: jnp.stack([x, x]), terms_of(theta))
  with pytest.raises(UserError, match='^elbo takes the terms of one image'):
    function(batch)


def test_fields_of_unequal_shapes_are_refused(theta):
  """They would be broadcast against each other."""
  terms = terms_of(theta)
  with pytest.raises(UserError, match=r'^exact needs kl_z of shape \(4,\), where nll has \(4,\); '):
    objectives.exact(terms._replace(kl_z=jnp.zeros(1)), KEY)
  with pytest.raises(UserError, match=r'it has \(2, 4\)$'):
    objectives.exact(terms._replace(log_p=jnp.zeros((2, 4))), KEY)
  with pytest.raises(UserError, match=r'^nvil needs baseline of shape \(3,\), .* it has \(4,\)$'):
    objectives.nvil(terms._replace(baseline=jnp.zeros(4)), KEY)
  with pytest.raises(UserError, match=r'^concrete needs products of shape \(4, 4\), '):
    objectives.concrete(terms._replace(products=jnp.zeros((3, 3))), KEY)


@pytest.mark.parametrize(
  ('objective', 'field', 'advice'),
  (
    (objectives.nvil, 'baseline', 'give the predictions of a baseline network, or zeros'),
    (objectives.nvil_to_go, 'baseline', 'give the predictions of a baseline network, or zeros'),
    (objectives.concrete, 'products', 'they exist for a Gaussian likelihood'),
    (objectives.exact, 'kl_z', 'give the KL divergence of the latents'),
  ),
)
def test_an_absent_field_is_named_with_what_to_do(theta, objective, field, advice):
  terms = terms_of(theta)._replace(**{field: None})
  says = f'^{objective.__name__} reads terms.{field}, which is None; {advice}'
  with pytest.raises(UserError, match=says):
    objective(terms, KEY)


@pytest.mark.parametrize('objective', ONE_ROLLOUT)
def test_what_a_loss_does_not_read_may_be_absent(theta, objective):
  needs = {'nvil': 'baseline', 'nvil_to_go': 'baseline', 'concrete': 'products'}
  terms = terms_of(theta)
  unread = {'log_ratio', 'baseline', 'products'} - {needs.get(objective.__name__)}
  bare = terms._replace(**dict.fromkeys(unread))
  ours, theirs = (value_of(objective, given, KEY) for given in (bare, terms))
  np.testing.assert_array_equal(ours, theirs)


def test_every_public_name_is_exported():
  for name in objectives.__all__:
    assert getattr(objectives, name) is not None
  assert {name for name in objectives.ESTIMATORS if name != 'doubly_iwae'} < {*objectives.__all__}


FOREIGN = (
  'flax optax orbax ml_collections tensorflow tensorflow_datasets grain absl matplotlib scipy '
  'sklearn tqdm PIL requests tensorboardX'
)


def test_the_losses_can_be_had_without_the_libraries_of_the_rest():
  program = f"""
import sys, time
import jax
before, start = {{*sys.modules}}, time.process_time()
import air_jax
from air_jax import objectives
from air_jax.objectives import distributions, registry
print(time.process_time() - start)
ours = {{name for name in sys.modules if name.startswith('air_jax.')}}
allowed = 'objectives', 'types', 'errors', 'import_path', '_version'
print([name for name in ours if name.split('.')[1] not in allowed])
from air_jax.model import spatial_transformer
print([name for name in {FOREIGN.split()} if name in {{*sys.modules}} - before])
"""
  root = pathlib.Path(__file__).parents[1]
  found = subprocess.check_output([sys.executable, '-c', program], cwd=root, text=True)
  seconds, *names = found.splitlines()
  assert names == ['[]', '[]']
  assert float(seconds) < 1.0
