// Makes the GPU pack: one archive that checks and measures a GPU on a bare Linux host with a driver, but
// without Node and network. npm run pack:gpu [-- options]; docs/gpu.md says how it is used.
//
// I1 the archive is at most 60 MiB and what it unpacks to at most 250 MiB; otherwise it is not kept.
// I2 it holds this checkout as it is; pack.json says when files differ from the commit.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { sourcesDigest } from './cuda/sources.mjs';
import * as parts from './pack-gpu/parts.mjs';

const MIB = 1024 ** 2;
const ARCHIVE_BYTES_MAX = 60 * MIB;
const UNPACKED_BYTES_MAX = 250 * MIB;
const HELP = `Usage: npm run pack:gpu -- [options]

Makes tileloom-gpu-VERSION-COMMIT.tar.gz.

  --out DIR     folder to write to, by default out/
  --image WHAT  auto: the image of native/build, built now where it is missing and a compiler can be
                had (the default); present: only if it is there already; none: NVRTC compiles on the host
  --help        this text
`;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const script = (name, ...words) =>
  spawnSync(process.execPath, [join(root, 'scripts', name), ...words], { stdio: 'inherit' }).status;

function fail(text) {
  process.stderr.write(`${text}\n`);
  process.exit(1);
}

function parseWords() {
  try {
    const { values } = parseArgs({
      options: {
        out: { type: 'string', default: join(root, 'out') },
        image: { type: 'string', default: 'auto' },
        help: { type: 'boolean', default: false },
      },
    });
    if (!['auto', 'present', 'none'].includes(values.image)) {
      throw new Error(`--image is not known: expected auto, present or none, got ${values.image}`);
    }
    return values;
  } catch (error) {
    return fail(`${error.message}\n${HELP}`);
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

function commitOf() {
  const git = (...words) => execFileSync('git', words, { cwd: root, encoding: 'utf8' }).trim();
  const changed = git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '-changed';
  return `${git('rev-parse', '--short', 'HEAD')}${changed}`;
}

function filesOf(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

async function stage(staging, wantImage) {
  const app = join(staging, 'app');
  mkdirSync(app, { recursive: true });
  await parts.bundle(root, app);
  parts.copyKoffi(root, app);
  const node = parts.copyNode(staging);
  const image = parts.copyNative(root, app, wantImage);
  parts.copyData(root, app);
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
  const tar = execFileSync('tar', words, { maxBuffer: UNPACKED_BYTES_MAX + 16 * MIB });
  writeFileSync(target, execFileSync('gzip', ['-n'], { input: tar, maxBuffer: tar.length }));
}

const options = parseWords();
if (options.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
if (process.platform !== 'linux' || process.arch !== 'x64') fail('the pack is of Linux on x86-64');
if (script('build-native.mjs') !== 0) fail('the libraries could not be built');
const wantImage = findImage(options.image);
const work = mkdtempSync(join(tmpdir(), 'tileloom-pack-'));
try {
  const staging = join(work, 'tileloom-gpu');
  const pack = await stage(staging, wantImage);
  const unpackedBytes = filesOf(staging).reduce((sum, file) => sum + statSync(file).size, 0);
  if (unpackedBytes > UNPACKED_BYTES_MAX) {
    fail(`unpacked the pack is too large: expected at most 250 MiB, got ${unpackedBytes} bytes`);
  }
  const out = resolve(options.out);
  mkdirSync(out, { recursive: true });
  const target = join(out, `tileloom-gpu-${pack.version}-${pack.commit}.tar.gz`);
  archive(staging, target);
  const bytes = statSync(target).size;
  if (bytes > ARCHIVE_BYTES_MAX) {
    rmSync(target);
    fail(`the archive is too large: expected at most 60 MiB, got ${bytes} bytes`);
  }
  const mib = (size) => `${(size / MIB).toFixed(1)} MiB`;
  process.stdout.write(
    `${target}\n${mib(bytes)} of 60, unpacked ${mib(unpackedBytes)} of 250; ` +
      `glibc ${pack.glibc.node} (libraries ${pack.glibc.libraries}), image ${pack.image ? 'in it' : 'not in it'}\n`,
  );
} finally {
  rmSync(work, { recursive: true, force: true });
}
