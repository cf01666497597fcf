"""A web server on asyncio: accept without blocking, epoll, transports."""

import asyncio
import sys


async def serve(reader, writer):
    peer = writer.get_extra_info("peername")[0]
    request = (await reader.readuntil(b"\r\n\r\n")).decode().split()
    print(*request[:2], "from", peer, flush=True)
    body = f"asyncio, the guest; you are {peer}\n"
    writer.write(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
