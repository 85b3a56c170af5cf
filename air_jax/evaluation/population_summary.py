"""A population in figures: how many members succeeded, and their means."""

from typing import Any

import numpy as np

from air_jax.evaluation import held_out, metrics


def summarize(
  summaries: dict[int, dict[str, Any]], diverged: dict[int, dict[str, Any]], success: float
) -> dict[str, Any]:
  """Summarises a population by how many members succeeded; of one member, by that member's summary.

  Args:
    summaries: by member, see `held_out.evaluate`.
    diverged: by member, when (`step`) and `what` was not finite.
    success: count accuracy at which a member counts as successful.

  Returns:
    dict ready for JSON: `step`, `images`, `members`, `diverged`, `best` (the member with the
    highest held-out bound), `each` (the members' summaries), and means over members of all numbers
    that they share; where counts are known also `worst_count_accuracy` and `success` (`from` which
    accuracy, how many `members`, their `rate` with its 95 % `interval`). A member that diverged
    counts as failed, and enters no mean.
  """
  if len(summaries) + len(diverged) == 1:
    return summaries[0]
  first = next(iter(summaries.values()))
  size = len(summaries) + len(diverged)
  summary: dict[str, Any] = {
    'step': first['step'],
    'images': first['images'],
    'members': size,
    'diverged': {str(i): known for i, known in diverged.items()},
    'best': max(summaries, key=lambda i: summaries[i]['elbo']),
  }
  summary |= mean([held_out.scalars(each) for each in summaries.values()])
  if 'count_accuracy' in first:
    accuracies = [each['count_accuracy'] for each in summaries.values()]
    successes = sum(accuracy >= success for accuracy in accuracies)
    summary |= {
      'worst_count_accuracy': min(accuracies),
      'success': {
        'from': success,
        'members': successes,
        'rate': successes / size,
        'interval': [*metrics.wilson_interval(successes, size)],
      },
    }
  return summary | {'each': {str(i): each for i, each in summaries.items()}}


def mean(each: list[dict[str, float]]) -> dict[str, float]:
  """The means of the entries that all of these dicts have, by name."""
  shared = [name for name in each[0] if all(name in entries for entries in each)]
  return {name: float(np.mean([entries[name] for entries in each])) for name in shared}
