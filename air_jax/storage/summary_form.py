"""The form of evaluation.json and diverged.json: what those who read them back rely on.

What the entries mean is said by `held_out.evaluate` and `population_summary.summarize`.
"""

from typing import Any, TypedDict

from air_jax.runtime.json_forms import mismatch


class Diverged(TypedDict):
  """When a member diverged, and what was not finite."""

  step: int
  what: list[str]


class _Run(TypedDict):
  step: int
  images: int
  elbo: float
  nll: float
  kl: float
  reconstruction_mse: float
  predicted_counts: list[int]


class _Counts(TypedDict):
  count_accuracy_interval: tuple[float, float]
  count_accuracy: float


class _Calibration(TypedDict):
  count_calibration_error: float


class _Confusion(TypedDict):
  accuracy_by_count: dict[str, float | None]
  confusion: list[list[int]]


class _Boxes(TypedDict):
  box_iou: float


class _Masks(TypedDict):
  mask_iou: float
  ari: float
  ap: float
  ap_50: float


class _Objects(TypedDict):
  ari_fg: float


class _Window(TypedDict):
  window_size: float
  window_size_std: float


class _Background(TypedDict):
  background_share: float


class _Likelihood(TypedDict):
  likelihood_std: float


class _Solids(TypedDict):
  place_error: float
  kind_accuracy: float


class _Rotations(TypedDict):
  rotation_error: float


class _Bound(TypedDict):
  tight_bound: float
  particles: int


# Entries that come together, by the one that shows they are there.
_TOGETHER = {
  'count_accuracy': _Counts,
  'count_calibration_error': _Calibration,
  'confusion': _Confusion,
  'box_iou': _Boxes,
  'mask_iou': _Masks,
  'ari_fg': _Objects,
  'window_size': _Window,
  'background_share': _Background,
  'likelihood_std': _Likelihood,
  'kind_accuracy': _Solids,
  'rotation_error': _Rotations,
  'tight_bound': _Bound,
}


# `from` is no name of a field.
_Success = TypedDict(
  '_Success', {'from': float, 'members': int, 'rate': float, 'interval': tuple[float, float]}
)


class _Population(TypedDict):
  step: int
  images: int
  members: int
  diverged: dict[str, Diverged]
  best: int
  elbo: float
  each: dict[str, Any]


class _Successes(TypedDict):
  success: _Success
  count_accuracy: float
  worst_count_accuracy: float


def mismatch_of_summary(summary: Any) -> str:
  """What keeps a value from being the summary of a run or a population; '' if nothing does."""
  if not isinstance(summary, dict) or 'members' not in summary:
    return _mismatch_of_run(summary)
  if text := mismatch(summary, _Population):
    return text
  if 'success' in summary and (text := mismatch(summary, _Successes)):
    return text
  each, members = summary['each'], [*summary['each'], *summary['diverged']]
  if len(members) != summary['members'] or {*members} != {str(i) for i in range(len(members))}:
    return 'it does not have an entry for each member'
  if str(summary['best']) not in each:
    return f'it[{"best"!r}] must be a member with an entry'
  return next(filter(None, map(_mismatch_of_run, each.values())), '')


def _mismatch_of_run(summary: Any) -> str:
  if text := mismatch(summary, _Run):
    return text
  forms = (form for name, form in _TOGETHER.items() if name in summary)
  return next(filter(None, (mismatch(summary, form) for form in forms)), '')
