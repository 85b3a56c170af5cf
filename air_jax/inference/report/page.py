"""The report: one HTML file that needs no network, for light and dark screens, phones and paper.

page.html holds the text, with the title and the caption of each figure by its name.
"""

import io
import os
import pathlib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import tqdm
from jaxtyping import Float, Int

from air_jax.config.flat import flatten
from air_jax.data import loading
from air_jax.errors import UserError
from air_jax.evaluation import held_out, metrics, segmentation
from air_jax.inference import predictor, restore, run_figures
from air_jax.inference.report import code_figures
from air_jax.runtime import extras, files
from air_jax.storage import metric_writers, provenance, run_dir
from air_jax.types import LabelledScenes
from air_jax.viz import figures, plots
from air_jax.viz.backend import Figure

with extras.needed('report', 'the report'):
  import jinja2
  import matplotlib

_STYLE: Any = {  # figures take the page's colour of text, see `_svg`
  'svg.fonttype': 'none',
  'svg.hashsalt': 'air_jax',
  'legend.framealpha': 0.0,
}
_INCH = 86  # least CSS pixels an inch of a figure: text of 8 points is 9.6 pixels high
# Runs that differ in one of these have ELBOs that cannot be compared.
_COMPARABLE = 'data', 'model.likelihood_std', 'objective.prior_end'

Headline = tuple[str, str, str]  # name, value, interval


class Run(NamedTuple):
  """A run that was restored and evaluated."""

  name: str
  folder: pathlib.Path
  model: predictor.Model
  scenes: LabelledScenes  # held out
  evaluation: held_out.Evaluation
  summary: dict[str, Any]  # of `held_out.evaluate`


def write(
  workdir: str | pathlib.Path,
  member: int | None,
  compared: Sequence[str | pathlib.Path],
  out: str | pathlib.Path | None,
  gradient_norms: Callable[[np.ndarray], Mapping[str, float]] | None = None,
) -> pathlib.Path:
  """Writes the report of a run.

  Args:
    workdir: folder of the run.
    member: of a population; None is the best one.
    compared: folders of runs to compare with.
    out: the file; None is `report.html` in the run's folder, replacing an earlier one.
    gradient_norms: function of held-out images [B, H, W, C], uint8, to the norm of the gradient by
      part of the model, in nats; None leaves out this figure.

  Returns:
    path of the file.

  Raises:
    UserError: a folder holds no run, or no checkpoint that can be read; the file exists already, or
      cannot be written.
  """
  path = pathlib.Path(os.path.expanduser(out or f'{workdir}/report.html'))
  if out and path.exists():
    raise UserError(f'{path} exists already; --out=FILE must name a new one')
  run = _restore(workdir, member)
  runs = [run, *(_restore(other, None) for other in compared)]
  found = run.evaluation
  miscounted = (run.scenes.counts >= 0) & (found.counts != run.scenes.counts)
  codes, labels = code_figures.codes_of(run.model, run.scenes)
  shown = _figures(run, _frequent_count(found.counts), np.flatnonzero(miscounted), codes, labels)
  norms = gradient_norms(np.asarray(run.scenes.images)) if gradient_norms else {}
  if norms:
    shown['gradients'] = lambda: plots.gradient_norms(norms)
  chance = metrics.chance_error(run.scenes.counts)
  if len(runs) > 1:
    curves = [metric_writers.read_metrics(each.folder) for each in runs]
    names = [each.name for each in runs]
    alike = {metrics.chance_error(each.scenes.counts) for each in runs} == {chance}
    shown['comparison'] = lambda: plots.population(curves, 'run', names, chance if alike else None)
  text = _template().render(
    run=run,
    headlines=_headlines(run),
    confusion=_confusion(run.summary),
    comparison=_comparison(runs) if len(runs) > 1 else None,
    svgs=_draw(shown),
    frequent_count=_frequent_count(found.counts),
    miscounted=int(miscounted.sum()),
    norms=', '.join(f'{part} {norm:.2g}' for part, norm in norms.items()),
    chance=chance,
    codes=len(codes),
    config=_config(run),
    provenance=_columns(provenance.read(_run_folder(run.folder))),
  )
  try:
    files.write_atomic(path, text.encode(errors='replace'))  # names of files may be any bytes
  except OSError as error:
    raise UserError(f'cannot write {path}: {error.strerror}; --out=FILE names another') from error
  return path


def _template() -> jinja2.Template:
  return jinja2.Environment(
    loader=jinja2.PackageLoader('air_jax.inference.report', '.'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  ).get_template('page.html')


def _restore(workdir: str | pathlib.Path, member: int | None) -> Run:
  """Restores a run and evaluates it on held-out scenes."""
  restored = restore.restore(workdir)
  index = restored.chosen(member)
  model, folder = restored.model(index), restored.member_dir(index)
  scenes = loading.load(model.config.data, 'test')
  evaluation, summary = held_out.evaluate(
    model.model, model.params, scenes, model.config.seed, model.step
  )
  name = str(folder.relative_to(_run_folder(folder).parent))
  return Run(name, folder, model, scenes, evaluation, summary)


def _figures(
  run: Run,
  frequent_count: int,
  miscounted: Int[np.ndarray, ' M'],
  codes: Float[np.ndarray, 'M D'],
  labels: Int[np.ndarray, ' M'],
) -> dict[str, Callable[[], Figure]]:
  """Functions that draw the figures, by the names that page.html knows them by."""
  model, scenes, found = run.model, run.scenes, run.evaluation
  by_bound = np.argsort(found.elbo)
  of_count = by_bound[found.counts[by_bound] == frequent_count]
  chosen = {
    'typical': run_figures.typical(scenes, found),
    'best': of_count[::-1],
    'worst': by_bound,
    'miscounted': miscounted,
  }

  def reconstructions(indices: np.ndarray) -> Callable[[], Figure]:
    return lambda: run_figures.reconstructions(model, scenes, indices[: figures.SHOWN])

  def samples() -> Figure:
    key = jax.random.key(model.config.seed)
    return figures.samples(model.generate(figures.NUMBER_OF_SAMPLES, key).canvases)

  drawn: dict[str, Callable[[], Figure]] = {
    'training': lambda: plots.training(
      metric_writers.read_metrics(run.folder), metrics.chance_error(scenes.counts)
    ),
    **{name: reconstructions(indices) for name, indices in chosen.items() if len(indices)},
    'attention': lambda: figures.attention(found.windows, found.counts, scenes.images.shape[1]),
    'samples': samples,
  }
  if 'count_calibration_error' in run.summary:
    bins = held_out.count_calibration(found, np.asarray(scenes.counts))
    drawn['calibration'] = lambda: plots.reliability(bins)
  if len(codes) >= code_figures.FEWEST_CODES:
    drawn['codes'] = lambda: code_figures.embedding(codes, labels)
    drawn['traversal'] = lambda: code_figures.traversal(model.decode, codes)
  return drawn


def _draw(shown: Mapping[str, Callable[[], Figure]]) -> dict[str, str]:
  """Draws figures as SVG, with a progress bar on a terminal."""
  hidden = not sys.stderr.isatty()
  with matplotlib.rc_context(_STYLE):
    bar = tqdm.tqdm(shown.items(), desc='report', unit='figure', disable=hidden)
    return {name: _svg(draw()) for name, draw in bar}


def _svg(figure: Figure) -> str:
  """A figure as SVG in the colours of the page: black becomes the colour of text."""
  file = io.StringIO()
  figure.savefig(file, format='svg', transparent=True, dpi=110, metadata={'Date': None})
  text = file.getvalue()
  text = text[text.index('<svg') :].replace('#000000', 'currentColor')
  return text.replace('<svg', f'<svg style="--least: {_INCH * figure.get_figwidth():.0f}px"', 1)


def _frequent_count(counts: Int[np.ndarray, ' B']) -> int:
  """The largest count that fills a figure, or else the largest of all."""
  frequent = np.flatnonzero(np.bincount(counts) >= figures.SHOWN)
  return int(frequent.max() if len(frequent) else counts.max())


def _headlines(run: Run) -> list[Headline]:
  summary, found = run.summary, run.evaluation
  rows = []
  if 'count_accuracy' in summary:
    low, high = summary['count_accuracy_interval']
    rows.append(('count accuracy', f'{summary["count_accuracy"]:.2%}', f'{low:.2%} to {high:.2%}'))
  rows.append(('ELBO, nats', *_mean(found.elbo, '.1f')))
  if 'box_iou' in summary:
    rows.append(('box IoU', *_mean(held_out.matched_ious(found, run.scenes), '.3f')))
  if 'ari_fg' in summary:
    indices = segmentation.foreground_indices(held_out.segment_tables(found, run.scenes))
    rows.append(('adjusted Rand index of objects', *_mean(indices, '.3f')))
  rows.append(('mean square error of a pixel', *_mean(found.squared_error, '.5f')))
  return rows


def _mean(values: Float[np.ndarray, ' M'], form: str) -> tuple[str, str]:
  """A mean and its 95 % interval."""
  mean = values.mean() if len(values) else 0.0
  spread = 1.96 * values.std() / max(len(values), 1) ** 0.5
  return f'{mean:{form}}', f'{mean - spread:{form}} to {mean + spread:{form}}'


def _confusion(summary: Mapping[str, Any]) -> list[tuple[int, float | None, list]]:
  """Rows of (true count, accuracy, [(images, fraction of the row)])."""
  rows = []
  for count, row in enumerate(summary.get('confusion', [])):
    total = sum(row)
    cells = [(n, n / total if total else 0.0) for n in row]
    rows.append((count, summary['accuracy_by_count'].get(str(count)), cells))
  return rows


def _comparison(runs: Sequence[Run]) -> dict[str, Any]:
  """Results of the runs, and the configuration keys in which they differ."""
  configs = [_config(run) for run in runs]
  keys = sorted(set().union(*configs))
  differing = [key for key in keys if len({str(config.get(key)) for config in configs}) > 1]
  return {
    'names': [run.name for run in runs],
    'rows': [(run.name, run.model.step, _headlines(run)) for run in runs],
    'labels': [name for name, *_ in _headlines(runs[0])],
    'differing': [(key, [config.get(key, '-') for config in configs]) for key in differing],
    'incomparable': [key for key in differing if key.startswith(_COMPARABLE)],
  }


def _config(run: Run) -> dict[str, Any]:
  return flatten(run_dir.load_config(_run_folder(run.folder)).to_dict())


def _run_folder(folder: pathlib.Path) -> pathlib.Path:
  """The folder of the run that a member's folder belongs to, or the folder itself."""
  return folder.parent.parent if folder.parent.name == 'members' else folder


def _columns(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
  """Rows of (dotted key, its value in each entry)."""
  flat = [flatten(entry) for entry in entries]
  keys = dict.fromkeys(key for entry in flat for key in entry)
  return [(key, [_shown(entry.get(key)) for entry in flat]) for key in keys]


def _shown(value: Any) -> str:
  if isinstance(value, list):  # a command
    return shlex.join(map(str, value))
  return '-' if value is None else str(value)
