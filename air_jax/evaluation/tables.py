"""Summaries as text for the terminal."""

from typing import Any


def table(summary: dict[str, Any]) -> str:
  """A summary of a run or of a population as text for the terminal."""
  if 'members' not in summary:
    return _of_run(summary)
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


def _of_run(summary: dict[str, Any]) -> str:
  lines = [f'held-out images      {summary["images"]:>10,}']
  if 'count_accuracy' in summary:
    low, high = summary['count_accuracy_interval']
    lines.append(
      f'count accuracy       {summary["count_accuracy"]:>10.2%}'
      f'   (95 % interval {low:.2%} .. {high:.2%})'
    )
  if 'count_calibration_error' in summary:
    error = summary['count_calibration_error']
    lines.append(f'calibration error    {error:>10.2%}   of the probability of the count')
  lines += [
    f'ELBO                 {summary["elbo"]:>10.1f}   nats',
    f'  reconstruction     {summary["nll"]:>10.1f}   nats (-log p(x | z))',
    f'  KL                 {summary["kl"]:>10.1f}   nats',
    f'reconstruction error {summary["reconstruction_mse"]:>10.5f}   mean square of a pixel',
  ]
  if 'tight_bound' in summary:
    lines.insert(
      -1, f'{summary["particles"]:>5}-sample bound   {summary["tight_bound"]:>10.1f}   nats'
    )
  if 'box_iou' in summary:
    lines.append(f'box IoU              {summary["box_iou"]:>10.3f}')
  if 'mask_iou' in summary:
    of_objects = f"; of objects' pixels {summary['ari_fg']:.3f}" if 'ari_fg' in summary else ''
    lines += [
      f'mask IoU             {summary["mask_iou"]:>10.3f}',
      f'adjusted Rand index  {summary["ari"]:>10.3f}   of all pixels{of_objects}',
      f'average precision    {summary["ap"]:>10.3f}   of masks at IoU 0.5 to 0.95; at 0.5 '
      f'{summary["ap_50"]:.3f}',
    ]
  if 'kind_accuracy' in summary:
    lines += [
      f'kind                 {summary["kind_accuracy"]:>10.2%}   of matched objects',
      f'place error          {summary["place_error"]:>10.4f}   table widths, mean',
    ]
  if 'rotation_error' in summary:
    lines.append(
      f'rotation error       {summary["rotation_error"]:>10.2f}   degrees, median over cubes'
    )
  if 'window_size' in summary:
    spread = f'of the canvas; its log-odds vary by {summary["window_size_std"]:.3f} (learned)'
    lines.append(f'window size          {summary["window_size"]:>10.3f}   {spread}')
  if 'background_share' in summary:
    share = summary['background_share']
    lines.append(f'background share     {share:>10.3f}   of what is painted beyond one colour')
  if 'likelihood_std' in summary:
    lines.append(f'deviation of a pixel {summary["likelihood_std"]:>10.3f}   (learned)')
  found = summary['predicted_counts']
  header = ''.join(f'{n:>8}' for n in range(len(found)))
  lines += ['', f'true count   accuracy   predicted{header}']
  for count, row in enumerate(summary.get('confusion', [])):
    accuracy = summary['accuracy_by_count'].get(str(count))
    shown = '       -' if accuracy is None else f'{accuracy:>8.2%}'
    lines.append(f'{count:>10}   {shown}   {"":9}' + ''.join(f'{n:>8,}' for n in row))
  if 'confusion' not in summary:
    lines.append(f'   unknown          -   {"":9}' + ''.join(f'{n:>8,}' for n in found))
  return '\n'.join(lines)


def of_pictures(summary: dict[str, Any]) -> str:
  """What was found in pictures against the truth, as text for the terminal.

  Args:
    summary: of `picture_counts.summary`, of `detection.summary`, or both in one.
  """
  lines = []
  if 'count_accuracy' in summary:
    low, high = summary['count_accuracy_interval']
    found, true = summary['mean_found_count'], summary['mean_true_count']
    lines += [
      f'pictures             {summary["pictures"]:>10,}   with a true count',
      f'count accuracy       {summary["count_accuracy"]:>10.2%}'
      f'   (95 % interval {low:.2%} .. {high:.2%})',
      f'  commonest count    {summary["commonest_accuracy"]:>10.2%}'
      f'   by always saying {summary["commonest_count"]:,}',
      f'objects per picture  {found:>10.2f}   true {true:.2f}',
      f'absolute error       {summary["mean_absolute_error"]:>10.2f}   objects, mean',
    ]
    if 'total_error_percent' in summary:
      lines.append(f'error of the total   {summary["total_error_percent"]:>+10.1f}   %')
    if 'count_correlation' in summary:
      lines.append(f'correlation          {summary["count_correlation"]:>10.3f}   of counts')
  if 'f1' in summary:
    true, found = summary['true_objects'], summary['found_objects']
    lines += [
      f'pictures             {summary["located_pictures"]:>10,}   with known true objects',
      f'objects matched      {summary["matched_objects"]:>10,}   of {true:,} true, {found:,} found',
    ]
    for name in ('precision', 'recall'):
      if name in summary:
        lines.append(f'{name:<21}{summary[name]:>10.3f}')
    accuracy = summary['detection_accuracy']
    lines += [
      f'F1                   {summary["f1"]:>10.3f}   mean of pictures {summary["mean_f1"]:.3f}',
      f'detection accuracy   {accuracy:>10.3f}   matched / (matched + missed + wrong)',
    ]
    if 'matched_iou' in summary:
      lines.append(f'IoU of matches       {summary["matched_iou"]:>10.3f}   mean')
  return '\n'.join(lines)
