// Owns reading the error groups of a run from its histories.
import type { Client } from '@temporalio/client';
import { runLines, serviceHistory } from '../history/source.ts';
import { groupErrors, type ErrorGroup } from './error-groups.ts';

/** @throws {CliError} `CLI_RUN_UNKNOWN` */
export function readErrorGroups(client: Client, runId: string): Promise<ErrorGroup[]> {
  return groupErrors(runLines(serviceHistory(client), runId));
}
