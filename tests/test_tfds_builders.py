"""Data sets as TFDS builders: what is in them, built again, broken off, and streamed."""

import dataclasses
import multiprocessing
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import samples
import tensorflow_datasets as tfds
from absl.testing import flagsaver

from air_jax.cli import build_dataset, command_line
from air_jax.data import batches, composition, loading, streams, tfds_builders
from air_jax.errors import UserError

pytestmark = [
  pytest.mark.slow,
  pytest.mark.filterwarnings('ignore::ResourceWarning'),  # of TFDS's temporary folders
]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """Coloured sprites: they need no files."""
  return samples.data_config(
    source='sprites',
    colour=True,
    canvas_size=40,
    train_scenes=700,
    test_scenes=20,
    reading='stream',
    cache_dir=str(tmp_path_factory.mktemp('cache')),
  )


@pytest.fixture(scope='module')
def built(data):
  builder = tfds_builders.for_config(data)
  tfds_builders.prepare(builder)
  return builder


def files_of(builder):
  return {
    path.name: path.read_bytes() for path in builder.data_path.iterdir() if 'record' in path.name
  }


@pytest.mark.parametrize('block', [0, 16])
def test_records_are_the_scenes_in_their_order(data, built, tmp_path, block):
  if not block:
    built = tfds_builders.make(
      tfds_builders.Sprites, tfds_builders.SceneConfig(name='each', data=data), tmp_path
    )
    tfds_builders.prepare(built)
  for split, size in (('train', data.train_scenes), ('test', data.test_scenes)):
    source = built.as_data_source(split)
    records = np.arange(size) if not block else np.arange(-(-size // block) * block) % size
    assert len(source) == len(records) // max(block, 1)
    composed = samples.compose(data, None, size, split)
    for i in (0, 1, len(source) - 1):
      chosen = records.reshape(len(source), -1)[i] if block else i
      names = ('image', 'count', 'boxes', 'labels', 'scales', 'rotations', 'segments', 'places')
      expected = {name: field[chosen] for name, field in zip(names, composed, strict=True)}
      if block:
        del expected['segments'], expected['places']  # which training does not need
      record = source[i]
      assert record.keys() == expected.keys()
      for name, value in expected.items():
        np.testing.assert_array_equal(record[name], value)


def test_building_again_gives_the_same_bytes(data, built, tmp_path):
  again = tfds_builders.for_config(dataclasses.replace(data, cache_dir=str(tmp_path)))
  tfds_builders.prepare(again)
  assert files_of(again) == files_of(built)
  assert len(files_of(again)) == 2


def test_another_recipe_is_another_data_set(data, built):
  for change in ({'seed': 1}, {'train_scenes': 701}, {'max_scale': 1.5}, {'background': 'grey'}):
    other = tfds_builders.for_config(dataclasses.replace(data, **change))
    assert other.data_path != built.data_path and not other.is_prepared()
  assert tfds_builders.for_config(dataclasses.replace(data, workers=7)).data_path == built.data_path


def test_a_build_broken_off_is_never_read_and_made_good(data, tmp_path, monkeypatch):
  data = dataclasses.replace(data, cache_dir=str(tmp_path))
  whole = composition.compose

  def breaks_off(*args):
    yield next(whole(*args))
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(composition, 'compose', breaks_off)
  with pytest.raises(UserError, match=r'sprites/.* cannot be built in .*No space left on device'):
    tfds_builders.prepare(tfds_builders.for_config(data))
  assert not tfds_builders.for_config(data).is_prepared()
  monkeypatch.setattr(composition, 'compose', whole)
  builder = tfds_builders.for_config(data)
  left = builder.data_path.parent / f'incomplete.KILLED_{builder.data_path.name}'  # by kill -9
  left.mkdir(parents=True)
  os.utime(left, (0, 0))
  tfds_builders.prepare(builder)
  assert len(builder.as_data_source('train')) == 44  # blocks
  assert [path.name for path in builder.data_path.parent.iterdir()] == [builder.data_path.name]


def test_tfds_finds_every_builder_with_its_licence_and_citation():
  for source, cls in tfds_builders.BUILDERS.items():
    for config in cls.BUILDER_CONFIGS:
      found = tfds.builder(f'{cls.name}/{config.name}', file_format='array_record')
      assert found.builder_config.data.source == source
      assert found.info.citation and cls.__doc__ in found.info.description
      assert found.info.as_proto.redistribution_info.license == cls.license
  names = {cls.name for cls in tfds_builders.BUILDERS.values()}
  assert names == {
    'multi_digits', 'multi_pen_digits', 'multi_mnist', 'multi_omniglot', 'multi_tetrominoes',
    'sprites', 'multi_dsprites', 'table_primitives',
  }  # fmt: skip


@pytest.mark.parametrize('workers', [0, 2])
def test_a_stream_gives_the_batches_that_memory_gives(data, built, workers):
  resident = loading.batch_source(dataclasses.replace(data, reading='resident'), 16)
  stream = streams.stream(built, 16, workers)
  # On from where it was; elsewhere, as after an interruption; a whole chunk at once.
  for start, steps in ((0, 2), (2, 3), (40, 1), (41, 5)):
    images, counts = stream.sample_indices(3, start, steps)
    drawn = resident.sample_indices(3, start, steps)
    for step in range(steps):
      expected = resident.gather(resident.arrays, drawn[step])
      ours = stream.gather(stream.arrays, (images[step], counts[step]))
      for a, b in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(a, b)
  assert len(multiprocessing.active_children()) >= workers
  stream.close()


def test_a_large_set_is_several_files_that_read_as_one(data, built, tmp_path, monkeypatch):
  monkeypatch.setattr(tfds_builders, '_FILE_BYTES', 100_000)
  several = tfds_builders.for_config(dataclasses.replace(data, cache_dir=str(tmp_path)))
  tfds_builders.prepare(several)
  assert len(files_of(several)) > 10 and len(files_of(built)) == 2
  ours, theirs = (streams.stream(builder, 16, 0) for builder in (several, built))
  for a, b in zip(ours.sample_indices(3, 0, 5), theirs.sample_indices(3, 0, 5), strict=True):
    np.testing.assert_array_equal(a, b)
  ours.close()
  theirs.close()


def test_processes_read_shards_of_every_batch(built):
  parts = []
  for shard in (slice(0, 5), slice(5, 10), slice(10, 16)):
    stream = streams.stream(built, 16, 0, shard)
    parts.append(stream.sample_indices(3, 5, 1)[0][0])
    stream.close()
  whole = streams.stream(built, 16, 0)
  np.testing.assert_array_equal(np.concatenate(parts), whole.sample_indices(3, 5, 1)[0][0])
  whole.close()


def test_auto_streams_what_exceeds_the_budget(data, built):
  def reads(**changes):
    with_changes = dataclasses.replace(data, **changes)
    source = loading.batch_source(with_changes, 4)
    source.close()
    return 'resident' if source.gather is batches.resident(*_two_scenes()).gather else 'stream'

  gigabytes = 700 * 40 * 40 * 3 / 1e9
  assert reads(reading='auto', resident_gb=1.01 * gigabytes) == 'resident'
  assert reads(reading='auto', resident_gb=0.99 * gigabytes) == 'stream'
  assert reads(reading='stream', resident_gb=9.0) == 'stream'
  assert reads(reading='resident', resident_gb=0.0) == 'resident'


def _two_scenes():
  return samples.compose(samples.data_config(source='sprites', canvas_size=40), None, 2), 1


def test_the_program_builds(tmp_path):
  """The one start of the program; its functions are called directly below."""
  command = [sys.executable, '-m', 'air_jax.cli.build_dataset', 'sprites/grey']
  sizes = [f'--data_dir={tmp_path}', '--train_scenes=8', '--test_scenes=4']
  done = subprocess.run([*command, *sizes], capture_output=True, text=True)
  assert '4 test' in done.stdout and '8 train' in done.stdout and str(tmp_path) in done.stdout
  assert (tmp_path / 'sprites' / 'grey_test_scenes_4_train_scenes_8').is_dir()


def test_what_can_be_built_is_listed():
  lines = build_dataset.list_data_sets().splitlines()
  assert len(lines) == 21
  for name in ('multi_mnist/touching', 'sprites/colour'):
    assert any(line.startswith(f'{name} ') for line in lines)


def test_glyphs_come_from_the_folder_given_and_names_do_not_tell_it(tmp_path):
  images, _ = samples.write_idx(tmp_path)['train']
  built = build_dataset.build(
    'multi_mnist',
    str(tmp_path),
    {'mnist_dir': str(tmp_path)},
    {'train_scenes': 8, 'test_scenes': 4},
  )
  assert built.startswith('multi_mnist/disjoint_test_scenes_4_train_scenes_8/')
  with pytest.raises(UserError, match=r"data\.mnist_dir='/nowhere' is not a folder"):
    build_dataset.build('multi_mnist', str(tmp_path), {'mnist_dir': '/nowhere'}, {'seed': 1})


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['multi_minst'], r"unknown data set 'multi_minst'; known are multi_digits/disjoint, "),
    (['sprites', 'multi_mnist'], 'one data set at a time'),
    (['sprites', '--train_scenes=abc'], r'--train_scenes=abc'),
    (['sprites', '--train_scenes=0'], r'train_scenes=0 .* at least 1'),
  ],
)
def test_the_program_refuses_in_one_line(arguments, message, capsys):
  with pytest.raises(SystemExit) as raised, flagsaver.flagsaver():
    build_dataset.main(command_line.parse_flags(['build_dataset', *arguments]))
  printed = capsys.readouterr()
  assert raised.value.code == UserError.exit_code and not printed.out
  (line,) = printed.err.splitlines()
  assert re.search(message, line)
