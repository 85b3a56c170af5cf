"""The report: one HTML file that needs no network, for screens light and dark, phones and paper."""

import io
import os
import pathlib
import platform
from importlib import metadata
from typing import NamedTuple

import jax
import jinja2
import matplotlib
import numpy as np

from air_jax.config import schema as config_lib
from air_jax.data import loading
from air_jax.errors import UserError
from air_jax.evaluation import held_out
from air_jax.inference import predictor
from air_jax.inference.report import figures as own_figures
from air_jax.storage import metric_writers, run_dir
from air_jax.types import LabelledScenes
from air_jax.viz import figures, plots

_LIBRARIES = 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'scikit-learn'
_STYLE = {  # figures take the page's colour of text, see `_svg`
  'svg.fonttype': 'none',
  'svg.hashsalt': 'air_jax',
  'legend.framealpha': 0.0,
}
_SHOWN = 10  # scenes in a sheet
_COMPARABLE = 'data', 'model.likelihood_std', 'objective.prior_end'  # or bounds do not compare


class Run(NamedTuple):
  """A run that was brought back and evaluated."""

  name: str
  folder: pathlib.Path
  learner: object  # `Learner`
  state: object  # `TrainState`
  scenes: LabelledScenes  # held out
  evaluation: held_out.Evaluation
  summary: dict  # of `evaluate.held_out`


class Figure(NamedTuple):
  """A figure of the page."""

  title: str
  caption: str  # says what to look for
  svg: str


def write(workdir, member, compared, out):
  """Writes the report of a run.

  Args:
    workdir: its folder.
    member: which of a population; None is the best.
    compared: folders of runs to set beside it.
    out: the file; None is `report.html` in the run's folder, where it replaces an earlier one.

  Returns:
    the file as a `pathlib.Path`.

  Raises:
    UserError: a folder holds no run, or no checkpoint that can be read; the file exists already, or
      cannot be written.
  """
  path = pathlib.Path(os.path.expanduser(out or f'{workdir}/report.html'))
  if out and path.exists():
    raise UserError(f'{path} exists already; --out=FILE must name a new one')
  run = _bring_back(workdir, member)
  others = [_bring_back(other, None) for other in compared]
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader('air_jax.inference.report', '.'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  with matplotlib.rc_context(_STYLE):
    text = environment.get_template('page.html').render(
      run=run,
      numbers=_numbers(run),
      confusion=_confusion(run.summary),
      comparison=_comparison([run, *others]) if others else None,
      sections=_sections(run),
      config=_config(run),
      versions=_versions(),
    )
  try:
    path.write_text(text)
  except OSError as error:
    raise UserError(f'cannot write {path}: {error.strerror}; --out=FILE names another') from error
  return path


def _bring_back(workdir, member):
  learning, state, folder = run_dir.restore(workdir, member)
  scenes = loading.load(learning.config.data, 'test')
  evaluation, summary = held_out.held_out(learning, state, scenes)
  name = str(folder.relative_to(folder.parents[2 if folder.parent.name == 'members' else 0]))
  return Run(name, folder, learning, state, scenes, evaluation, summary)


def _numbers(run):
  """(name, value, interval or remark) of the headline."""
  summary, found = run.summary, run.evaluation
  rows = []
  if 'count_accuracy' in summary:
    low, high = summary['count_accuracy_interval']
    rows.append(
      ('images counted right', f'{summary["count_accuracy"]:.2%}', f'{low:.2%} to {high:.2%}')
    )
  rows.append(('ELBO, nats', *_mean(found.elbo, '.1f')))
  if 'box_iou' in summary:
    rows.append(('box IoU', *_mean(held_out.matched_ious(found, run.scenes), '.3f')))
  rows.append(('error of a pixel, mean square', *_mean(found.squared_error, '.5f')))
  return rows


def _mean(values, form):
  """A mean and its 95 % interval."""
  mean = values.mean() if len(values) else 0.0
  spread = 1.96 * values.std() / max(len(values), 1) ** 0.5
  return f'{mean:{form}}', f'{mean - spread:{form}} to {mean + spread:{form}}'


def _confusion(summary):
  """Rows of (true count, accuracy, [(images, share of the row)])."""
  rows = []
  for count, row in enumerate(summary.get('confusion', [])):
    total = sum(row)
    cells = [(n, n / total if total else 0.0) for n in row]
    rows.append((count, summary['accuracy_by_count'].get(str(count)), cells))
  return rows


def _sections(run):
  """The figures by the heading they stand under."""
  learning, state, scenes, found = run.learner, run.state, run.scenes, run.evaluation
  typical = figures.each_count_in_turn(scenes.counts)[:_SHOWN]
  by_bound = np.argsort(found.elbo)
  wrong = np.flatnonzero((scenes.counts >= 0) & (found.counts != scenes.counts))
  often = np.flatnonzero(np.bincount(found.counts) >= _SHOWN)
  most = often.max() if len(often) else found.counts.max()
  sections = {
    'How it learned': [
      Figure(
        'Count accuracy and ELBO',
        'Held-out points should follow the training curve; where they fall behind, the model has '
        'learned its training scenes by heart. A flat accuracy at the share of one count means '
        'that it always finds as many.',
        _svg(plots.training(metric_writers.read(run.folder))),
      ),
      Figure(
        'Gradient norms by part',
        'One batch at this checkpoint. A part whose gradient is orders of magnitude below the '
        'others no longer learns; one far above them is what makes training unstable.',
        _svg(own_figures.gradient_norms(learning, state, scenes.images)),
      ),
    ],
    'What it sees': [
      Figure(
        'Explanations, step by step',
        'Each column is a scene. Every window should hold one object, the canvas gain one object '
        'a step, and the probability drop once nothing is left to find.',
        _sheet(run, typical),
      ),
      Figure(
        'Best explained',
        f'The highest ELBO among scenes where {most} objects were found: what the '
        'model finds easy, often plain strokes far apart.',
        _sheet(run, by_bound[found.counts[by_bound] == most][::-1][:_SHOWN]),
      ),
      Figure(
        'Worst explained',
        'The lowest ELBO of all: look for strokes that are missing from the canvas, and for two '
        'objects in one window.',
        _sheet(run, by_bound[:_SHOWN]),
      ),
      *(
        [
          Figure(
            'Miscounted',
            f'The first of {len(wrong):,} scenes counted wrong. Would you have counted them right?',
            _sheet(run, wrong[:_SHOWN]),
          )
        ]
        if len(wrong)
        else []
      ),
      Figure(
        'Where each step looks',
        'The share of windows that cover a pixel. An even spread says that order is by chance or '
        'by what is seen; a side or a corner, that the model has learned an order of reading.',
        _svg(figures.attention(found.windows, found.counts, scenes.images.shape[1])),
      ),
    ],
    'What it knows': _knowledge(run),
  }
  return sections


def _knowledge(run):
  model = predictor.Model(run.learner, run.state)
  codes, labels = own_figures.codes_of(model, run.scenes)
  dreams = model.generate(figures.NUMBER_OF_SAMPLES, jax.random.key(run.learner.config.seed))
  shown = [
    Figure(
      'LabelledScenes from the prior',
      'The model dreams. Objects should look like those it was shown; blots mean that codes '
      'drawn from the prior are unlike those of real objects.',
      _svg(figures.samples(dreams.canvases)),
    )
  ]
  if len(codes) >= own_figures.FEWEST_CODES:
    shown += [
      Figure(
        'The space of codes',
        f'z_what of {len(codes):,} objects, brought to two dimensions by t-SNE. Clusters of one '
        'colour mean that the model tells these classes apart, although nobody told it of them.',
        _svg(own_figures.latent_space(codes, labels)),
      ),
      Figure(
        'A walk through the codes',
        'One object in the middle column, changed along the directions in which codes vary most, '
        'two and a half deviations each way. A row should change smoothly, and mean something: '
        'slant, weight, a loop that opens.',
        _svg(own_figures.traversal(model, codes)),
      ),
    ]
  return shown


def _comparison(compared):
  """What the runs reached, and in which keys of the configuration they differ."""
  flat = [_config(run) for run in compared]
  keys = sorted(set().union(*flat))
  differing = [key for key in keys if len({str(config.get(key)) for config in flat}) > 1]
  curves = {run.name: metric_writers.read(run.folder) for run in compared}
  return {
    'names': [run.name for run in compared],
    'rows': [(run.name, int(run.state.step), _numbers(run)) for run in compared],
    'labels': [name for name, *_ in _numbers(compared[0])],
    'differing': [(key, [config.get(key, '-') for config in flat]) for key in differing],
    'incomparable': [key for key in differing if key.startswith(_COMPARABLE)],
    'figure': Figure(
      'Held-out accuracy and ELBO',
      'Whether one run is ahead all the way or merely sooner, and whether any has stopped rising.',
      _svg(plots.population(list(curves.values()), 'run', list(curves))),
    ),
  }


def _config(run):
  return config_lib.flatten(run_dir.load_config(_home(run.folder)).to_dict())


def _home(folder):
  return folder.parent.parent if folder.parent.name == 'members' else folder


def _versions():
  device = jax.devices()[0]
  found = {name: metadata.version(name) for name in _LIBRARIES}
  return {'Python': platform.python_version()} | found | {'device': device.device_kind}


def _sheet(run, chosen):
  return _svg(figures.explained(run.learner, run.state, run.scenes, chosen))


def _svg(figure):
  """A figure as SVG in the colours of the page: black becomes whatever its text has."""
  file = io.StringIO()
  figure.savefig(file, format='svg', transparent=True, dpi=110, metadata={'Date': None})
  text = file.getvalue()
  return text[text.index('<svg') :].replace('#000000', 'currentColor')
