/**
 * How the repository commands end, for scripts: where restic has a code for an ending, it is the same.
 * docs/operating/repository.md prints this table.
 */
export const repositoryEndings = {
  success: { code: 0, meaning: 'It is done.' },
  failure: { code: 1, meaning: 'It failed, or it found damage, or left something out that it should have restored, copied or repaired.' },
  usage: { code: 2, meaning: 'The command line is wrong.' },
  incomplete: { code: 3, meaning: 'The snapshot was made, but something could not be read and is not in it.' },
  noRepository: { code: 10, meaning: 'There is no repository.' },
  locked: { code: 11, meaning: 'The repository is locked by somebody else.' },
  wrongPassword: { code: 12, meaning: 'The password is wrong.' },
  interrupted: { code: 130, meaning: 'It was interrupted; the repository is whole.' },
} as const satisfies Record<string, { code: number, meaning: string }>

export type RepositoryEnding = keyof typeof repositoryEndings

/** Ends a repository command with a message for people and an exit code for scripts. */
export class RepositoryCommandFailure extends Error {
  override name = 'RepositoryCommandFailure'
  readonly ending: RepositoryEnding
  /** What is printed with `--json` instead of the message; its result, when there is one, is out already. */
  readonly answer: unknown
  constructor(ending: RepositoryEnding, message: string, options: ErrorOptions & { answer?: unknown } = {}) {
    super(message, options)
    this.ending = ending
    this.answer = options.answer
  }

  get exitCode(): number {
    return repositoryEndings[this.ending].code
  }
}
