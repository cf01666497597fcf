"""client.py URL...: what urllib gets, and asyncio's connection to the same places."""

import asyncio
import sys
import urllib.error
import urllib.parse
import urllib.request


def get(url):
    try:
        return urllib.request.urlopen(url).read().decode().strip()
    except urllib.error.URLError as error:
        return repr(error.reason)


async def connect(url):
    parts = urllib.parse.urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    except OSError as error:
        return repr(error)
    here, there = (writer.get_extra_info(name)[0] for name in ("sockname", "peername"))
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    body = (await reader.read()).split(b"\r\n\r\n")[-1].decode().strip()
    writer.close()
    return f"{body} (from {here} to {there})"


for url in sys.argv[1:]:
    print("urllib", url, get(url))
    print("asyncio", url, asyncio.run(connect(url)))
