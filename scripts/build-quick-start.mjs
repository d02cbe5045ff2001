// Bundles the commands that operators wait for, with the Temporal client, into one script, lets it load
// once, and writes it with V8's code cache to dist/cli/quick-start.bin (cli/quick-start.ts reads it).
// `node scripts/build-quick-start.mjs cache` only makes the cache anew, for another Node.js: packages are
// installed with the script of whoever built them.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http2';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Script } from 'node:vm';

const cli = fileURLToPath(new URL('../dist/cli/', import.meta.url));
const target = join(cli, 'quick-start.bin');
const require = createRequire(import.meta.url);

/** The files of commands that are in the script; every other import() stays one of a file. */
const COMMANDS = ['run-control.js', 'pin.js'].map((name) => join(cli, 'commands', name));

/** The calls that these commands make. Descriptors of other calls, and of what only those need, are
 * left out: reading them takes half of the client's time to load. */
const CALLS = new Set([
  ...['GetSystemInfo', 'DescribeWorkflowExecution', 'QueryWorkflow', 'ListWorkflowExecutions'],
  ...['UpdateWorkflowExecution', 'PollWorkflowExecutionUpdate', 'SignalWorkflowExecution'],
  ...['StartWorkflowExecution', 'RequestCancelWorkflowExecution', 'DescribeTaskQueue'],
  ...['GetWorkflowExecutionHistory', 'DescribeNamespace', 'Check'],
]);
/** Namespaces that are looked up by name. */
const KEPT = /^(temporal\.api\.(common|enums|errordetails|failure|sdk)|google\.(protobuf|rpc))\./;

const leanDescriptors = {
  name: 'lean-descriptors',
  transform: {
    filter: { id: /@temporalio\/proto\/protos\/json-module\.js$/ },
    handler(_code, id) {
      const json = JSON.stringify(JSON.stringify(leanRoot(require(id).toJSON().nested)));
      return `const { Root, roots } = require('protobufjs/light');
module.exports = (roots.__temporal ??= new Root()).addJSON(JSON.parse(${json}));`;
    },
  },
};

/** The descriptors of CALLS and KEPT, and of the types of their fields. */
function leanRoot(root) {
  const known = new Map();
  const list = (nested, path) => {
    for (const [name, entry] of Object.entries(nested ?? {})) {
      known.set(path + name, entry);
      list(entry.nested, `${path}${name}.`);
    }
  };
  list(root, '');
  const kept = new Set();
  const keep = (type, from) => {
    const scope = from.split('.');
    while (!known.has([...scope, type].join('.')) && scope.length > 0) scope.pop();
    const path = [...scope, type].join('.');
    const entry = known.get(path);
    if (entry === undefined || kept.has(path)) return;
    kept.add(path);
    for (const field of Object.values(entry.fields ?? {})) keep(field.type, path);
  };
  for (const [path, { fields, values, methods }] of known) {
    if (KEPT.test(path) && (fields ?? values) !== undefined) keep(path, '');
    for (const [name, method] of Object.entries(methods ?? {})) {
      if (CALLS.has(name))
        [method.requestType, method.responseType].forEach((type) => keep(type, path));
      else delete methods[name];
      delete method.options;
    }
  }
  const prune = (nested, path) => {
    for (const [name, entry] of Object.entries(nested ?? {})) {
      prune(entry.nested, `${path}${name}.`);
      // Those of files and messages are for generators of code.
      if (entry.values === undefined) delete entry.options;
      const inner = Object.keys(entry.nested ?? {}).length > 0;
      const type = (entry.fields ?? entry.values) !== undefined;
      if (type && !inner && !kept.has(path + name)) delete nested[name];
    }
  };
  prune(root, '');
  return root;
}

const otherImports = {
  name: 'other-imports',
  async resolveDynamicImport(specifier, importer) {
    if (typeof specifier !== 'string' || !specifier.startsWith('.')) return null;
    const path = join(dirname(importer), specifier);
    return COMMANDS.includes(path)
      ? null
      : { id: `./${relative(cli, path)}`, external: 'relative' };
  },
};

async function bundle() {
  const { rolldown } = await import('rolldown');
  const build = await rolldown({
    input: join(cli, 'command-line.js'),
    platform: 'node',
    plugins: [leanDescriptors, otherImports],
    treeshake: { moduleSideEffects: (id, external) => !external && id.includes('/node_modules/') },
  });
  const { output } = await build.generate({
    format: 'cjs',
    minify: true,
    codeSplitting: false,
  });
  writeLicenses(output[0].moduleIds);
  return output[0].code;
}

/**
 * A script that comes out of a code cache has lost what import() needs (Node.js 20.20): it is handed a
 * function that loads in its place.
 */
function withLoad(code) {
  const calls = code.replaceAll(/\bimport\((["'`])(\.\/[^"'`\\]+)\1\)/g, 'load($1$2$1)');
  if (/\bimport\(/.test(calls)) throw new Error('an import() of the script has no file of ours');
  return calls;
}

/** V8 keeps a text of single bytes in half the memory; others stand in literals, which have escapes. */
function ascii(code) {
  const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return code.replaceAll(/[\u0080-\uffff]/g, escaped);
}

/** What the script is made of keeps its licences: they are put beside it. */
function writeLicenses(modules) {
  const packages = new Set(
    modules.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id) ?? []),
  );
  const texts = [...packages]
    .toSorted((one, other) => (one < other ? -1 : 1))
    .map((folder) => {
      const { name, version, license } = JSON.parse(
        readFileSync(join(folder, 'package.json'), 'utf8'),
      );
      const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
      const text = file === undefined ? '' : readFileSync(join(folder, file), 'utf8');
      return `${name} ${version} (${license})\n\n${text}`;
    });
  writeFileSync(join(cli, 'quick-start.licenses.txt'), texts.join(`\n${'-'.repeat(72)}\n`));
}

/** Compiles the script, runs a command in it, and takes the cache of the functions that ran. */
async function withCache(source) {
  const filename = join(cli, 'quick-start.cjs');
  const script = new Script(source, { filename });
  const module = { exports: {} };
  const load = (file) => import(new URL(file, pathToFileURL(filename)));
  script.runInThisContext()(module.exports, createRequire(filename), module, filename, load);
  await rehearse(module.exports.runCommandLine);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(Buffer.byteLength(source));
  return Buffer.concat([length, Buffer.from(source), script.createCachedData()]);
}

/** Pauses a run of a server that knows none: what is called on the way is in the cache. */
async function rehearse(runCommandLine) {
  const NOT_FOUND = 5;
  const server = createServer();
  server.on('stream', (stream, headers) => {
    const known = headers[':path']?.endsWith('/GetSystemInfo') === true;
    const head = { ':status': 200, 'content-type': 'application/grpc+proto' };
    if (known) {
      stream.respond(head, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': 0 }));
      stream.end(Buffer.alloc(5));
    } else {
      stream.respond({ ...head, 'grpc-status': NOT_FOUND }, { endStream: true });
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  let said = '';
  const write = (text) => (said += text);
  const code = await runCommandLine(['run', 'pause', 'rehearsal', '-o', 'json'], {
    ...{ stdout: write, stderr: write, stdoutIsTty: false, stderrIsTty: false, columns: 80 },
    ...{ cwd: cli, now: Date.now, onInterrupt: () => () => undefined },
    env: { TEMPORAL_ADDRESS: `127.0.0.1:${String(server.address().port)}` },
    sleep: () => Promise.resolve(),
  });
  server.close();
  if (code === 1) throw new Error(`rehearsal ended unexpectedly: ${said}`);
}

if (process.argv[2] === 'cache') {
  if (existsSync(target)) {
    const bytes = readFileSync(target);
    writeFileSync(target, await withCache(bytes.toString('latin1', 4, 4 + bytes.readUInt32LE(0))));
  }
} else {
  const code = await bundle();
  const source = ascii(
    `(function (exports, require, module, __filename, load) {${withLoad(code)}\n})`,
  );
  const bytes = await withCache(source);
  writeFileSync(target, bytes);
  console.log(`dist/cli/quick-start.bin: ${String(Math.round(bytes.length / 1024))} KiB`);
}
