"""Edits that a client of the demo asks for: what cannot be done is refused in one sentence."""

import contextlib
import json

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from air_jax.config import schema
from air_jax.configs import tiny
from air_jax.errors import UserError
from air_jax.inference import predictor
from air_jax.inference.demo import edits

CONFIG = schema.parse(tiny.get_config())
T = CONFIG.model.max_steps
LATENTS = {
  'z_where': [[0.0, 0.1, -0.2]] * T,
  'z_what': [[0.5] * CONFIG.model.code_size] * T,
  'count': 2,
  'z_background': [0.0] * CONFIG.model.background_code_size,
}
MOVE = {'edit': 'move', 'which': 0, 'by': {'right': 0.1}}


DEEP = b'[' * 100_000
NUMBERS = ['NaN', '-Infinity', '1e400', '1' + '0' * 400, '1' + '0' * 5000, '"1"', 'true', 'null']
BAD_EDITS = [
  DEEP,
  b'{"latents": ' + DEEP,
  b'\xff',
  *(json.dumps({'latents': LATENTS, 'changes': changes}).encode() for changes in (
    [MOVE] * 101,
    [1],
    'x',
    *([MOVE | change] for change in (
      {'which': T}, {'which': -1}, {'which': True}, {'which': 0.5}, {'which': None},
      {'edit': 'x' * 9999}, {'edit': '\ud800'}, {'edit': []}, {'by': [1]}, {'by': {'latents': 1}},
      {'edit': 'resize'},
    )),
  )),
  *(json.dumps({'latents': LATENTS | change, 'changes': []}).encode() for change in (
    {'count': T + 1}, {'count': -1}, {'count': True}, {'count': 1.5}, {'z_where': [[1e30] * 3] * T},
    {'z_what': 'x'}, {'z_what': [[[]]]}, {'z_where': {}}, {'z_background': None},
  )),
  *(json.dumps({'latents': LATENTS, 'changes': [MOVE]}).replace('0.1}', f'{number}}}').encode()
    for number in NUMBERS),
  *(json.dumps({'latents': LATENTS, 'changes': []}).replace('-0.2', number).encode()
    for number in NUMBERS if number not in ('"1"', 'true')),
]  # fmt: skip


@pytest.mark.parametrize('body', BAD_EDITS, ids=range(len(BAD_EDITS)))
def test_no_edit_of_a_malformed_body(body):
  with pytest.raises(UserError, match='^not understood: .{1,180}$'):
    edits.apply(body, CONFIG.model)


def test_edits_at_the_ends_of_their_ranges_give_a_finite_scene(model, params):
  loaded = predictor.Model(CONFIG, model, params, step=0)
  ends = LATENTS | {'z_where': [[-50, 50, -50]] * T, 'z_what': [[1e6] * CONFIG.model.code_size] * T}
  changes = [MOVE | {'which': T - 1, 'by': {'right': 1000, 'down': -1000}}, MOVE] * 50
  for latents in (LATENTS, ends):
    body = json.dumps({'latents': latents, 'changes': changes}).encode()
    edited = jax.tree.map(lambda x: np.asarray(x)[None], edits.apply(body, CONFIG.model))
    scenes = loaded.render(edited)
    assert np.isfinite(scenes.canvases).all() and np.isfinite(scenes.boxes).all()


VALUES = st.recursive(
  st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
  lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
  max_leaves=10,
)


@settings(
  max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)  # no limits of time: the machine may be busy
@given(st.sampled_from(['latents', 'changes', *LATENTS, *MOVE]), VALUES)
def test_any_value_in_the_place_of_any_field(name, value):
  asked = {'latents': dict(LATENTS), 'changes': [dict(MOVE)]}
  for part in (asked, asked['latents'], asked['changes'][0]):
    if name in part:
      part[name] = value
  with contextlib.suppress(UserError):
    latents = edits.apply(json.dumps(asked).encode(), CONFIG.model)
    assert all(np.isfinite(x).all() for x in latents)
