export {
  connectionSettings,
  type ConnectionRequest,
  type ConnectionSettings,
} from './connection.ts';
export {
  readDeviceStates,
  writeDeviceStates,
  type DeviceState,
  type ReportedDevice,
} from './device-states.ts';
export { ServerError, type ServerErrorCode } from './errors.ts';
export { takeLock, type FileLock } from './file-lock.ts';
export { TEMPORAL_CLI_VERSION, homePaths, type Environment, type HomePaths } from './home-paths.ts';
export { RETENTION_DAYS, isServing, registerSearchAttributes } from './namespace.ts';
export { isPortFree, portOwner } from './ports.ts';
export { identityOf, isAlive, signalProcess, type ProcessIdentity } from './process-identity.ts';
export {
  resolveTemporalBinary,
  type Report,
  type ReportStep,
  type ResolveOptions,
  type ResolverPorts,
} from './resolve-binary.ts';
export { startServer, type RunningServer, type StartServerOptions } from './start.ts';
export { serverStatus, stopServer, type ServerStatus, type StopServerOptions } from './stop.ts';
