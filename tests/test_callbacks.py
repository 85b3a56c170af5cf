"""Callbacks: the base class ignores every event, a list passes each on, a run reports in order."""

import inspect

import pytest

from air_jax.callbacks import Callback, CallbackList
from air_jax.training import loop

EVENTS = [name for name in vars(Callback) if name.startswith('on_')]


def arguments_of(name):
  """Something to call an event with."""
  return [object() for _ in list(inspect.signature(getattr(Callback, name)).parameters)[1:]]


class Recorder(Callback):
  """Appends (own name, event, its arguments) to a list."""

  def __init__(self, heard, name=''):
    self._heard, self._name = heard, name

  def __getattribute__(self, name):
    if not name.startswith('on_'):
      return super().__getattribute__(name)
    return lambda *given: self._heard.append((self._name, name, given))


@pytest.mark.parametrize('name', EVENTS)
def test_the_base_class_ignores_an_event_and_a_list_passes_it_on_in_order(name):
  given, heard = arguments_of(name), []
  assert getattr(Callback(), name)(*given) is None
  both = CallbackList([Recorder(heard, 'a'), Callback(), CallbackList([Recorder(heard, 'b')])])
  if name == 'on_end':
    both.on_start(*arguments_of('on_start'))
    heard.clear()
  assert getattr(both, name)(*given) is None
  assert heard == [('a', name, tuple(given)), ('b', name, tuple(given))]


def test_only_those_that_have_started_are_ended():
  class Failing(Callback):
    def on_start(self, step, config):
      raise OSError('no space')

    def on_end(self, summary):
      raise AssertionError('it has not started')

  heard = []
  several = CallbackList([Recorder(heard, 'a'), Failing(), Recorder(heard, 'c')])
  with pytest.raises(OSError, match='no space'):
    several.on_start(0, None)
  several.on_end(None)
  assert [(name, event) for name, event, _ in heard] == [('a', 'on_start'), ('a', 'on_end')]


def test_a_list_of_none_does_nothing_and_later_changes_do_not_matter():
  callbacks, heard = [], []
  several = CallbackList(callbacks)
  callbacks.append(Recorder(heard))
  several.on_message('nobody listens')
  assert not heard


def test_an_error_in_a_callback_is_not_hidden():
  class Failing(Callback):
    def on_message(self, text):
      raise ValueError(text)

  heard = []
  several = CallbackList([Recorder(heard, 'first'), Failing(), Recorder(heard, 'last')])
  with pytest.raises(ValueError, match='a text'):
    several.on_message('a text')
  assert [name for name, *_ in heard] == ['first']


def shown(heard):
  """Events as short texts."""
  texts = []
  for _, event, given in heard:
    about = {
      'on_start': lambda step, config: step,
      'on_metrics': lambda record: f'{record.split} {record.step}',
      'on_histograms': lambda step, member, values: step,
      'on_snapshot': lambda snapshot: (
        f'{snapshot.step}{" evaluated" if snapshot.evaluation else ""}'
        f'{" drawn" if snapshot.figures else ""}{" last" if snapshot.last else ""}'
      ),
      'on_evaluation': lambda step, summary: step,
      'on_hparams': lambda step, member, config, metrics: step,
      'on_message': lambda text: text.partition(' after')[0],
      'on_end': lambda summary: summary and summary['step'],
    }[event](*given)
    texts.append(f'{event[3:]} {about}')
  return texts


@pytest.mark.slow
def test_a_run_is_reported_in_order_and_so_is_its_continuation(run_config, tmp_path):
  heard = []
  loop.train(run_config, tmp_path, callbacks=[Recorder(heard)])
  assert shown(heard) == [
    'start 0',
    'message first steps under way',
    'snapshot 0',
    'metrics train 5',
    'snapshot 5',
    'metrics train 10',
    'metrics test 10',
    'histograms 10',
    'snapshot 10 evaluated drawn',
    'evaluation 10',
    'metrics train 15',
    'snapshot 15',
    'metrics train 20',
    'metrics test 20',
    'histograms 20',
    'snapshot 20 evaluated drawn last',
    'hparams 20',
    'evaluation 20',
    'end 20',
  ]
  heard.clear()
  loop.train(run_config, tmp_path, callbacks=[Recorder(heard)])
  assert shown(heard) == [
    'start 20',
    'message nothing to do: step 20 is reached; raise train.steps to go on',
    'end 20',
  ]


@pytest.mark.slow
def test_where_one_fails_all_are_told_of_the_end(run_config, tmp_path):
  class Failing(Callback):
    def on_metrics(self, record):
      raise ValueError('as a user wrote it')

  heard = []
  with pytest.raises(ValueError, match='as a user wrote it'):
    loop.train(run_config, tmp_path, callbacks=[Recorder(heard), Failing()])
  assert shown(heard)[-2:] == ['metrics train 5', 'end None']
  assert not (tmp_path / 'run.lock').exists()
