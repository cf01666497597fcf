// files.js read DIRECTORY… | write DIRECTORY | watch DIRECTORY FILE: files by fs, its promises and its streams.
const crypto = require('crypto')
const fs = require('fs')
const path = require('path')
const { pipeline } = require('stream/promises')
const zlib = require('zlib')

const sum = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex')

async function describe (file) {
  const st = fs.lstatSync(file, { bigint: true })
  const words = [file, st.mode.toString(8)]
  if (st.isFile()) words.push(st.size, st.mtimeNs, sum(await fs.promises.readFile(file)))
  if (st.isSymbolicLink()) words.push('to', fs.readlinkSync(file), fs.realpathSync.native(file))
  console.log(words.join(' '))
}

async function read (top) {
  for (const name of fs.readdirSync(top, { recursive: true }).sort()) await describe(path.join(top, name))
  process.chdir(top)
  console.log(process.cwd(), fs.readdirSync('.', { withFileTypes: true }).map((e) => e.name + e.isDirectory()).sort())
  const dir = await fs.promises.opendir('.')
  let n = 0
  for await (const entry of dir) n += entry.name.length
  console.log(n, fs.existsSync('nothing'), await fs.promises.access('.').then(() => 'may'))
  await fs.promises.readFile('nothing').catch((e) => console.log(e.message))
  const hash = crypto.createHash('sha256')
  for (const name of fs.readdirSync('.').sort()) {
    if (fs.statSync(name).isFile()) await pipeline(fs.createReadStream(name), hash, { end: false })
  }
  console.log(hash.digest('hex'))
}

async function write (top) {
  process.chdir(top)
  fs.mkdirSync('node/a/b', { recursive: true })
  fs.writeFileSync('node/file', 'by node\n', { mode: 0o640 })
  await fs.promises.appendFile('node/file', 'more\n')
  await fs.promises.cp('/app', 'node/app', { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
  await fs.promises.rm('node/app/tree/2', { recursive: true })
  await fs.promises.rename('node/file', 'node/a/b/renamed')
  await pipeline(fs.createReadStream('blocks'), zlib.createGzip(), zlib.createGunzip(), fs.createWriteStream('node/blocks'))
  const f = await fs.promises.open('node/sync', 'w+')
  for (let i = 0; i < 100; i++) await f.write(`line ${i}\n`)
  await f.datasync()
  await f.truncate(500)
  await f.utimes(1e9, 1e9 + 1)
  console.log((await f.stat()).mtimeMs)
  await f.close()
  fs.symlinkSync('a', 'node/link')
  fs.linkSync('file', 'node/hard')
  fs.copyFileSync('other', 'node/copy')
  fs.chmodSync('node/copy', 0o600)
  fs.rmdirSync('void')
  fs.mkdtempSync('temporary-')
  for (const name of fs.readdirSync('.')) if (name.startsWith('temporary-')) fs.rmdirSync(name)
  console.log(fs.readdirSync('node', { recursive: true }).sort().join(' '))
  console.log(sum(fs.readFileSync('node/blocks')) === sum(fs.readFileSync('blocks')))
}

function watch (directory, file) {
  let last = ''
  const look = () => {
    let content = last
    try {
      content = fs.readFileSync(file, 'utf8')
    } catch {}
    if (content !== last) console.log(`${file} is ${JSON.stringify(content)}`)
    last = content
    if (last === 'last') watcher.close()
  }
  const watcher = fs.watch(directory, look)
  look()
}

const [what, ...names] = process.argv.slice(2)
if (what === 'read') names.reduce((before, name) => before.then(() => read(name)), Promise.resolve())
else if (what === 'write') write(names[0])
else watch(...names)
