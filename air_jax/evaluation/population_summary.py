"""What became of the members of a population: each evaluated by itself, and all of them counted."""

import numpy as np

from air_jax.data import loading
from air_jax.evaluation import held_out, metrics
from air_jax.storage import run_dir
from air_jax.training import population


def evaluate_all(workdir, number=0):
  """Evaluates a run, of a population every member, and keeps what was found in its folders.

  Args:
    workdir: path of the run.
    number: of roll-outs for a tighter bound, see `evaluate.held_out`.

  Returns:
    summary, see `summarise`.

  Raises:
    UserError: there is no run, no checkpoint that can be read, or no data.
  """
  members, states, folder = run_dir.restore_all(workdir)
  config = members.learners[0].config
  scenes = loading.load(config.data, 'test')
  homes, diverged = (
    run_dir.homes(folder, len(members.learners)),
    run_dir.diverged(folder, states.step[0]),
  )
  _, summaries = take(members, states, scenes, homes, diverged, number)
  held_out.write(summarise(summaries, diverged, config.train.success), folder)
  return held_out.read(folder)


def take(members, states, scenes, homes, diverged, number=0):
  """Evaluates every member that has not diverged, and keeps its summary in its folder.

  Args:
    members: `Population`.
    states: `TrainState` with a leading [N].
    scenes: held-out `LabelledScenes`.
    homes: [N] folders of the members.
    diverged: dict from members that left the finite to what is known of it.
    number: of roll-outs for a tighter bound, see `evaluate.held_out`.

  Returns:
    (dict from member to `Evaluation`, dict from member to its summary).
  """
  evaluations, summaries = {}, {}
  for i, (learning, home) in enumerate(zip(members.learners, homes, strict=True)):
    if i not in diverged:
      state = population.member(states, i)
      evaluations[i], summaries[i] = held_out.held_out(learning, state, scenes, number)
      held_out.write(summaries[i], home)
  return evaluations, summaries


def summarise(summaries, diverged, success):
  """Counts how many members succeeded; a population of one is summed up by its member's summary.

  Args:
    summaries: dict from member to its summary, see `evaluate.held_out`.
    diverged: dict from members that left the finite to what is known of it.
    success: count accuracy from which a member has succeeded.

  Returns:
    dict ready for JSON: `step`, `images`, `members`, `diverged`, `best` (the member with the
    highest held-out bound), `each` (the members' summaries), means over members of `elbo`, `nll`,
    `kl` and what else all have; where counts are known `count_accuracy` (mean),
    `worst_count_accuracy` and `success` (from which accuracy, how many `members`, their `rate` with
    its 95 % `interval`). A member that diverged has not succeeded, and is in no mean.
  """
  if len(summaries) + len(diverged) == 1:
    return summaries[0]
  first = next(iter(summaries.values()))
  size = len(summaries) + len(diverged)
  summary = {
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
        'interval': metrics.wilson_interval(successes, size),
      },
    }
  return summary | {'each': {str(i): each for i, each in summaries.items()}}


def mean(each):
  """The means of dicts' entries, which are numbers, by name."""
  return {name: float(np.mean([entries[name] for entries in each])) for name in each[0]}


def table(summary):
  """A summary of a run or of a population as text for the terminal."""
  if 'members' not in summary:
    return held_out.table(summary)
  lines = [
    f'held-out images      {summary["images"]:>10,}',
    f'members              {summary["members"]:>10,}   ({len(summary["diverged"])} diverged)',
  ]
  if success := summary.get('success'):
    low, high = success['interval']
    lines += [
      f'successes            {success["members"]:>10,}   (count accuracy at least '
      f'{success["from"]:.0%}; 95 % interval {low:.0%} .. {high:.0%})',
      f'count accuracy       {summary["count_accuracy"]:>10.2%}   mean',
      f'                     {summary["worst_count_accuracy"]:>10.2%}   worst',
    ]
  lines += [
    f'ELBO                 {summary["elbo"]:>10.1f}   nats, mean',
    f'best member          {summary["best"]:>10}   by its ELBO',
    '',
    'member   count accuracy        ELBO   box IoU',
  ]
  for i in range(summary['members']):
    if str(i) in summary['diverged']:
      known = summary['diverged'][str(i)]
      lines.append(f'{i:>6}   diverged at step {known["step"]:,}: {", ".join(known["what"])}')
      continue
    each = summary['each'][str(i)]
    cells = [
      f'{each["count_accuracy"]:.2%}' if 'count_accuracy' in each else '-',
      f'{each["elbo"]:.1f}',
      f'{each["box_iou"]:.3f}' if 'box_iou' in each else '-',
    ]
    lines.append(f'{i:>6}   {cells[0]:>14}  {cells[1]:>10}   {cells[2]:>7}')
  return '\n'.join(lines)
