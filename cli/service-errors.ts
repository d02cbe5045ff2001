// Owns how failures of the Temporal service reach the user: which service was meant (address and
// namespace), what is wrong with it, and what to do. The words of gRPC and of the SDK's native core
// stay out of it but for a short cause.
import { isEngineError } from '../core/index.ts';
import { ServerError, type ConnectionSettings } from '../server/index.ts';
import { CliError } from './errors.ts';

export type Service = Pick<ConnectionSettings, 'kind' | 'address' | 'namespace'>;

/**
 * Refuses an address that is none before anybody waits for an answer from there.
 *
 * @throws {ServerError} `SERVER_PROFILE_INVALID`
 */
export function requireAddress(service: Service): void {
  if (!isAddress(service.address)) throw noAddress(service, undefined);
}

/**
 * Turns what a client or a worker met at the service into an error of this product; gives everything
 * else back as it is.
 */
export function explainServiceError(service: Service, error: unknown): unknown {
  if (isEngineError(error) && error.name === 'ServerError') return error;
  if (!isEngineError(error) && ADDRESS_REFUSED.test(messageOf(error))) {
    return noAddress(service, error);
  }
  const chain = [error, (error as { cause?: unknown } | null)?.cause];
  if (chain.some(isNamespaceUnknown)) return noNamespace(service, error);
  return chain.some(isUnavailable) ? unreachable(service, error) : error;
}

/** A connection could not be made, for whatever reason. */
export function unreachable(service: Service, cause: unknown): CliError {
  const remedy =
    service.kind === 'embedded'
      ? 'look with `tileloom server status`, start it with `tileloom server start`'
      : 'check TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and the other TEMPORAL_* settings, ' +
        'or unset them and use `tileloom server start`';
  return new CliError(
    'CLI_SERVER_UNREACHABLE',
    `${nameOf(service)} cannot be used: expected an answer, got ${shortCause(cause)}; ${remedy}`,
    { retryable: true, details: detailsOf(service), cause },
  );
}

function noNamespace(service: Service, cause: unknown): ServerError {
  return new ServerError(
    'SERVER_PROFILE_INVALID',
    `${nameOf(service)} cannot be used: expected a namespace of that service, got one that it does ` +
      'not have; correct TEMPORAL_NAMESPACE or TEMPORAL_ADDRESS, or unset both and use ' +
      '`tileloom server start`',
    { details: detailsOf(service), cause },
  );
}

function noAddress(service: Service, cause: unknown): ServerError {
  const namespace = service.namespace.slice(0, NAME_CHARACTERS_MAX);
  const got = service.address === '' ? 'nothing' : service.address.slice(0, NAME_CHARACTERS_MAX);
  return new ServerError(
    'SERVER_PROFILE_INVALID',
    `the address of Temporal (for namespace ${namespace}) cannot be used: expected HOST or ` +
      `HOST:PORT with a port from 1 to 65535, got ${got}; correct TEMPORAL_ADDRESS, or unset it ` +
      'and use `tileloom server start`',
    { details: detailsOf(service), cause },
  );
}

const NAME_CHARACTERS_MAX = 120;

function nameOf({ address, namespace }: Service): string {
  const [place, space] = [address, namespace].map((name) => name.slice(0, NAME_CHARACTERS_MAX));
  return `Temporal on ${place ?? ''}, namespace ${space ?? ''},`;
}

function detailsOf({ address, namespace }: Service): { address: string; namespace: string } {
  return { address, namespace };
}

/** A name, an IPv4 address or an IPv6 address in brackets; what the SDK takes, and no more. */
const ADDRESS = /^(?:\[[0-9A-Fa-f:.]+\]|[\p{L}\p{N}_](?:[\p{L}\p{N}._-]*))(?::(?<port>\d{1,5}))?$/u;
const PORT_MAX = 65_535;

function isAddress(address: string): boolean {
  const found = ADDRESS.exec(address);
  if (found === null) return false;
  const port = Number(found.groups?.['port'] ?? 1);
  return port >= 1 && port <= PORT_MAX;
}

/** How the SDK's two clients refuse an address that `isAddress` let through. */
const ADDRESS_REFUSED =
  /^(?:Invalid address for Temporal gRPC endpoint|Could not parse target name|fn client_new\S* )/u;

/** Of the client's own error class, of gRPC, and of the native core. */
const NAMESPACE_UNKNOWN =
  /^Namespace not found: |\bNamespace .* is not found|^Namespace .* was not found .*\bcode: NotFound\b/su;

/** Whether an error of a client, of gRPC or of the native core says that a namespace is missing. */
export function isNamespaceUnknown(error: unknown): boolean {
  return !isEngineError(error) && NAMESPACE_UNKNOWN.test(messageOf(error));
}

/** Deadline exceeded, unavailable; permission denied, unauthenticated. */
const GRPC_UNUSABLE: readonly unknown[] = [4, 14, 7, 16];
const NATIVE_UNUSABLE =
  /\bcode: (?:DeadlineExceeded|Unavailable|PermissionDenied|Unauthenticated)\b/u;

/** A connection that was not made or broke, or a service that refused the caller. */
function isUnavailable(error: unknown): boolean {
  if (GRPC_UNUSABLE.includes((error as { code?: unknown } | null)?.code)) return true;
  if (!(error instanceof Error) || isEngineError(error)) return false;
  if (error.name === 'TransportError' || error.message === CONNECT_TIMED_OUT) return true;
  return NATIVE_UNUSABLE.test(error.message);
}

/** The message of the SDK's client for every reason why no connection comes about. */
const CONNECT_TIMED_OUT = 'Failed to connect before the deadline';
const CAUSE_CHARACTERS_MAX = 160;

/** One short line: the reason without the wrapping of gRPC (`14 UNAVAILABLE: `) and of Rust. */
function shortCause(cause: unknown): string {
  const text = messageOf(cause);
  if (text === CONNECT_TIMED_OUT) return 'none in time';
  const isNative = /\w\(|\w \{/u.test(text);
  const line = isNative
    ? /\b(?:message|error): "(?<reason>[^"]+)"/u.exec(text)?.groups?.['reason']
    : text.split('\n')[0]?.replace(/^\d+ [A-Z_]+: /u, '');
  return (line ?? 'a connection that failed').slice(0, CAUSE_CHARACTERS_MAX) || 'nothing';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
