export type { WrittenResult } from './atomic-file.ts';
export { writeChoropleth, type ChoroplethRequest } from './choropleth.ts';
export { ResultError, type ResultErrorCode } from './errors.ts';
export {
  writeResult,
  type ResultFormat,
  type ResultRequest,
  type ResultRow,
} from './result-writer.ts';
