// Owns what goes into the GPU pack: one function per part, all of them copy into a staging folder.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import { rolldown } from 'rolldown';

/** Everything that is JavaScript in one file, but for koffi; returns the packages inside it. */
export async function bundle(root, app) {
  const build = await rolldown({
    input: join(root, 'bench', 'gpu', 'main.ts'),
    platform: 'node',
    // It has machine code of its own.
    external: ['koffi'],
  });
  const { output } = await build.write({ dir: app, format: 'esm', entryFileNames: 'main.js' });
  await build.close();
  const chunks = output.filter(({ type }) => type === 'chunk');
  const missing = chunks
    .flatMap((chunk) => chunk.imports)
    .filter((id) => !isBuiltin(id) && id !== 'koffi' && !output.some((o) => o.fileName === id));
  if (missing.length > 0) throw new Error(`the bundle imports ${missing.join(', ')}, not packed`);
  return chunks
    .flatMap((chunk) => Object.keys(chunk.modules))
    .map((module) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//u.exec(module)?.[1])
    .filter((name) => name !== undefined);
}

/** The license of every package of which something is in the pack without a folder of its own. */
export function writeLicenses(root, app, packages) {
  const texts = [...new Set(packages)]
    .toSorted((a, b) => (a < b ? -1 : 1))
    .map((name) => {
      const folder = join(root, 'node_modules', name);
      const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
      const file = readdirSync(folder).find((one) => /^licen[cs]e/iu.test(one));
      const text = file === undefined ? '' : readFileSync(join(folder, file), 'utf8');
      return `${name} ${version}: ${license}\n\n${text}\n`;
    });
  writeFileSync(join(app, 'LICENSES.txt'), texts.join('\n'));
}

/** Koffi's JavaScript and the machine code for this platform. */
export function copyKoffi(root, app) {
  const source = join(root, 'node_modules', 'koffi');
  const target = join(app, 'node_modules', 'koffi');
  cpSync(source, target, {
    recursive: true,
    filter: (path) =>
      !/\/koffi\/(?:vendor|doc|lib|build)$|\.(?:cc|hh|inc|S|asm|d\.ts|md|txt)$/u.test(path) ||
      path.endsWith('LICENSE.txt'),
  });
  const platform = '@koromix/koffi-linux-x64';
  const machine = join(dirname(source), platform);
  cpSync(machine, join(app, 'node_modules', platform), {
    recursive: true,
    filter: (path) => !path.includes('musl'),
  });
}

/** This process's Node, without symbols where `strip` is at hand; says whether they are gone. */
export function copyNode(staging) {
  const node = join(staging, 'bin', 'node');
  mkdirSync(dirname(node), { recursive: true });
  cpSync(process.execPath, node, { dereference: true });
  chmodSync(node, 0o755);
  const plain = join(staging, 'bin', 'node.plain');
  cpSync(node, plain);
  const stripped = spawnSync('strip', [node]).status === 0;
  const works = spawnSync(node, ['-e', '0']).status === 0;
  if (stripped && !works) cpSync(plain, node);
  rmSync(plain);
  return { node, stripped: stripped && works };
}

/** Where builds of nodejs.org, Debian and NodeSource, Arch and Fedora put Node's license, below its prefix. */
const NODE_LICENSES = ['', 'share/doc/nodejs', 'share/doc/node', 'share/licenses/nodejs'];

/** Path of the license of the Node installed at a prefix, which covers what is built into it; or null. */
export function nodeLicense(prefix) {
  const isOfNode = (file) =>
    existsSync(file) && readFileSync(file, 'utf8').startsWith('Node.js is licensed');
  return (
    NODE_LICENSES.map((folder) => join(prefix, folder, 'LICENSE')).find((file) => isOfNode(file)) ??
    null
  );
}

/** Copies it beside the binary. Returns where a reader finds it: not every distribution installs it. */
export function copyNodeLicense(staging) {
  const file = nodeLicense(dirname(dirname(realpathSync(process.execPath))));
  if (file === null) return `https://github.com/nodejs/node/blob/${process.version}/LICENSE`;
  cpSync(file, join(staging, 'bin', 'LICENSE'), { dereference: true });
  return 'bin/LICENSE';
}

const NATIVE_SOURCES = ['Makefile', 'include', 'core', 'kernels', 'cuda'];
const LIBRARIES = ['libtileloom_cpu.so', 'libtileloom_cuda.so'];
const IMAGE = 'tileloom_cuda.fatbin';

/** Sources, libraries and, if wanted, the image; says whether the image is in. */
export function copyNative(root, app, wantImage) {
  const [from, to] = [join(root, 'native'), join(app, 'native')];
  for (const name of NATIVE_SOURCES) cpSync(join(from, name), join(to, name), { recursive: true });
  mkdirSync(join(to, 'build'));
  for (const name of LIBRARIES) cpSync(join(from, 'build', name), join(to, 'build', name));
  const image = join(from, 'build', IMAGE);
  const copied = wantImage && existsSync(image);
  if (copied) cpSync(image, join(to, 'build', IMAGE));
  return copied;
}

const LAYERS = ['us-atlas/counties-10m.json', 'world-atlas/countries-10m.json'];

/**
 * The corpus, and the layers under the names that bench/gpu/place.ts gives them; returns the packages
 * that the layers are of.
 */
export function copyData(root, app) {
  const require = createRequire(join(root, 'package.json'));
  const data = join(app, 'data');
  cpSync(join(root, 'tests', 'fixtures', 'corpus'), join(data, 'corpus'), { recursive: true });
  for (const file of LAYERS) cpSync(require.resolve(file), join(data, file.replace('/', '-')));
  return LAYERS.map((file) => dirname(file));
}

/** Newest version of glibc that the symbols of some ELF files ask for. */
export function glibcOf(files) {
  const versions = files.flatMap((file) =>
    [...readFileSync(file, 'latin1').matchAll(/GLIBC_(2\.\d+)\b/gu)].map(([, one]) => one),
  );
  const minor = (version) => Number(version.split('.')[1]);
  return versions.reduce((most, one) => (minor(one) > minor(most) ? one : most), '2.0');
}

/** Writes a file of this folder with its `@NAME@`s replaced. */
export function fillIn(name, target, facts) {
  const text = readFileSync(new URL(name, import.meta.url), 'utf8');
  const filled = text.replaceAll(/@([A-Z_]+)@/gu, (_, key) => {
    if (facts[key] === undefined) throw new Error(`${name} asks for @${key}@, which is not known`);
    return facts[key];
  });
  writeFileSync(target, filled);
}
