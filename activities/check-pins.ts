// Owns the checkPins activity: pins that somebody wants to set are judged by the registry of this
// worker, external variants included, and by which hosts and devices are served at present.
import type { Client } from '@temporalio/client';
import { escapeControl, type PinWish } from '../operator/index.ts';
import { checkPins as judgePins } from '../planner/index.ts';
import { nearestName, type Registry } from '../registry/index.ts';
import type { CheckPinsAnswer, CheckPinsRequest } from '../workflows/activity-contract.ts';
import { isDeviceLive, isHostLive, liveHosts } from './live-hosts.ts';

export interface CheckPinsDependencies {
  readonly client: Client;
  readonly registry: Registry;
}

/** What the answer holds at most; the first problem is the one to show. */
const PROBLEMS_MAX = 32;

/** Judges pins; hosts and devices are asked for only when nothing else is wrong. */
export async function checkPins(
  { client, registry }: CheckPinsDependencies,
  request: CheckPinsRequest,
): Promise<CheckPinsAnswer> {
  const { pins, current, ...context } = request;
  let problems = judgePins(pins, current, context, registry);
  if (problems.length === 0) problems = await absentProblems(client, pins);
  return { problems: problems.slice(0, PROBLEMS_MAX).map(escapeControl) };
}

async function absentProblems(client: Client, wishes: readonly PinWish[]): Promise<string[]> {
  const problems: string[] = [];
  for (const wish of wishes) {
    if (wish.allowAbsent || (wish.aspect !== 'host' && wish.aspect !== 'device')) continue;
    const value = String(wish.value);
    if (wish.aspect === 'host' && (await isHostLive(client, value))) continue;
    const hosts = await liveHosts(client);
    if (wish.aspect === 'device' && (await isDeviceLive(client, hosts, value))) continue;
    problems.push(absent(wish.aspect, value, hosts));
  }
  return problems;
}

const HOSTS_NAMED = 8;

function absent(aspect: 'host' | 'device', value: string, hosts: readonly string[]): string {
  const more = hosts.length > HOSTS_NAMED ? ' …' : '';
  const named = `${hosts.slice(0, HOSTS_NAMED).join(', ')}${more}`;
  const expected =
    hosts.length === 0
      ? 'a host that a worker serves'
      : aspect === 'host'
        ? `a host that a worker serves (${named})`
        : `a device of a host that a worker serves (${named})`;
  const got = hosts.length === 0 ? 'no worker at all' : `${value}, which none serves`;
  const near = aspect === 'host' ? nearestName(value, hosts) : null;
  const remedy = near === null ? 'start a worker there, or' : `did you mean ${near}? Else`;
  return (
    `pin ${aspect}=${value} cannot be set: expected ${expected}, got ${got}; ` +
    `${remedy} allow it to be absent (--allow-absent)`
  );
}
