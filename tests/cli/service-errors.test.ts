// What is told of a Temporal service that cannot be used; messages as the SDK's two clients word them.
import { describe, expect, test } from 'vitest';
import { exitCodeOf } from '../../cli/exit.ts';
import { CliError } from '../../cli/errors.ts';
import { explainServiceError, requireAddress, type Service } from '../../cli/service-errors.ts';
import { runCli } from './fake-io.ts';

const SERVICE: Service = { kind: 'profile', address: 'temporal.test:7233', namespace: 'nons' };

function named(name: string, message: string): Error {
  const error = new Error(message);
  error.name = name;
  return error;
}

function grpc(code: number, message: string): Error {
  return Object.assign(new Error(message), { code });
}

const explained = (error: unknown): CliError => explainServiceError(SERVICE, error) as CliError;

describe('an address', () => {
  test.each([
    'localhost',
    'temporal_1:7233',
    '127.0.0.1:1',
    'a.b-c.tmprl.cloud:65535',
    '[::1]:7233',
    '[::ffff:192.0.2.128]',
  ])('%s is one', (address) => {
    expect(() => {
      requireAddress({ ...SERVICE, address });
    }).not.toThrow();
  });

  test.each([
    '',
    ':7233',
    'host:',
    'host:0',
    '127.0.0.1:99999',
    'http://127.0.0.1:7233',
    'dns:///host:7233',
    'a b:7233',
    '::1',
    'host:7233\n',
  ])('%j is none, which is told without asking anybody', (address) => {
    expect(() => {
      requireAddress({ ...SERVICE, address });
    }).toThrow(/namespace nons\) cannot be used: expected HOST or HOST:PORT .* TEMPORAL_ADDRESS/s);
  });

  test.each([
    ['worker', 'start'],
    ['run', 'list'],
  ])('that is none ends %s %s at once with exit code 4', async (...words) => {
    const env = { PATH: process.env['PATH'], TEMPORAL_ADDRESS: 'http://127.0.0.1:7233' };
    const { code, stdout, stderr } = await runCli(words, { env });
    expect(stderr).toMatch(/^SERVER_PROFILE_INVALID: [^\n]*got http:\/\/127.0.0.1:7233; [^\n]*\n$/);
    expect(stdout).toBe('');
    expect(code).toBe(4);
  });
});

describe('a service that does not answer', () => {
  test.each([
    [
      named(
        'TransportError',
        'tonic::transport::Error(Transport, ConnectError(ConnectError("tcp connect error", ' +
          '127.0.0.1:1, Os { code: 111, kind: ConnectionRefused, message: "Connection refused" })))',
      ),
      'Connection refused',
    ],
    [
      named(
        'TransportError',
        'tonic::transport::Error(Transport, ConnectError(ConnectError("dns error", Custom { kind: ' +
          'Uncategorized, error: "failed to lookup address information: Name unknown" })))',
      ),
      'failed to lookup address information: Name unknown',
    ],
    [
      named('TransportError', 'tonic::transport::Error(Transport, Odd)'),
      'a connection that failed',
    ],
    [named('Error', 'Failed to connect before the deadline'), 'none in time'],
    [grpc(14, '14 UNAVAILABLE: No connection established'), 'No connection established'],
    [grpc(7, '7 PERMISSION_DENIED: Request unauthorized.'), 'Request unauthorized.'],
  ])('is named with a short cause: %s', (error, cause) => {
    const { code, message, retryable, details } = explained(error);
    expect(code).toBe('CLI_SERVER_UNREACHABLE');
    expect(message).toContain(
      `Temporal on temporal.test:7233, namespace nons, cannot be used: expected an answer, got ${cause}; `,
    );
    expect(message).toContain('check TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE');
    expect(message).toContain('tileloom server start');
    expect({ retryable, details }).toEqual({
      retryable: true,
      details: { address: 'temporal.test:7233', namespace: 'nons' },
    });
    expect(exitCodeOf(explained(error))).toBe(4);
  });

  test('ends worker start with exit code 4 after the first try', async () => {
    const env = { PATH: process.env['PATH'], TEMPORAL_ADDRESS: '127.0.0.1:1' };
    const { code, stderr } = await runCli(['worker', 'start', '--no-gpu'], { env });
    expect(stderr).toMatch(/^CLI_SERVER_UNREACHABLE: Temporal on 127.0.0.1:1, [^\n]*\n$/);
    expect(code).toBe(4);
  }, 9_500);
});

describe('a namespace that the service lacks', () => {
  test.each([
    named('NamespaceNotFoundError', "Namespace not found: 'nons'"),
    grpc(5, '5 NOT_FOUND: Namespace nons is not found.'),
    new CliError('CLI_REQUEST_FAILED', 'wrapped', {
      cause: grpc(5, '5 NOT_FOUND: Namespace nons is not found.'),
    }),
    new Error(
      'Namespace nons was not found or otherwise could not be described: Status { code: NotFound, ' +
        'message: "Namespace nons is not found.", source: None }',
    ),
  ])('is named with its service: %s', (error) => {
    const { code, message } = explained(error);
    expect(code).toBe('SERVER_PROFILE_INVALID');
    expect(message).toContain('Temporal on temporal.test:7233, namespace nons, cannot be used');
    expect(message).toContain('correct TEMPORAL_NAMESPACE or TEMPORAL_ADDRESS');
    expect(message).not.toMatch(/Status|NOT_FOUND/);
    expect(exitCodeOf(explained(error))).toBe(4);
  });

  test('is no service that could not be asked about it', () => {
    const error = new Error(
      'Namespace nons was not found or otherwise could not be described: Status { code: ' +
        'Unavailable, message: "error trying to connect", source: None }',
    );
    expect(explained(error)).toMatchObject({
      code: 'CLI_SERVER_UNREACHABLE',
      message: expect.stringContaining('got error trying to connect; ') as string,
    });
  });
});

describe('any other error', () => {
  test.each([
    new Error('a fault of ours'),
    new TypeError('x is not a function'),
    new CliError('CLI_USAGE', 'Namespace x is not found'),
    grpc(5, '5 NOT_FOUND: workflow not found'),
  ])('stays what it is: %s', (error) => {
    expect(explained(error)).toBe(error);
  });
});
