/** Which enterprise projects a filter means. */
const EVERY: ReadonlySet<string | undefined> = new Set([undefined, '', 'all_granted_eps'])
/** No enterprise project has it. */
const NONE = ' '

/** The ids in a filter, separated by commas; undefined: every one. */
export function readEnterpriseProjects(filter: string | undefined): readonly string[] | undefined {
  return EVERY.has(filter) ? undefined : filter?.split(',')
}

/** The filter that is left for somebody who sees only some enterprise projects. */
export function narrowEnterpriseProjects(filter: string | undefined, seen: ReadonlySet<string>): string {
  const wanted = readEnterpriseProjects(filter) ?? [...seen]
  return wanted.filter((id) => seen.has(id)).join(',') || NONE
}
