"""Which values of a configuration are allowed, key by key and together."""

from air_jax.errors import UserError
from air_jax.objectives.registry import ESTIMATORS


def check(given, types):
  """Refuses a configuration that cannot work.

  Args:
    given: flat dict with dotted keys.
    types: the type of each key.

  Raises:
    UserError: a value is of the wrong type or impossible, by itself or beside another.
  """
  check_data(given, types)
  _check_order(given, 'model.glimpse_size', 'data.canvas_size')
  _check_order(given, 'model.patch_size', 'data.canvas_size')
  if given['data.source'] != 'folder':
    _check_order(given, 'train.batch_size', 'data.train_scenes')
  if given['model.residual']:
    patch = given['model.patch_size']
    _check('model.patch_size', patch, patch > 0, 'greater than 0 with model.residual=True')
  _check_members(given)
  name, number = given['objective.name'], given['objective.particles']
  fewest = ESTIMATORS[name].particles
  says = f'at least {fewest} with objective.name={name!r}'
  _check('objective.particles', number, number >= fewest, says)
  sleep = given['objective.sleep']
  _check('objective.sleep', sleep, name == 'rws' or not sleep, "False unless name is 'rws'")


def check_data(given, types):
  """As `check`, of a dict that may hold section `data` alone."""
  for key, value in given.items():
    _check(key, value, _is_a(value, types[key]), f'of type {types[key].__name__}')
    if key in _ALLOWED:
      allowed, says = _ALLOWED[key]
      _check(key, value, allowed(value), says)
  _check_order(given, 'data.min_objects', 'data.max_objects')
  _check_order(given, 'data.min_scale', 'data.max_scale')
  if given['data.source'] == 'folder':
    read = "with data.source='folder', whose images are all read at the start"
    online, reading = given['data.online'], given['data.reading']
    _check('data.online', online, not online, f'False {read}')
    _check('data.reading', reading, reading != 'stream', f"'auto' or 'resident' {read}")


def _check_members(given):
  size, seed = given['train.population'], given['seed']
  _check('seed', seed, seed + size <= 2**32, f'at most 2**32 - train.population={2**32 - size}')
  for key, values in given.items():
    section, _, name = key.rpartition('.')
    if section == 'members' and len(values):
      says = f'as many numbers as train.population={size}, or ()'
      _check(key, values, len(values) == size, says)
      owner = next(other for other in given if other != key and other.endswith(f'.{name}'))
      for value in values:
        allowed, says = _ALLOWED[owner]
        _check(key, values, _is_a(value, float), 'of numbers')
        _check(key, values, allowed(value), f'of numbers, each {says}')


def _check_order(given, small, large):
  _check(small, given[small], given[small] <= given[large], f'at most {large}={given[large]}')


def _check(key, value, good, allowed):
  if not good:
    raise UserError(f'config.{key}={value!r} is not allowed; it must be {allowed}')


def _is_a(value, kind):
  if kind is float:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
  if kind is int:
    return isinstance(value, int) and not isinstance(value, bool)
  return isinstance(value, (tuple, list) if kind is tuple else kind)


def _at_least(least):
  return lambda value: value >= least, f'at least {least}'


def _one_of(*names):
  return lambda value: value in names, f'one of {", ".join(map(repr, names))}'


_POSITIVE = (lambda value: 0 < value < float('inf'), 'a finite number greater than 0')
_SHARE = (lambda value: 0 <= value <= 1, 'in [0, 1]')
_LAYERS = (
  lambda sizes: len(sizes) > 0 and all(_is_a(s, int) and s > 0 for s in sizes),
  'at least one layer size, each a whole number greater than 0',
)
_FINITE = (lambda value: abs(value) < float('inf'), 'finite')

_ALLOWED = {
  'seed': (lambda value: 0 <= value < 2**32, 'in [0, 2**32)'),
  'data.source': _one_of('digits', 'mnist', 'omniglot', 'sprites', 'dsprites', 'folder'),
  'data.layout': _one_of('disjoint', 'touching'),
  'data.fit': _one_of('crop', 'pad', 'squash'),
  'data.canvas_size': _at_least(1),
  'data.min_objects': _at_least(0),
  'data.max_objects': _at_least(1),
  'data.min_scale': _POSITIVE,
  'data.max_scale': _POSITIVE,
  'data.background': _one_of('black', 'grey', 'gradient', 'texture'),
  'data.noise': _SHARE,
  'data.train_scenes': _at_least(1),
  'data.test_scenes': _at_least(1),
  'data.seed': (lambda value: 0 <= value < 2**32, 'in [0, 2**32)'),
  'data.reading': _one_of('auto', 'resident', 'stream'),
  'data.resident_gb': (lambda value: 0 <= value < float('inf'), 'a finite number, at least 0'),
  'data.workers': _at_least(0),
  'model.max_steps': _at_least(1),
  'model.glimpse_size': _at_least(1),
  'model.code_size': _at_least(1),
  'model.cell_size': _at_least(1),
  'model.patch_size': _at_least(0),
  'model.patch_features': _at_least(1),
  'model.patch_rounds': _at_least(0),
  'model.encoder_sizes': _LAYERS,
  'model.presence_sizes': _LAYERS,
  'model.location_sizes': _LAYERS,
  'model.glimpse_encoder_sizes': _LAYERS,
  'model.glimpse_decoder_sizes': _LAYERS,
  'model.attention_heads': _at_least(1),
  'model.background': _one_of('black', 'constant', 'latent'),
  'model.likelihood': (lambda v: True, ''),
  'model.networks': (lambda v: True, ''),
  'model.background_code_size': _at_least(1),
  'model.background_grid': _at_least(2),
  'model.background_sizes': _LAYERS,
  'model.baseline_sizes': _LAYERS,
  'model.likelihood_std': _POSITIVE,
  'model.presence_bias': _FINITE,
  'model.where_std_bias': _FINITE,
  'model.what_std_bias': _FINITE,
  'model.output_bias': _FINITE,
  'model.size_prior_mean': (lambda value: 0 < value < 1, 'in (0, 1)'),
  'model.size_prior_std': _POSITIVE,
  'model.shift_prior_std': _POSITIVE,
  'model.count_by': _one_of('presence', 'explanation'),
  'objective.name': _one_of(*ESTIMATORS),
  'objective.particles': _at_least(1),
  'objective.temperature': _POSITIVE,
  'objective.final_temperature': _POSITIVE,
  'objective.temperature_steps': _at_least(0),
  'objective.smoothing': _SHARE,
  'objective.smoothing_hold': _at_least(0),
  'objective.smoothing_steps': _at_least(0),
  'objective.kl_warmup': (lambda value: 0 < value <= 1, 'in (0, 1]'),
  'objective.kl_warmup_steps': _at_least(0),
  'objective.prior_start': _POSITIVE,
  'objective.prior_end': _POSITIVE,
  'objective.prior_steps': _at_least(0),
  'train.steps': _at_least(1),
  'train.batch_size': _at_least(1),
  'train.learning_rate': _POSITIVE,
  'train.adam_b2': (lambda value: 0 <= value < 1, 'in [0, 1)'),
  'train.final_learning_rate': _SHARE,
  'train.baseline_learning_rate': _POSITIVE,
  'train.average': (lambda value: 0 <= value < 1, 'in [0, 1)'),
  'train.clip_norm': (lambda value: 0 <= value < float('inf'), 'a finite number, at least 0'),
  'train.skip_not_finite': _at_least(0),
  'train.log_every': _at_least(1),
  'train.eval_every': _at_least(1),
  'train.draw_every': _at_least(0),
  'train.checkpoint_every': _at_least(1),
  'train.keep_checkpoints': _at_least(1),
  'train.keep_every': _at_least(0),
  'train.keep_best': _at_least(0),
  'train.population': _at_least(1),
  'train.success': _SHARE,
}
