// Owns who a request is by: the user of the command line.
import { userInfo } from 'node:os';

/** The user's name; `cli` where the system knows none. */
export function authorName(): string {
  try {
    return userInfo().username;
  } catch {
    return 'cli';
  }
}
