"""What the machine cannot hold is refused in words before anything is built."""

import time

import pytest
import samples

from air_jax.config import schema
from air_jax.data import loading
from air_jax.data import memory as scenes_memory
from air_jax.errors import UserError
from air_jax.runtime import memory as machine
from air_jax.training import loop, memory, population, train_step


def test_memory_that_training_needs_is_about_what_xla_says(run_config, monkeypatch):
  run_config.train.update(population=2, steps=5, eval_every=5)
  parsed = schema.parse(run_config)
  members = population.build(parsed)
  source = loading.batch_source(parsed.data, parsed.train.batch_size)
  states = population.shapes(members)
  compiled = population.compiled(train_step.train_step, members, source, states, 5)
  xla = compiled.memory_analysis()
  used = xla.temp_size_in_bytes + xla.argument_size_in_bytes
  need = memory.needed_bytes(members, source)
  assert 0.5 < need / used < 2
  assert need < memory._bytes_at_most(members, source)
  memory.check(members, source)
  monkeypatch.setattr(machine, 'of_devices', lambda: int(0.6 * need))
  with pytest.raises(UserError, match=r'population=2 needs about .* GB .* about 1 members fit'):
    memory.check(members, source)


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('data__canvas_size', 10**7),
    ('data__test_scenes', 10**9),
    ('data__train_scenes', 10**9),
    ('data__max_objects', 60_000),
    ('data__max_scale', 1e5),
    ('model__max_steps', 10**9),
    ('model__code_size', 2 * 10**9),
    ('model__encoder_sizes', (2 * 10**9, 2 * 10**9)),
    ('train__population', 10**6),
  ],
)
def test_impossible_sizes_are_refused_at_once(run_config, tmp_path, key, value):
  run_config.data.reading = 'resident'
  config = samples.override(run_config, **{key: value})
  started = time.monotonic()
  with pytest.raises(UserError, match=r' needs about [\d,.]+ GB of memory, and there are \d'):
    loop.train(config, tmp_path / 'run')
  assert time.monotonic() - started < 10  # they took minutes, or memory until the process ended
  assert not (tmp_path / 'run').exists()


def test_a_data_set_that_the_disk_cannot_hold_is_refused(tiny_config, tmp_path):
  tiny_config.data.update(cache_dir=str(tmp_path), train_scenes=2 * 10**9, reading='stream')
  with pytest.raises(UserError, match=r'need at least [\d,.]+ GB on disk, and .* has [\d,.]+ GB'):
    loading.batch_source(schema.parse(tiny_config).data, 4)
  assert not list(tmp_path.iterdir())


def test_bytes_of_a_scene_are_those_of_its_arrays(tiny_config):
  data = schema.parse(tiny_config).data
  for split in ('train', 'test'):
    scenes = loading.load(data, split)
    used = sum(field.nbytes for field in scenes) - scenes.counts.nbytes
    assert used == len(scenes.counts) * scenes_memory.scene_bytes(data, split)


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
  limit, unlimited = tmp_path / 'memory.max', tmp_path / 'other'
  limit.write_text('1000000\n')
  unlimited.write_text('max\n')
  monkeypatch.setattr(machine, '_LIMITS', (unlimited, tmp_path / 'none', limit))
  assert machine.of_machine() == 10**6
  monkeypatch.setattr(machine, '_LIMITS', (unlimited, tmp_path / 'none'))
  assert machine.of_machine() > 10**8
