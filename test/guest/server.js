// A web server on libuv, whose accept4 is a system call of its own, not libc's.
const http = require('http');

http.createServer((request, response) => {
	console.log(`${request.method} ${request.url} from ${request.socket.remoteAddress}`);
	response.end(`node, the guest; you are ${request.socket.remoteAddress}\n`);
}).listen(Number(process.argv[2]), '0.0.0.0');
