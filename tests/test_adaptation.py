"""What a finished run's configuration may become."""

import pytest
import samples

from air_jax.config import adaptation
from air_jax.config import schema as config_lib
from air_jax.configs import tiny
from air_jax.errors import UserError


def parsed(**changes):
  return config_lib.parse(samples.override(tiny.get_config(), **changes))


def test_the_price_of_an_object_is_that_of_the_prior():
  adapted = adaptation.adapt(parsed(), {'objective.prior_end': 1e-12})
  assert adapted.model.success == adapted.objective.prior_end == 1e-12
  with pytest.raises(UserError, match=r'config\.objective\.prior_end=0'):
    adaptation.adapt(parsed(), {'objective.prior_end': 0.0})


def test_other_scenes_steps_and_canvas_are_taken_over():
  config = parsed(model__cell='voting', objective__name='nvil')
  changes = {'data.counts': [5], 'data.canvas_size': 90, 'model.max_steps': 6, 'data.fit': 'pad'}
  adapted = adaptation.adapt(config, changes)
  assert adapted.data.drawn_counts == (5,) and adapted.data.fit == 'pad'
  model = adapted.model
  assert (model.canvas_size, model.max_steps, model.reference_size) == (90, 6, 50)
  assert not model.baseline  # which knows how many steps there are
  assert adapted.train == config.train and adapted.objective == config.objective


@pytest.mark.parametrize(
  ('of', 'changes', 'says'),
  [
    ({}, {'data.canvas_sise': 90}, r"unknown config key 'data.canvas_sise'; did you mean"),
    ({}, {'model.code_size': 3}, r'config\.model\.code_size cannot change after training'),
    ({}, {'data.workers': 3}, r'config\.data\.workers cannot change after training'),
    ({}, {'data.counts': (0,)}, r'config\.data\.counts=\(0,\) is not allowed'),
    ({}, {'data.min_scale': 2.0}, r'config\.data\.min_scale=2\.0 .* at most data\.max_scale=1'),
    ({}, {'data.colour': True}, r'data\.colour=True: the model was trained on grey images'),
    ({}, {'data.counts': (2, 4)}, r'up to 4 objects need config\.model\.max_steps .*; it is 3'),
    ({}, {'data.canvas_size': 90}, r"model\.cell='lstm' reads images of 50 pixels"),
    (
      {'model__cell': 'voting', 'model__background': 'constant'},
      {'data.canvas_size': 90},
      r"background='constant' has learned an image of 50 pixels",
    ),
  ],
)
def test_what_the_model_cannot_take_is_refused(of, changes, says):
  with pytest.raises(UserError, match=says):
    adaptation.adapt(parsed(**of), changes)
