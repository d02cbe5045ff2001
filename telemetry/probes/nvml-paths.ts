// Owns where NVML's library may lie. TILELOOM_NVML names it on hosts that keep it elsewhere.

export const NVML_LIBRARY = 'libnvidia-ml.so.1';

/** Places that the system's own search may not know, inside containers above all. */
export const NVML_PATHS: readonly string[] = Object.freeze(
  [
    '/usr/lib/x86_64-linux-gnu',
    '/usr/lib/aarch64-linux-gnu',
    '/usr/lib64',
    '/usr/lib',
    '/usr/lib/wsl/lib',
    '/usr/local/nvidia/lib64',
  ].map((folder) => `${folder}/${NVML_LIBRARY}`),
);
