// Owns deliberate breaches of determinism: each is a change of the text of one workflow source that a
// careless edit could make. A golden history must notice every one of them.
export interface Mutant {
  readonly name: string;
  /** Behaviour whose histories are asked first. */
  readonly shownBy: string;
  /** Under `workflows/`. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'a timer before each claim',
    shownBy: 'happy',
    file: 'lane.ts',
    from: 'lane.lease = await scope.run(',
    to: 'await condition(() => false, 1);\n    lane.lease = await scope.run(',
  },
  {
    name: 'activity ids that are made of the plan',
    shownBy: 'happy',
    file: 'lane.ts',
    from: 'return { plan, deviceClass, names, epoch };',
    to: 'return { plan, deviceClass, names: { ...names, id: `execute/${plan.planId}` }, epoch };',
  },
  {
    name: 'a pause that lanes ignore',
    shownBy: 'pause-resume',
    file: 'lane.ts',
    from: 'if (shard.operator.pause !== null || !hasWork(shard))',
    to: 'if (!hasWork(shard))',
  },
  {
    name: 'a plan that is executed although the operator changed his mind',
    shownBy: 'pin',
    file: 'lane.ts',
    from: 'if (shard.operator.epoch !== epoch || firstExpiry(pins) <= Date.now()) {',
    to: 'if (firstExpiry(pins) <= Date.now()) {',
  },
  {
    name: 'releases awaited before the seal',
    shownBy: 'happy',
    file: 'shard.ts',
    from: 'await control.sealer.sealAll();\n      await Promise.all(control.releases);',
    to: 'await Promise.all(control.releases);\n      await control.sealer.sealAll();',
  },
  {
    name: 'a lane less',
    shownBy: 'happy',
    file: 'shard.ts',
    from: 'index < shard.operator.limits.lanes; index += 1',
    to: 'index + 1 < shard.operator.limits.lanes; index += 1',
  },
  {
    name: 'an extra activity at the end of a shard',
    shownBy: 'happy',
    file: 'shard.ts',
    from: 'await control.sealer.sealAll();',
    to: 'shard.plansUnsealed += 1;\n      await control.sealer.sealAll();',
  },
  {
    name: 'parked tiles that the run is not told of',
    shownBy: 'park-retry',
    file: 'shard.ts',
    from: 'if (parent === undefined) return;',
    to: 'if (parent !== undefined) return;',
  },
  {
    name: 'a shard that continues as new 12 events later',
    shownBy: 'continue-as-new',
    file: 'shard.ts',
    from: 'historyLength > shard.input.tuning.shardEventsMax',
    to: 'historyLength > shard.input.tuning.shardEventsMax + 12',
  },
  {
    name: 'executes that a pause at once leaves running',
    shownBy: 'pause-resume',
    file: 'shard.ts',
    from: "if (operator.pause?.mode === 'now') executes",
    to: "if (operator.pause?.mode === 'drain') executes",
  },
  {
    name: 'no seal until the end',
    shownBy: 'happy',
    file: 'sealing.ts',
    from: 'if (!broken && (parts || parked)) void start();',
    to: 'if (broken && (parts || parked)) void start();',
  },
  {
    name: 'an operator state that shards are not told of',
    shownBy: 'pause-resume',
    file: 'window.ts',
    from: 'broadcast: () => open.children.forEach((child) => tell(child, run.operator)),',
    to: 'broadcast: () => undefined,',
  },
  {
    name: 'other ids of shards',
    shownBy: 'happy',
    file: 'window.ts',
    from: 'workflowId: shardWorkflowId(input.runId, progress.shard),',
    to: 'workflowId: `${shardWorkflowId(input.runId, progress.shard)}/again`,',
  },
  {
    name: 'publishing before the shards are done',
    shownBy: 'happy',
    file: 'run.ts',
    from: 'const outcome = await window.drive();',
    to: "void window.drive();\n  const outcome: string = 'done';",
  },
  {
    name: 'a search attribute that is not written any more',
    shownBy: 'happy',
    file: 'run.ts',
    from: "setPhase(run, control, 'publishing');",
    to: '',
  },
  {
    name: 'a sleep before the timer of an expiry',
    shownBy: 'pin',
    file: 'operating.ts',
    from: 'else await condition(isOther, next - now);',
    to: 'else await condition(() => false, 1).then(() => condition(isOther, next - now));',
  },
  {
    name: 'pins that nobody looks at',
    shownBy: 'pin',
    file: 'operating.ts',
    from: 'await checkPins(run, `check/${checks}`, wishes);',
    to: '',
  },
  {
    name: 'a cancellation that the server is not asked for',
    shownBy: 'cancel-by-request',
    file: 'operating.ts',
    from: 'if (state.cancel !== null) orderCancel();\n  };',
    to: 'if (state.cancel !== null) port.cancel();\n  };',
  },
  {
    name: 'a pause that search attributes do not show',
    shownBy: 'pause-resume',
    file: 'attributes.ts',
    from: '(shown?.pausedBy ?? null) === next.pausedBy',
    to: '(shown?.pausedBy ?? null) !== undefined',
  },
  {
    name: 'orders about parked tiles of closed shards that are not followed',
    shownBy: 'park-retry',
    file: 'window.ts',
    from: 'await followClosed(run, prepared, () => scope.consideredCancelled);',
    to: '',
  },
  {
    name: 'claims that are given up in another way',
    shownBy: 'cancel',
    file: 'calls.ts',
    from: `taskQueue: queue,
    activityId: id,
    startToCloseTimeout: '10 seconds',
    ...(limitMs === null ? {} : { scheduleToStartTimeout: limitMs }),
    cancellationType: ActivityCancellationType.`,
    to: `taskQueue: queue,
    activityId: id,
    startToCloseTimeout: '10 seconds',
    ...(limitMs === null ? {} : { scheduleToStartTimeout: limitMs }),
    cancellationType: ActivityCancellationType.ABANDON ?? ActivityCancellationType.`,
  },
];
