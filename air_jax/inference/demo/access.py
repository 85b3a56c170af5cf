"""Who may ask the demo: only pages that it served itself.

A website may give a name of its own the address of this machine (DNS rebinding): then the browser
takes the demo for a part of that website, which may read every answer. The name is in `Host`.
A website may also send requests to the demo without reading the answers. It is in `Origin`.
"""

import contextlib
import ipaddress
import re
import socket

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = re.compile(r'(\[[^\[\]]*\]|[^:\[\]]*)(?::\d*)?')


def is_loopback(address: str) -> bool:
  """Whether only this machine reaches an address."""
  return ipaddress.ip_address(address.partition('%')[0]).is_loopback


class OwnPagesOnly:
  """Middleware that refuses requests that other websites make a browser send."""

  def __init__(self, app: ASGIApp, host: str, address: str):
    """Wraps an application.

    Args:
      app: the application.
      host: name or address that the user gave.
      address: the one that the server listens at.
    """
    self._app, self._open = app, not is_loopback(address)
    self._names = {host.lower(), address, 'localhost'}
    if self._open:  # other machines use the names of this one
      self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    else:
      self._names |= {'127.0.0.1', '::1'}

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers by the application, or by a refusal."""
    headers = Headers(scope=scope)
    host, origin = headers.get('host', '').lower(), headers.get('origin')
    if not self._serves(host):
      text = 'the demo is not served by this name; use the address that it printed when it started'
      refusal = JSONResponse({'error': text}, 400, {'connection': 'close'})
    elif (
      scope['method'] == 'POST' and origin is not None and origin.lower().split('://')[1:] != [host]
    ):
      text = 'the demo answers only its own page, not other websites'
      refusal = JSONResponse({'error': text}, 403, {'connection': 'close'})
    else:
      return await self._app(scope, receive, send)
    await refusal(scope, receive, send)

  def _serves(self, host: str) -> bool:
    match = _HOST.fullmatch(host)
    name = match[1].strip('[]').rstrip('.') if match else ''
    if self._open:  # an attack by DNS needs a name
      with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return bool(name) and name in self._names
