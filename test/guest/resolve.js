// What node says of each name: by getaddrinfo, and by c-ares, which asks the name server itself.
const dns = require('node:dns').promises;

const told = (promise) => promise.then((list) => JSON.stringify(list.map((a) => a.address ?? a).sort()),
  (e) => e.code);

(async () => {
  for (const name of process.argv.slice(2)) {
    console.log(name, 'lookup', await told(dns.lookup(name, { all: true })));
    console.log(name, 'resolve4', await told(dns.resolve4(name)));
    console.log(name, 'resolve6', await told(dns.resolve6(name)));
  }
})();
