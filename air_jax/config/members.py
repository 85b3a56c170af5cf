"""The configurations of a population's members."""

import dataclasses

from air_jax.config.sections import Config, MembersConfig


def member_config(config: Config, index: int) -> Config:
  """The configuration of one member, as that of a run by itself."""
  names = [field.name for field in dataclasses.fields(MembersConfig)]
  own = {name: values[index] for name in names if (values := getattr(config.members, name))}
  rate = own.pop('learning_rate', config.train.learning_rate)
  return dataclasses.replace(
    config,
    seed=config.seed + index,
    train=dataclasses.replace(config.train, population=1, learning_rate=rate),
    model=dataclasses.replace(config.model, **own),
    members=MembersConfig(**dict.fromkeys(names, ())),
  )
