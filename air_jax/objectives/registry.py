"""Every loss by name, and what it needs of roll-outs."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from air_jax import import_path
from air_jax.errors import UserError
from air_jax.objectives import baseline, count, multi_sample, per_step


class Estimator(NamedTuple):
  """A loss and what a trainer has to provide for it."""

  # (terms, key, smoothing) -> [] nats; with `init`: (terms, key, smoothing, state) -> (nats, state)
  loss: Callable[..., Any]
  # options -> state, a pytree; options has the fields of section `objective` of the configuration
  init: Callable[[Any], Any] | None = None
  # The estimator of least variance with the same expected gradient; '' if there is none
  same_expectation_as: str = ''
  particles: int = 0  # fewest roll-outs of an image; 0: one roll-out, and terms have no [K]
  baseline: bool = False  # whether it reads `terms.baseline`
  reparameterized: bool = True  # whether gradients pass through sampled where and what
  temperature: bool = False  # whether it takes a keyword argument `temperature`
  doubly_reparameterized: bool = False  # whether its gradients are, as collapsed_iwae's can be


_ALL = (
  Estimator(count.exact, same_expectation_as='exact'),
  Estimator(count.collapsed),
  Estimator(count.reinforce, same_expectation_as='exact'),
  Estimator(count.nvil, baseline.init_averages, same_expectation_as='exact', baseline=True),
  Estimator(per_step.nvil_to_go, baseline.init_averages, 'exact', baseline=True),
  Estimator(per_step.mvd, same_expectation_as='exact'),
  Estimator(per_step.disarm, same_expectation_as='exact'),
  Estimator(per_step.concrete, temperature=True),
  Estimator(multi_sample.iwae, baseline.init_averages, 'vimco', particles=1, baseline=True),
  Estimator(multi_sample.vimco, same_expectation_as='vimco', particles=2),
  Estimator(multi_sample.vimco_arithmetic, same_expectation_as='vimco', particles=2),
  Estimator(multi_sample.collapsed_iwae, same_expectation_as='collapsed_iwae', particles=1),
  Estimator(multi_sample.rws, particles=2, reparameterized=False),
)
ESTIMATORS: dict[str, Estimator] = {each.loss.__name__: each for each in _ALL}
ESTIMATORS['doubly_iwae'] = ESTIMATORS['collapsed_iwae']._replace(doubly_reparameterized=True)


def resolve(name: str) -> Estimator:
  """The estimator of a name.

  Args:
    name: a key of `ESTIMATORS`, or 'module:attribute': an `Estimator`, or a loss function that
      needs nothing but (terms, key, smoothing). The current directory is searched too.

  Raises:
    UserError: there is no such name, or what is found there is no estimator.
  """
  if name in ESTIMATORS:
    return ESTIMATORS[name]
  setting = f'objective.name={name!r}'
  if ':' not in name:
    raise UserError(
      f'{setting} is not allowed; it must be one of {", ".join(ESTIMATORS)}, or module:attribute'
    )
  found = import_path.load(name, 'objective.name')
  estimator = found if isinstance(found, Estimator) else Estimator(found)
  if not callable(estimator.loss):
    raise UserError(f'{setting} gives {estimator.loss!r}; it must be a function or an Estimator')
  _check_fields(setting, estimator)
  arguments = ['terms', 'key', 'smoothing', *(['state'] if estimator.init else [])]
  options = {'temperature': None} if estimator.temperature else {}
  _check_signature(setting, 'loss', estimator.loss, *arguments, **options)
  if estimator.init:
    _check_signature(setting, 'init', estimator.init, 'options')
  return estimator


def _check_fields(setting: str, estimator: Estimator) -> None:
  if estimator.init is not None and not callable(estimator.init):
    raise UserError(f'{setting} has init={estimator.init!r}; it must be a function or None')
  follows = estimator.same_expectation_as
  if not isinstance(follows, str) or not (not follows or ':' in follows or follows in ESTIMATORS):
    raise UserError(
      f'{setting} has same_expectation_as={follows!r}; it must be the name of an estimator or empty'
    )
  number = estimator.particles
  if not isinstance(number, int) or isinstance(number, bool) or number < 0:
    raise UserError(f'{setting} has particles={number!r}; it must be an integer >= 0')
  for field, default in Estimator._field_defaults.items():
    value = getattr(estimator, field)
    if isinstance(default, bool) and not isinstance(value, bool):
      raise UserError(f'{setting} has {field}={value!r}; it must be True or False')


def _check_signature(
  setting: str, role: str, function: Callable[..., Any], *arguments: str, **options: Any
) -> None:
  try:
    signature = inspect.signature(function)
  except ValueError:  # some built-in functions have none
    return
  try:
    signature.bind(*arguments, **options)
  except TypeError as error:
    bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    call = ', '.join((*arguments, *(f'{option}=...' for option in options)))
    raise UserError(
      f'{setting} has {role}{inspect.Signature(bare)}; it is called as {role}({call})'
    ) from error
