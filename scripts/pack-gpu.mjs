// Makes the GPU pack: one archive that checks and measures a GPU on a bare Linux host with a driver, but
// without Node and network. npm run pack:gpu [-- options]; docs/gpu.md says how it is used.
//
// I1 an archive that is larger than pack-gpu/limits.mjs allows, or unpacks to more, is not written.
// I2 it holds this checkout as it is; pack.json says when files differ from the commit.
// I3 nothing stays in the folder for temporary files, whatever fails.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { sourcesDigest } from './cuda/sources.mjs';
import { PackError, PackUsageError } from './pack-gpu/failure.mjs';
import { requireSize } from './pack-gpu/limits.mjs';
import * as parts from './pack-gpu/parts.mjs';

const HELP = `Usage: npm run pack:gpu -- [options]

Makes tileloom-gpu-VERSION-COMMIT.tar.gz.

  --out DIR     folder to write to, by default out/
  --image WHAT  auto: the image of native/build, built now where it is missing and a compiler can be
                had (the default); present: only if it is there already; none: NVRTC compiles on the host
  --help        this text
`;

const USAGE = 2;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const script = (name, ...words) =>
  spawnSync(process.execPath, [join(root, 'scripts', name), ...words], { stdio: 'inherit' }).status;

function parseWords() {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: join(root, 'out') },
      image: { type: 'string', default: 'auto' },
      help: { type: 'boolean', default: false },
    },
  });
  if (!['auto', 'present', 'none'].includes(values.image)) {
    throw new PackUsageError(
      `--image is not known: expected auto, present or none, got ${values.image}\n${HELP}`,
    );
  }
  return values;
}

/** Before anything is built: packing takes a minute. */
function makeOut(out) {
  try {
    mkdirSync(out, { recursive: true });
    accessSync(out, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new PackUsageError(
      `--out cannot be used: expected a folder that can be written to, got ${out} (${error.code})`,
    );
  }
}

/** Whether an image of these sources is in native/build, built on the way if that is wanted. */
function findImage(wanted) {
  if (wanted === 'none') return false;
  const native = join(root, 'native');
  const image = join(native, 'build', 'tileloom_cuda.fatbin');
  const isCurrent = () =>
    existsSync(image) && readFileSync(image).subarray(8, 24).equals(sourcesDigest(native));
  if (isCurrent()) return true;
  if (wanted === 'auto' && script('build-cuda.mjs') === 0 && isCurrent()) return true;
  process.stderr.write('no image of these kernels: NVRTC will compile them on the host\n');
  return false;
}

/** As bench/gpu/commit.ts, which says why; a test holds them to be equal. */
function commitOf() {
  const git = (...words) => execFileSync('git', words, { cwd: root, encoding: 'utf8' }).trim();
  const sources = ['--', '.', ':(exclude)bench/record'];
  const status = git('status', '--porcelain', '--untracked-files=normal', ...sources);
  return `${git('rev-parse', '--short', 'HEAD')}${status === '' ? '' : '-changed'}`;
}

function filesOf(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

async function stage(staging, wantImage) {
  const app = join(staging, 'app');
  mkdirSync(app, { recursive: true });
  const bundled = await parts.bundle(root, app);
  parts.copyKoffi(root, app);
  const { node, stripped } = parts.copyNode(staging);
  const image = parts.copyNative(root, app, wantImage);
  parts.writeLicenses(root, app, [...bundled, ...parts.copyData(root, app)]);
  cpSync(join(root, 'LICENSE'), join(app, 'LICENSE'));
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(join(app, 'package.json'), '{ "name": "tileloom-gpu-pack", "type": "module" }\n');
  const libraries = filesOf(app).filter((file) => /\.(?:so|node)$/u.test(file));
  const glibc = { node: parts.glibcOf([node]), libraries: parts.glibcOf(libraries) };
  const pack = {
    ...{ schema: 'tileloom.gpu-pack/1', version, commit: commitOf() },
    ...{ packedAt: new Date().toISOString(), node: process.version, glibc },
    deviceSources: sourcesDigest(join(root, 'native')).toString('hex'),
    image,
  };
  const text = `${JSON.stringify(pack, null, 2)}\n`;
  writeFileSync(join(app, 'pack.json'), text);
  const facts = {
    ...{ VERSION: version, COMMIT: pack.commit, NODE: process.version },
    NODE_STATE: stripped ? 'with its symbols removed' : 'as it was installed',
    NODE_LICENSE: parts.copyNodeLicense(staging),
    ...{ NODE_GLIBC: glibc.node, LIBRARY_GLIBC: glibc.libraries },
    DIGEST: createHash('sha256').update(text).digest('hex').slice(0, 16),
    IMAGE: image ? 'in the pack' : 'not in the pack; NVRTC of a CUDA toolkit is needed',
  };
  parts.fillIn('run', join(staging, 'run'), facts);
  chmodSync(join(staging, 'run'), 0o755);
  parts.fillIn('README.txt', join(staging, 'README.txt'), facts);
  return pack;
}

function archive(staging, target) {
  const order = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner'];
  const words = ['-C', dirname(staging), ...order, '-cf', '-', 'tileloom-gpu'];
  const tar = execFileSync('tar', words, { maxBuffer: Infinity });
  writeFileSync(target, execFileSync('gzip', ['-n'], { input: tar, maxBuffer: Infinity }));
}

async function makePack(options, work) {
  const staging = join(work, 'tileloom-gpu');
  const pack = await stage(staging, findImage(options.image));
  const unpackedBytes = filesOf(staging).reduce((sum, file) => sum + statSync(file).size, 0);
  const unpacked = requireSize('unpacked pack', unpackedBytes);
  const name = `tileloom-gpu-${pack.version}-${pack.commit}.tar.gz`;
  archive(staging, join(work, name));
  const packed = requireSize('archive', statSync(join(work, name)).size);
  const out = resolve(options.out);
  cpSync(join(work, name), join(out, name));
  process.stdout.write(
    `${join(out, name)}\n${packed}, unpacked ${unpacked}; ` +
      `glibc ${pack.glibc.node} (libraries ${pack.glibc.libraries}), image ${pack.image ? 'in it' : 'not in it'}\n`,
  );
}

async function main() {
  const options = parseWords();
  if (options.help) {
    process.stdout.write(HELP);
    return;
  }
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new PackError('the pack is of Linux on x86-64');
  }
  makeOut(resolve(options.out));
  if (script('build-native.mjs') !== 0) throw new PackError('the libraries could not be built');
  const work = mkdtempSync(join(tmpdir(), 'tileloom-pack-'));
  try {
    await makePack(options, work);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

try {
  await main();
} catch (error) {
  const isUsage = error.code?.startsWith?.('ERR_PARSE_ARGS') === true;
  if (!isUsage && !(error instanceof PackError)) throw error;
  process.stderr.write(`${error.message}\n${isUsage ? HELP : ''}`);
  process.exitCode = isUsage ? USAGE : error.status;
}
