// client.js URL...: what node's fetch gets, and net.connect to the same places.
const net = require("net");

function connect(url) {
	const { hostname, port } = new URL(url);
	return new Promise((done) => {
		const socket = net.connect(Number(port) || 80, hostname.replace(/[[\]]/g, ""));
		socket.on("connect", () => {
			done(`connected to ${socket.remoteAddress} from ${socket.localAddress}`);
			socket.destroy();
		});
		socket.on("error", (error) => done(`${error.code} ${error.message}`));
	});
}

async function get(url) {
	try {
		return (await (await fetch(url)).text()).trim();
	} catch (error) {
		return `${error.message}: ${error.cause.code}`;
	}
}

(async () => {
	for (const url of process.argv.slice(2)) {
		console.log("fetch", url, await get(url));
		console.log("connect", url, await connect(url));
	}
})();
