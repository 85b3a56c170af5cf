"""What each --mode does, in a table. Imports that take seconds wait until a mode needs them."""

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from absl.flags import FlagValues

from air_jax.cli import hints, output, run_flags
from air_jax.errors import UserError
from air_jax.runtime import extras


class Mode(NamedTuple):
  """A mode of the program."""

  run: Callable[[FlagValues], None]
  help: str
  flags: tuple[str, ...] = ()  # that go with it and not with all modes


def train(flags: FlagValues) -> None:
  """Trains the run in --workdir, or continues it."""
  processes = run_flags.processes(flags)
  from air_jax import api
  from air_jax.config import schema
  from air_jax.evaluation import tables
  from air_jax.runtime import compilation_cache, cpu_devices, distributed

  members = schema.parse(flags.config).train.population
  compilation_cache.enable()
  if members > 1 and not (flags.distributed or flags.coordinator):
    cpu_devices.set_cpu_device_count(members)
  with processes:
    if distributed.is_primary():
      hints.say('preparing the data and compiling the training step; the first time takes a minute')
    print(tables.table(api.train(flags.config, flags.workdir)))
    print(f'\n{hints.after_training(flags)}')


def evaluate(flags: FlagValues) -> None:
  """Evaluates a run on held-out images; a population, every member."""
  changes = run_flags.changes(flags)
  from air_jax.cli.evaluate import evaluate_run
  from air_jax.evaluation import tables
  from air_jax.runtime import compilation_cache

  compilation_cache.enable()
  if flags.images:
    summary, folder = _evaluate_images(flags, changes), None
  else:
    summary, folder = evaluate_run(flags.workdir, flags.particles, flags.member, changes)
    print(tables.table(summary))
  kept = f'{folder}/evaluation.json' if folder else ''
  if flags.out:
    text = json.dumps(summary, indent=2) + '\n'
    output.write_new(output.path(flags.out), text.encode())
    kept = f'{kept} and {flags.out}' if kept else flags.out
  if kept:
    print(f'\nalso in {kept}; pictures: {hints.command(flags, "--mode=figures")}')


def _evaluate_images(flags: FlagValues, changes: dict[str, Any]) -> dict[str, Any]:
  """Compares what is found in images with the truth beside them; prints and returns a summary."""
  from air_jax.evaluation import tables

  with extras.needed('plots', '--mode=evaluate --images'):
    from air_jax.inference import evaluate_files

  if flags.particles:
    raise UserError('--particles evaluates held-out images of the run; drop it or --images')
  model = run_flags.model(flags, changes)
  compare = bool(model.config.data.object_pixels) and extras.installed('skimage')
  table = changes.get('data.counts_csv', '')
  summary = evaluate_files.evaluate(model, flags.images, table, compare)
  print(tables.of_pictures(summary))
  if compare:
    for name in ('otsu', 'local'):
      print(f'\nby a threshold ({name}) and a watershed, without a model:')
      print(tables.of_pictures(summary[name]))
  return summary


def figures(flags: FlagValues) -> None:
  """Draws a run, or the scenes of a configuration that has none."""
  from air_jax.data import loading
  from air_jax.runtime import compilation_cache

  with extras.needed('plots', '--mode=figures'):
    from air_jax.inference import run_figures

  compilation_cache.enable()
  if run_flags.is_untrained(flags):
    from air_jax.config import schema

    scenes = loading.load(schema.parse(flags.config).data, 'test')
    paths = run_figures.draw_scenes(scenes, output.folder(flags.out, output.path(flags.workdir)))
  else:
    from air_jax.evaluation import held_out
    from air_jax.inference import restore
    from air_jax.storage import metric_writers

    run = restore.restore(flags.workdir)
    index = run.chosen(flags.member)
    model, folder = run.model(index), run.member_dir(index)
    target = output.folder(flags.out, folder)
    scenes = loading.load(model.config.data, 'test')
    evaluation, _ = held_out.evaluate(
      model.model, model.params, scenes, model.config.seed, model.step
    )
    records = metric_writers.read_metrics(folder)
    paths = run_figures.draw_run(model, scenes, evaluation, records, target)
    paths += run_figures.draw_animations(model, scenes, folder, target)
  print('\n'.join(map(str, paths)))


def variance(flags: FlagValues) -> None:
  """Measures the noise of each objective's gradient."""
  from air_jax.data import loading
  from air_jax.runtime import compilation_cache, files
  from air_jax.training import gradient_variance, train_step

  with extras.needed('plots', '--mode=variance'):
    from air_jax.inference import run_figures

  compilation_cache.enable()
  if run_flags.is_untrained(flags):
    from air_jax.config import schema

    config, folder = schema.parse(flags.config), output.path(flags.workdir)
    learner = train_step.build(config)
    state = train_step.init(learner)
  else:
    config, learner, state, folder = run_flags.trained(flags)
  if flags.out:
    folder = output.folder(flags.out, folder)
  which = ', '.join(flags.objectives or ['every objective'])
  hints.say(
    f'sampling {flags.draws} gradients of {which}; each is compiled first, some seconds each'
  )
  scenes = loading.load(config.data, 'test')
  summary = gradient_variance.measure(learner, state, scenes, flags.draws, flags.objectives)
  print(gradient_variance.table(summary))
  with output.kept_in(folder):
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / 'variance.json', summary)
    run_figures.draw_variance(summary, folder)
    print(f'\nas JSON: {folder}/variance.json; drawn: {folder}/figures/variance.png')


def parse(flags: FlagValues) -> None:
  """Finds the objects of images."""
  changes = run_flags.changes(flags)
  if not flags.images:
    raise UserError('--mode=parse needs --images=FOLDER, or a pattern such as "photos/*.png"')
  with extras.needed('plots', '--mode=parse'):
    from air_jax.inference import parse_files

  out = flags.out or f'{flags.workdir}/parsed'
  model = run_flags.model(flags, changes, compares=True)
  print(parse_files.run(model, flags.images, out, flags.annotate))


def export(flags: FlagValues) -> None:
  """Writes the parser as one file that needs JAX alone."""
  run_flags.refuse_config(flags)
  model = run_flags.model(flags)
  path = output.path(flags.out or f'{flags.workdir}/parser.jax')
  with extras.needed('export', '--mode=export'):
    exported = model.export()
  output.write_new(path, exported)
  size = model.config.data.canvas_size
  print(f'{path} parses [b, {size}, ...] uint8 images; see the README')


def report(flags: FlagValues) -> None:
  """Writes one HTML page about a run."""
  run_flags.refuse_config(flags)
  from air_jax.runtime import compilation_cache

  with extras.needed('report', '--mode=report'):
    from air_jax.inference.report import page

  compilation_cache.enable()
  hints.say('evaluating the run and drawing the report, which takes about a minute')

  def gradient_norms(images):
    from air_jax.training import gradient_norms

    _, learner, state, _ = run_flags.trained(flags)
    return gradient_norms.by_part(learner, state, images)

  print(page.write(flags.workdir, flags.member, flags.compare, flags.out, gradient_norms))


def demo(flags: FlagValues) -> None:
  """Serves a page to draw on: of the run in --workdir, or of a small model that is trained once."""
  run_flags.refuse_config(flags)
  with extras.needed('demo', '--mode=demo'):
    from air_jax.inference.demo import server
  from air_jax.inference import restore
  from air_jax.runtime import compilation_cache
  from air_jax.storage import run_dir

  compilation_cache.enable()
  with server.listen(flags.host, flags.port) as listening:
    if flags['workdir'].present or run_dir.exists(flags.workdir):
      model = restore.load_with_reference(flags.workdir, flags.member)
    else:
      from air_jax.cli import demo_model
      from air_jax.configs import demo as configuration

      model = demo_model.load_or_train(configuration.get_config())
    server.serve(model, listening, flags.host)


def check(flags: FlagValues) -> None:
  """Checks the files of a run, and mends what can be."""
  run_flags.refuse_config(flags)
  from air_jax.cli import check as checks
  from air_jax.runtime import compilation_cache
  from air_jax.storage.run_check import DAMAGED, SOUND

  compilation_cache.enable()  # an evaluation may be made anew
  found = checks.check_run(flags.workdir)
  print('\n'.join(checks.lines(found)))
  states = {each.state for each in found}
  if DAMAGED in states:
    raise UserError(f'{flags.workdir} has damaged files that could not be mended')
  if states != {SOUND}:
    sys.exit(1)


MODES = {
  'train': Mode(
    train,
    'Trains the run in --workdir or continues it. The default.',
    ('distributed', 'coordinator', 'processes', 'process'),
  ),
  'evaluate': Mode(
    evaluate,
    'Held-out metrics of a run, as a table and as JSON; of other scenes than its own by '
    '--config.data.KEY, of your own images with label images or counts by --images.',
    ('particles', 'member', 'out', 'images'),
  ),
  'figures': Mode(
    figures,
    'Pictures of a run as PNG and GIF; without a run, the scenes of --config.',
    ('out', 'member'),
  ),
  'variance': Mode(
    variance,
    'How noisy the gradient of each objective is, of a run or of the untrained model of --config.',
    ('draws', 'objectives', 'out', 'member'),
  ),
  'parse': Mode(
    parse,
    'The objects of your images, as JSON and drawn.',
    ('images', 'out', 'annotate', 'member'),
  ),
  'export': Mode(export, 'The parser as one file that needs JAX alone.', ('out', 'member')),
  'report': Mode(
    report,
    'One HTML page: metrics, pictures and configuration.',
    ('compare', 'out', 'member'),
  ),
  'demo': Mode(demo, 'A page in the browser to draw on.', ('host', 'port', 'member')),
  'check': Mode(
    check,
    'Says which files of a run are damaged, and mends what can be. Exit status 0 if all are sound, '
    '1 if some were mended, 2 if some are damaged.',
  ),
}
