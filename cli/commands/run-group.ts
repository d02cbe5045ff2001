// Owns what the group `run` is called: several files add their commands to it.

export const RUN_GROUP = 'Start runs, see how they do, and control them.';
