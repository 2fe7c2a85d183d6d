/**
 * What the node does with an `Update`: keys are replaced, null deletes one.
 * @param {import('./types.d.ts').Metadata} metadata
 * @param {import('./types.d.ts').Metadata} change
 * @returns {import('./types.d.ts').Metadata}
 */
export function mergeMetadata(metadata, change) {
  const merged = Object.entries({ ...metadata, ...change });
  return Object.fromEntries(merged.filter(([, value]) => value !== null && value !== undefined));
}
