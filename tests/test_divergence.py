"""Trainings with numbers that become infinite or NaN: they end, and nothing of that is kept."""

import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import run_folder
from run_folder import after_chunk, train

from air_jax.data import loading
from air_jax.errors import DivergenceError
from air_jax.training import train_step


def test_divergence_names_step_and_term_and_spoils_nothing(
  run_config, finished_run, tmp_path, monkeypatch
):
  def spoil(state, reports):
    reports['kl'] = reports['kl'].at[3:].set(jnp.inf)
    reports['elbo'] = reports['elbo'].at[2:].set(jnp.nan)
    return jax.tree.map(lambda x: x * jnp.nan if x.dtype == jnp.float32 else x, state), reports

  with monkeypatch.context() as patch:
    after_chunk(patch, 2, spoil)
    with pytest.raises(DivergenceError, match='at step 8 these are not finite: elbo;'):
      train(run_config, tmp_path)
  assert run_folder.checkpoints_of(tmp_path) == [5]
  assert [line['step'] for line in run_folder.lines_of(tmp_path)] == [5]
  train(run_config, tmp_path)
  run_folder.assert_same_end(tmp_path, finished_run)


def test_update_that_leaves_the_finite_is_not_kept(run_config, tmp_path):
  """Here the first update makes the baseline infinite, although the step's loss is still finite."""
  run_config.objective.name = 'nvil'
  run_config.train.update(learning_rate=1e30, baseline_learning_rate=1e10)
  run_config.train.update(log_every=1, checkpoint_every=1, eval_every=1000)
  says = r'at step 1 these are not finite: .*parameters of baseline'
  with pytest.raises(DivergenceError, match=says):
    train(run_config, tmp_path)
  assert run_folder.checkpoints_of(tmp_path) == []


def spoil_gradients(monkeypatch, spoilt):
  """Makes the losses and gradients of the steps for which `spoilt(step)` is true not finite."""
  gradient = train_step.gradient

  def spoiling(learner, params, step, images, key, estimator):
    factor = jnp.where(spoilt(step), jnp.nan, 1.0)
    grads, (report, estimator) = gradient(learner, params, step, images, key, estimator)
    report |= {'loss': factor * report['loss']}
    return jax.tree.map(lambda x: factor * x, grads), (report, estimator)

  monkeypatch.setattr(train_step, 'gradient', spoiling)
  step = train_step.train_step  # under another identity, so that it is compiled anew
  monkeypatch.setattr(train_step, 'train_step', lambda *args: step(*args))


def test_update_may_be_left_out_where_its_gradient_is_not_finite(
  run_config, tmp_path, monkeypatch, capsys
):
  run_config.train.skip_not_finite = 1
  spoil_gradients(monkeypatch, lambda step: step % 4 == 3)
  train(run_config, tmp_path)
  lines = run_folder.lines_of(tmp_path, 'train')
  assert [line['skipped'] for line in lines] == [1, 1, 1, 2]
  assert np.isfinite([line['loss'] for line in lines]).all()
  assert 'steps 16 to 20: 2 updates left out, gradient not finite' in capsys.readouterr().out


def test_no_more_updates_in_a_row_are_left_out_than_allowed(run_config, tmp_path, monkeypatch):
  run_config.train.skip_not_finite = 2
  spoil_gradients(monkeypatch, lambda step: step >= 5)
  with pytest.raises(DivergenceError, match='at step 8 these are not finite: grad_norm, loss'):
    train(run_config, tmp_path)
  assert run_folder.checkpoints_of(tmp_path) == [5]


def test_nothing_but_updates_left_out_is_divergence(run_config, tmp_path, monkeypatch):
  run_config.train.skip_not_finite = 100
  spoil_gradients(monkeypatch, lambda step: step >= 5)
  with pytest.raises(DivergenceError, match='at step 6 these are not finite: every gradient since'):
    train(run_config, tmp_path)
  assert run_folder.checkpoints_of(tmp_path) == [5]


def test_stop_does_not_keep_a_state_that_is_not_finite(run_config, tmp_path, monkeypatch):
  run_config.train.checkpoint_every = run_config.train.eval_every = 1000

  def spoil(state, reports):
    signal.raise_signal(signal.SIGTERM)
    cell = jax.tree.map(lambda x: x.at[-1:].set(jnp.nan), state.params['cell'])
    return state._replace(params=state.params | {'cell': cell}), reports

  make_source, closed = loading.batch_source, []
  closing = {'close': lambda: closed.append(True)}
  monkeypatch.setattr(loading, 'batch_source', lambda *args: make_source(*args)._replace(**closing))
  after_chunk(monkeypatch, 2, spoil)
  says = r'at step 10 these are not finite: parameters of cell;'
  with pytest.raises(DivergenceError, match=says):
    train(run_config, tmp_path)
  assert run_folder.checkpoints_of(tmp_path) == []
  assert [line['step'] for line in run_folder.lines_of(tmp_path)] == [5, 10]
  assert closed == [True]
