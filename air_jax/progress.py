"""What training shows: a progress bar on a terminal, and a line for each evaluation."""

import sys
from typing import Any

import tqdm

from air_jax.callbacks import Callback, MetricsRecord
from air_jax.config.sections import Config


class Progress(Callback):
  """A progress bar on a terminal; a line for each evaluation there and elsewhere."""

  def on_start(self, step: int, config: Config) -> None:
    self._population = config.train.population > 1
    self._bar = tqdm.tqdm(
      total=config.train.steps,
      initial=step,
      unit='step',
      dynamic_ncols=True,
      disable=not sys.stderr.isatty(),
    )

  def on_metrics(self, record: MetricsRecord) -> None:
    if record.split != 'train' or record.member is not None:
      return
    means = record.scalars
    shown = f'loss {means["loss"]:.1f}, ELBO {means["elbo"]:.1f}'
    if 'count_accuracy' in means:
      shown += f', counted {means["count_accuracy"]:.1%}'
    self._bar.set_postfix_str(shown)
    self._bar.update(record.step - self._bar.n)

  def on_evaluation(self, step: int, summary: dict[str, Any]) -> None:
    shown = []
    if 'count_accuracy' in summary:
      shown.append(f'count accuracy {summary["count_accuracy"]:.2%}')
    if 'success' in summary:
      shown.append(f'worst {summary["worst_count_accuracy"]:.2%}')
      shown.append(f'{summary["success"]["members"]} of {summary["members"]} succeed')
    shown.append(f'ELBO {summary["elbo"]:.1f} nats')
    if 'box_iou' in summary:
      shown.append(f'box IoU {summary["box_iou"]:.3f}')
    self.on_message(f'step {step:>7,}: held-out {", ".join(shown)}')

  def on_message(self, text: str) -> None:
    self._bar.write(text)

  def on_end(self, summary: dict[str, Any] | None) -> None:
    self._bar.close()
