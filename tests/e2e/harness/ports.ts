// Owns free loopback ports for tests.
import { createServer, type AddressInfo } from 'node:net';

/** Ports that were free a moment ago, all different, below the limit that TILELOOM_PORT has. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports = new Set<number>();
  const servers = [];
  while (ports.size < count) {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    if (port <= 64_000) ports.add(port);
    servers.push(server);
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return [...ports];
}
